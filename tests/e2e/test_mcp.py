"""MCP servers over the real executable: what is started, what is left however the agent ends, and what is said."""

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from acp_wire import build
from tests.support.hands import Hands
from tests.support.process import Client, Failed, agent, script

pytestmark = pytest.mark.e2e

Json = dict[str, Any]
ROOT = Path(__file__).parents[2]
ALLOWED = {"ARS_MCP_STDIO": "1", "ARS_MODE": "full"}
STATE = "=== turn repeat\ncall mcp__fix__state {}\n--- step\nsay: hello\n"
ECHO = '=== turn repeat\ncall mcp__fix__echo {"text": "from afar"}\n--- step\nsay: $result\n'


def program(*arguments: str, env: dict[str, str] | None = None) -> Json:
    return build.mcp_stdio("fix", sys.executable, args=["-m", "fixtures.mcp_server", *arguments], env=env)


async def session_with(client: Client, *servers: Json) -> str:
    answer = await client.request("session/new", {"cwd": str(ROOT), "mcpServers": list(servers)})
    return str(answer["sessionId"])


async def state(client: Client, session: str) -> Json:
    """What the server of a session says of itself."""
    [result] = (await client.prompt(session)).results
    found: Json = json.loads(result["content"][0]["content"]["text"])
    return found


