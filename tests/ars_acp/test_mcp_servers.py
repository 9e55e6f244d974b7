"""MCP servers of a session, over a scripted model and a client in memory; the servers are real processes."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from acp_wire import build, methods
from acp_wire.errors import INVALID_PARAMS, RpcError
from tests.support.in_memory import Client, House, house

STDIO = {"mcp_stdio": True, "mode": "full"}
Json = dict[str, Any]


def program(*arguments: str, name: str = "fix", env: dict[str, str] | None = None) -> Json:
    return build.mcp_stdio(name, sys.executable, args=["-m", "fixtures.mcp_server", *arguments], env=env)


@contextlib.asynccontextmanager
async def served(*arguments: str) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """A server over HTTP: its address, and its process."""
    command = [sys.executable, "-m", "fixtures.mcp_server", *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield json.loads(await process.stdout.readline())["url"], process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def calls(*lines: str) -> str:
    """A script with one turn for each tool call."""
    return "".join(f"=== turn\ncall {line}\n--- step\nsay: $result\n" for line in lines)


async def session_with(it: House, *servers: Json, cwd: str = os.getcwd()) -> str:
    return await it.new_session(cwd=cwd, mcpServers=list(servers))


async def notice(it: House, severity: str = "warning") -> Json:
    """The first notice of that severity."""
    return await it.update(lambda it: it["sessionUpdate"] == "notice" and it["severity"] == severity)


async def gone(pid: int) -> None:
    """Waits until no such process is left."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await anyio.wait_readable(fd)
    finally:
        os.close(fd)


def state_of(call: Json) -> Json:
    """What the tool `state` has answered."""
    text = call["content"][0]["content"]["text"]
    found: Json = json.loads(text)
    return found


def states(it: House, session: str) -> list[Json]:
    """The answers of the tool `state` in one session."""
    updates = [params["update"] for params in it.client.updates if params["sessionId"] == session]
    return [state_of(update) for update in updates if update.get("status") == "completed"]


async def test_a_program_is_started_and_its_tools_are_called() -> None:
    script = calls('mcp__fix__echo {"text": "hello"}', 'mcp__fix__fail {"reason": "no luck"}', "mcp__fix__image {}")
    async with house(script, **STDIO) as it:
        await session_with(it, program())
        for _ in range(3):
            assert await it.prompt() == "end_turn"
        started = await notice(it, "info")
        assert "fix" in started["title"]
        assert started["description"] == sys.executable
        echoed, failed, pictured = it.tool_calls().values()
        assert (echoed["title"], echoed["kind"], echoed["status"]) == ("fix: echo", "other", "completed")
        assert "hello" in it.said()
        assert "not instructions" in it.said()
        assert failed["status"] == "failed"
        assert "no luck" in failed["content"][0]["content"]["text"]
        assert [block["content"]["type"] for block in pictured["content"]] == ["text", "image"]


async def test_without_the_settings_leave_no_program_is_started_and_the_person_is_told() -> None:
    async with house("=== turn\nsay: hello\n") as it:
        await session_with(it, program(name="files"))
        told = await notice(it)
        assert "files" in told["title"]
        assert "ARS_MCP_STDIO=1" in told["description"]
        assert await it.prompt() == "end_turn"


@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_servers_over_http_are_reached_with_the_headers_that_the_client_gave(kind: str) -> None:
    make = build.mcp_http if kind == "http" else build.mcp_sse
    script = calls('mcp__web__echo {"text": "hello"}')
    async with served(f"--{kind}", "--token", "a-secret-token") as (url, _), house(script, mode="full") as it:
        await session_with(it, make("web", url, {"Authorization": "Bearer a-secret-token"}))
        assert await it.prompt() == "end_turn"
        assert "hello" in it.said()


async def test_a_server_is_found_by_name_where_only_one_of_the_names_addresses_is_served() -> None:
    async with served("--http") as (url, _), house(calls('mcp__web__echo {"text": "hello"}'), mode="full") as it:
        await session_with(it, build.mcp_http("web", url.replace("127.0.0.1", "localhost")))
        assert await it.prompt() == "end_turn"
        assert "hello" in it.said()


@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_a_server_over_http_that_dies_fails_its_calls_and_the_turn_goes_on(kind: str) -> None:
    make = build.mcp_http if kind == "http" else build.mcp_sse
    script = calls("mcp__web__echo {}", 'mcp__web__echo {"text": "hello"}')
    async with served(f"--{kind}") as (url, process), house(script, mode="full", mcp_call_seconds=3) as it:
        await session_with(it, make("web", url))
        await it.prompt()
        process.kill()
        await process.wait()
        assert await it.prompt() == "end_turn"
        assert list(it.tool_calls().values())[-1]["status"] == "failed"
        assert "is gone" in (await notice(it))["title"]


async def test_a_server_that_refuses_us_is_told_and_the_turn_goes_on() -> None:
    async with served("--http", "--token", "right") as (url, _), house("=== turn\nsay: hello\n") as it:
        await session_with(it, build.mcp_http("web", url))
        assert await it.prompt() == "end_turn"
        assert "web could not be started" in (await notice(it))["title"]


async def test_permission_is_asked_for_a_servers_tool_and_a_no_keeps_it_from_running() -> None:
    client = Client()
    client.permission = lambda params: "reject_once"
    async with house(calls('mcp__fix__echo {"text": "hello"}'), client=client, mcp_stdio=True) as it:
        await session_with(it, program())
        assert await it.prompt() == "end_turn"
        [asked] = client.asked
        assert asked["toolCall"]["title"] == "fix: echo"
        assert "hello" in asked["toolCall"]["content"][0]["content"]["text"]
        assert [option["kind"] for option in asked["options"]] == ["allow_once", "reject_once"]
        assert "Refused by the person" in it.said()


async def test_a_session_that_is_read_only_calls_no_servers_tool() -> None:
    async with house(calls('mcp__fix__echo {"text": "hello"}'), mcp_stdio=True, mode="read-only") as it:
        await session_with(it, program())
        assert await it.prompt() == "end_turn"
        assert not it.client.asked
        assert "read-only" in it.said()


async def test_a_call_that_takes_too_long_is_a_timeout_and_the_server_hears_of_it() -> None:
    script = calls('mcp__fix__slow {"seconds": 60}', "mcp__fix__state {}")
    async with house(script, **STDIO, mcp_call_seconds=4) as it:
        await session_with(it, program())
        await it.prompt()
        await it.prompt()
        late, state = it.tool_calls().values()
        assert late["rawOutput"] == {"error": "TOOL_TIMEOUT"}
        assert state_of(state)["cancelled"] == ["slow"]


async def test_a_server_that_dies_is_told_once_and_its_tools_vanish_while_the_turn_goes_on() -> None:
    script = "=== turn\ncall mcp__fix__die {}\n--- step\ncall mcp__fix__echo {}\n--- step\nsay: $result\n"
    async with house(script, **STDIO) as it:
        await session_with(it, program())
        assert await it.prompt() == "end_turn"
        assert "is gone" in (await notice(it))["title"]
        died, unknown = it.tool_calls().values()
        assert died["status"] == "failed"
        assert unknown["rawOutput"] == {"error": "INVALID_ARGUMENTS"}


async def test_a_server_that_cannot_start_is_told_with_what_it_said_last() -> None:
    async with house("=== turn\nsay: hello\n", **STDIO) as it:
        await session_with(it, program("--crash"))
        assert await it.prompt() == "end_turn"
        told = await notice(it)
        assert "fix could not be started" in told["title"]
        assert "the database is not there" in told["description"]


async def test_a_program_that_is_not_there_is_told() -> None:
    async with house("=== turn\nsay: hello\n", **STDIO) as it:
        await session_with(it, build.mcp_stdio("fix", "/nowhere/at/all"))
        assert await it.prompt() == "end_turn"
        assert "/nowhere/at/all" in (await notice(it))["description"]