async def gone(pid: int) -> None:
    """Waits until no such process is left."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        with anyio.fail_after(20):
            await anyio.wait_readable(fd)
    finally:
        os.close(fd)


@pytest.fixture
async def served(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """The address of a server that only the bearer of a token may use."""
    command = [sys.executable, "-m", "fixtures.mcp_server", f"--{request.param}", "--token", "canary-of-the-token"]
    async with await anyio.open_process(command, cwd=ROOT, stderr=None) as process:
        assert process.stdout is not None
        yield json.loads(await process.stdout.receive())["url"]
        process.kill()


async def test_all_three_transports_are_advertised_and_a_program_waits_for_the_settings_leave(tmp_path: Path):
    async with agent(tmp_path, *script(tmp_path, ECHO), handshake=False) as client:
        answer = await client.initialize()
        assert answer["agentCapabilities"]["mcpCapabilities"] == {"http": True, "sse": True}
        session = await session_with(client, program())
        await client.until(lambda: client.updates)
        told = client.updates[0]["update"]
        assert (told["sessionUpdate"], told["severity"]) == ("notice", "warning")
        assert "fix" in told["title"]
        assert "ARS_MCP_STDIO" in told["description"]
        assert (await client.prompt(session)).stop == "end_turn"
        await client.finish()
        assert client.logged("mcp.not_allowed")
        assert not client.logged("mcp.starting")


async def test_a_programs_tool_is_asked_for_and_called(tmp_path: Path):
    hands = Hands()
    async with agent(tmp_path, *script(tmp_path, ECHO), env={"ARS_MCP_STDIO": "1"}, hands=hands) as client:
        session = await session_with(client, program())
        turn = await client.prompt(session)
        assert "from afar" in turn.text
        [asked] = [params for method, params in hands.asked if method == "session/request_permission"]
        assert asked["toolCall"]["title"] == "fix: echo"
        hands.replace(session_request_permission=lambda params: hands.choose(params, "reject_once"))
        assert "Refused by the person" in (await client.prompt(session)).text


@pytest.mark.parametrize("served", ["http", "sse"], indirect=True)
async def test_a_server_over_http_is_called_and_its_token_is_nowhere_in_the_log(tmp_path: Path, served: str):
    kind = "http" if served.endswith("/mcp") else "sse"
    make = build.mcp_http if kind == "http" else build.mcp_sse
    env = {"ARS_MODE": "full", "ARS_LOG_LEVEL": "debug"}
    async with agent(tmp_path, *script(tmp_path, ECHO), env=env) as client:
        session = await session_with(client, make("fix", served, {"Authorization": "Bearer canary-of-the-token"}))
        assert "from afar" in (await client.prompt(session)).text
        await client.finish()
        assert client.logged("mcp.ready")[0]["tools"] > 3
        assert "canary-of-the-token" not in client.log_text()


@pytest.mark.parametrize("end", ["close", "delete", "stdin", "sigterm"])
async def test_however_the_session_ends_no_program_is_left_whatever_it_ignores(tmp_path: Path, end: str):
    async with agent(tmp_path, *script(tmp_path, STATE), env=ALLOWED) as client:
        session = await session_with(client, program("--stubborn"))
        pid = (await state(client, session))["pid"]
        if end == "stdin":
            assert (await client.finish()).code == 0
        elif end == "sigterm":
            os.kill(client.pid, signal.SIGTERM)
            assert (await client.gone()).code == 130
        else:
            await client.request(f"session/{end}", {"sessionId": session})
        await gone(pid)


async def test_an_agent_that_is_killed_leaves_no_program_that_heeds_the_end_of_its_input(tmp_path: Path):
    async with agent(tmp_path, *script(tmp_path, STATE), env=ALLOWED) as client:
        pid = (await state(client, await session_with(client, program())))["pid"]
        os.kill(client.pid, signal.SIGKILL)
        await client.gone()
        await gone(pid)


async def test_a_turn_that_is_in_a_call_when_the_client_goes_leaves_no_program(tmp_path: Path):
    text = STATE.replace("turn repeat", "turn") + '=== turn\ncall mcp__fix__slow {"seconds": 60}\n'
    async with agent(tmp_path, *script(tmp_path, text), env=ALLOWED) as client:
        session = await session_with(client, program("--stubborn"))
        pid = (await state(client, session))["pid"]
        turn = client.begin_turn(session, "go")
        await client.until(lambda: any(update.get("status") == "in_progress" for update in turn.updates))
        assert (await client.finish()).code == 3
        await gone(pid)


async def test_a_cancelled_call_is_cancelled_at_the_server_and_the_next_turn_is_clean(tmp_path: Path):
    text = f'=== turn\ncall mcp__fix__slow {{"seconds": 60}}\n{STATE}'
    async with agent(tmp_path, *script(tmp_path, text), env=ALLOWED) as client:
        session = await session_with(client, program())
        turn = client.begin_turn(session, "go")
        await client.until(lambda: any(update.get("status") == "in_progress" for update in turn.updates), 10)
        client.cancel(session)
        assert (await turn.end()).stop == "cancelled"
        assert (await state(client, session))["cancelled"] == ["slow"]


async def test_a_program_sees_no_variable_of_the_agents(tmp_path: Path):
    canary = {"OPENAI_API_KEY": "sk-canary-canary", "LD_CANARY": "x", **ALLOWED}
    async with agent(tmp_path, *script(tmp_path, STATE), env=canary) as client:
        found = await state(client, await session_with(client, program(env={"MINE": "it is mine"})))
        assert "MINE" in found["variables"]
        assert not {"OPENAI_API_KEY", "LD_CANARY", "ARS_MCP_STDIO"} & set(found["variables"])


async def test_a_transport_that_is_not_spoken_is_refused(tmp_path: Path):
    server = {"type": "websocket", "name": "x", "url": "ws://host/x", "headers": []}
    async with agent(tmp_path, *script(tmp_path, ECHO)) as client:
        with pytest.raises(Failed) as refused:
            await client.request("session/new", {"cwd": "/project", "mcpServers": [server]}, wrong=True)
        assert refused.value.code == -32602
        assert "mcpServers" in refused.value.message


async def test_what_nobody_uses_is_not_loaded(tmp_path: Path):
    env = {"PYTHONPROFILEIMPORTTIME": "1"}
    async with agent(tmp_path, *script(tmp_path, "=== turn\nsay: hello\n"), env=env) as client:
        await client.prompt(await client.new_session())
        assert "ars_acp.sessions" in client.log_text()
        assert not any(name in client.log_text() for name in ("mcp.client", "mcp_types", "ars_acp.mcp_"))