async def test_the_first_prompt_waits_for_a_server_that_hangs_only_as_long_as_the_setting_says() -> None:
    async with house("=== turn repeat\nsay: hello\n", **STDIO, mcp_start_seconds=0.2, mcp_call_seconds=4) as it:
        await session_with(it, program("--hang"))
        assert await it.prompt() == "end_turn"
        await it.update(lambda it: it.get("title") == "Still starting: MCP server fix")
        failed = await it.update(lambda it: "could not be started" in it.get("title", ""))
        assert "4 seconds" in failed["description"]


async def test_tools_that_come_later_are_offered() -> None:
    script = "=== turn\ncall mcp__fix__grow {}\n--- step\nsay: hello\n"
    async with house(script + calls("mcp__fix__grown {}").replace("turn", "turn repeat"), **STDIO) as it:
        await session_with(it, program())
        await it.prompt()
        with anyio.fail_after(20):
            while "new" not in it.said():
                await it.prompt()


async def test_a_program_gets_what_the_client_named_and_none_of_our_own_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ARS_CANARY", "x")
    async with house(calls("mcp__fix__state {}"), **STDIO) as it:
        await session_with(it, program(env={"NAMED": "value"}))
        await it.prompt()
        [call] = it.tool_calls().values()
        state = state_of(call)
        assert "NAMED" in state["variables"]
        assert "PATH" in state["variables"]
        assert "ARS_CANARY" not in state["variables"]
        assert state["cwd"] == os.getcwd()


@pytest.mark.parametrize("options", [[], ["--stubborn"]], ids=["plain", "stubborn"])
async def test_closing_a_session_ends_its_programs_and_no_others(options: list[str]) -> None:
    async with house(calls("mcp__fix__state {}").replace("turn", "turn repeat"), **STDIO) as it:
        first = await session_with(it, program(*options))
        await it.prompt()
        second = await session_with(it, program(*options))
        await it.prompt()
        one, other = states(it, first)[-1]["pid"], states(it, second)[-1]["pid"]
        assert one != other
        await it.wire.request(methods.SESSION_CLOSE, {"sessionId": first})
        await gone(one)
        assert await it.prompt(session=second) == "end_turn"
        assert [state["pid"] for state in states(it, second)] == [other, other]
        await it.wire.request(methods.SESSION_DELETE, {"sessionId": second})
        await gone(other)


@pytest.mark.parametrize(
    "server",
    [
        {"type": "http", "name": "x", "url": "ftp://host/x", "headers": []},
        {"type": "http", "name": "x", "url": "file:///etc/passwd", "headers": []},
        {"type": "sse", "name": "x", "url": "host/x", "headers": []},
        {"type": "acp", "name": "x", "command": "x", "args": [], "env": []},
    ],
)
@pytest.mark.parametrize("row", [methods.SESSION_NEW, methods.SESSION_LOAD], ids=lambda row: row.name)
async def test_what_can_never_be_reached_is_refused_before_there_is_a_session(row: Any, server: Json) -> None:
    async with house("=== turn\nsay: hello\n") as it:
        known = len(list(await it.store.names()))
        with pytest.raises(RpcError) as error:
            await it.wire.request(row, {"sessionId": it.session, "cwd": "/project", "mcpServers": [server]})
        assert error.value.code == INVALID_PARAMS
        assert "mcpServers" in error.value.message
        assert len(list(await it.store.names())) == known


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "2852039166"])
async def test_metadata_addresses_are_not_asked(host: str) -> None:
    async with house("=== turn\nsay: hello\n") as it:
        await session_with(it, build.mcp_http("web", f"http://{host}/latest"))
        assert await it.prompt() == "end_turn"
        assert "web could not be started" in (await notice(it))["title"]
        assert "link-local or metadata" in (await notice(it))["description"]
