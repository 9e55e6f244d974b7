"""The hand-shake, signing in and sessions, as a client sees them."""

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from acp_wire import methods
from acp_wire.connection import AGENT_SIDE, CLIENT_SIDE, Connection
from acp_wire.errors import AUTH_REQUIRED, INVALID_PARAMS, INVALID_REQUEST, RpcError
from acp_wire.streams import memory_pair
from ars_acp import __version__
from ars_acp.agent import Agent
from ars_acp.errors import SettingsError
from ars_acp.log import Log, Sink
from ars_acp.models.scripted import Script, ScriptedModel
from ars_acp.settings import Settings, checked
from event_log.stores import open_store
from tests.support.in_memory import Client, house

SILENT = "=== turn repeat\nsay: ok\n"


def logged_in() -> Settings:
    return checked({"api_key": "sk-from-the-login-file"})


@contextlib.asynccontextmanager
async def wired(
    reload: Callable[[], Settings] = logged_in, later: Callable[..., None] | None = None, **settings: Any
) -> AsyncIterator[Connection]:
    """The client's end of a connection with an agent of these settings, which nobody has initialized yet."""
    near, far = memory_pair()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            agent = Agent(
                checked(settings),
                open_store("memory:"),
                Log("error", Sink(2)),
                make_model=lambda _: ScriptedModel(Script.parse(SILENT)),
                reload=reload,
                later=later or tasks.start_soon,
                closing=lambda: None,
            )
            agent.connection = Connection(far, agent, AGENT_SIDE)
            wire = Connection(near, Client(), CLIENT_SIDE)
            tasks.start_soon(agent.connection.serve)
            tasks.start_soon(wire.serve)
            try:
                yield wire
            finally:
                await near.aclose()
                await far.aclose()


async def answer_of(
    row: Any, params: dict[str, Any], *, capabilities: dict[str, Any] | None = None, **settings: Any
) -> Any:
    """The answer to one request of an agent with these settings, after `initialize` where there are capabilities."""
    async with wired(**settings) as wire:
        if capabilities is not None:
            await wire.request(methods.INITIALIZE, {"protocolVersion": 1, "clientCapabilities": capabilities})
        return await wire.request(row, params)


NEW = {"cwd": "/project", "mcpServers": []}


async def error_of(row: Any, params: dict[str, Any], **options: Any) -> RpcError:
    # The task group of `answer_of` wraps what leaves it.
    with pytest.raises(ExceptionGroup) as caught:
        await answer_of(row, params, **options)
    [error] = caught.value.exceptions
    assert isinstance(error, RpcError)
    return error


@pytest.mark.parametrize("asked", [0, 1, 2, 65535])
async def test_initialize_answers_with_the_version_that_we_speak(asked: int) -> None:
    answer = await answer_of(methods.INITIALIZE, {"protocolVersion": asked})
    assert answer.protocol_version == 1
    assert (answer.agent_info.name, answer.agent_info.version) == ("ars-acp", __version__)


async def test_a_missing_key_never_fails_initialize_and_the_sign_in_names_the_variables() -> None:
    answer = await answer_of(methods.INITIALIZE, {"protocolVersion": 1})
    [method] = answer.auth_methods
    assert method.id == "api-key"
    assert {"OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"} <= set(method.description.replace(",", " ").split())


async def test_sign_in_by_terminal_is_offered_only_where_the_client_can() -> None:
    params = {"protocolVersion": 1, "clientCapabilities": {"auth": {"terminal": True}}}
    answer = await answer_of(methods.INITIALIZE, params)
    offered = [(method.id, getattr(method, "args", None)) for method in answer.auth_methods]
    assert offered == [("api-key", None), ("login", ["login"])]


async def test_a_second_initialize_is_answered() -> None:
    answer = await answer_of(methods.INITIALIZE, {"protocolVersion": 1}, capabilities={})
    assert answer.protocol_version == 1


@pytest.mark.parametrize(
    "row", [methods.SESSION_NEW, methods.AUTHENTICATE, methods.SESSION_PROMPT], ids=lambda row: row.name
)
async def test_a_request_before_initialize_is_an_invalid_request(row: Any) -> None:
    error = await error_of(row, NEW)
    assert error.code == INVALID_REQUEST
    assert "initialize" in error.message


async def test_an_initialize_that_cannot_be_read_initializes_nothing() -> None:
    async with wired(script="x") as wire:
        for row, params, code in [
            (methods.INITIALIZE, {"protocolVersion": "new"}, INVALID_PARAMS),
            (methods.SESSION_NEW, NEW, INVALID_REQUEST),
        ]:
            with pytest.raises(RpcError) as error:
                await wire.request(row, params)
            assert error.value.code == code


async def test_without_key_and_base_url_session_new_names_both_ways() -> None:
    error = await error_of(methods.SESSION_NEW, NEW, capabilities={})
    assert error.code == AUTH_REQUIRED
    assert "OPENAI_API_KEY" in error.message
    assert "ars-acp login" in error.message


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/v1", "http://localhost/v1", "http://[::1]:1/v1"])
async def test_a_loopback_endpoint_needs_no_key(url: str) -> None:
    assert (await answer_of(methods.SESSION_NEW, NEW, capabilities={}, base_url=url)).session_id


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1.evil.example/v1", "http://localhost.evil.example", "https://x.example"]
)
async def test_any_other_endpoint_needs_one(url: str) -> None:
    assert (await error_of(methods.SESSION_NEW, NEW, capabilities={}, base_url=url)).code == AUTH_REQUIRED


async def test_authenticate_finds_what_login_has_written_since() -> None:
    assert await answer_of(methods.AUTHENTICATE, {"methodId": "api-key"}, capabilities={})


async def test_authenticate_tells_what_is_wrong_with_what_login_has_written() -> None:
    def broken() -> Settings:
        raise SettingsError("login.json cannot be read; run `ars-acp login` to write it anew, or remove it")

    error = await error_of(methods.AUTHENTICATE, {"methodId": "api-key"}, capabilities={}, reload=broken)
    assert (error.code, error.message.startswith("login.json cannot be read")) == (AUTH_REQUIRED, True)


@pytest.mark.parametrize("method", ["login", "oauth", ""])
async def test_authenticate_refuses_methods_that_are_not_asked_for_this_way(method: str) -> None:
    error = await error_of(methods.AUTHENTICATE, {"methodId": method}, capabilities={})
    assert (error.code, error.data["code"]) == (INVALID_PARAMS, "INVALID_MESSAGE")


@pytest.mark.parametrize(
    "params",
    [
        {"cwd": "project", "mcpServers": []},
        {"cwd": "", "mcpServers": []},
        {"cwd": "/a\0b", "mcpServers": []},
        {"cwd": "/project", "mcpServers": [], "additionalDirectories": ["../other"]},
    ],
)
async def test_paths_of_a_session_are_absolute(params: dict[str, Any]) -> None:
    error = await error_of(methods.SESSION_NEW, params, capabilities={}, script="x")
    assert error.code == INVALID_PARAMS
    assert "absolute" in error.message


async def test_sessions_have_ids_of_their_own_and_a_log_that_begins_with_the_project() -> None:
    async with house(SILENT) as it:
        first = it.session
        assert await it.new_session("/other", additionalDirectories=["/more"]) != first
        opening = (await it.entries())[0]
        assert (opening["type"], opening["cwd"], opening["directories"]) == ("session", "/other", ["/more"])


async def test_many_sessions_warm_the_agent_once() -> None:
    started: list[object] = []
    async with wired(later=started.append, script="x") as wire:
        for _ in range(2):
            await wire.request(methods.INITIALIZE, {"protocolVersion": 1})
        assert len(started) == 1  # what waits until nobody asks for anything
        for _ in range(3):
            await wire.request(methods.SESSION_NEW, NEW)
    assert len(started) == 2


async def test_nothing_of_a_session_is_sent_before_the_answer_that_names_it() -> None:
    async with house(SILENT) as it:
        server = {"name": "s", "command": "x", "args": [], "env": []}
        session = await it.new_session(mcpServers=[server])
        await it.update(lambda update: update["sessionUpdate"] == "notice")
        answered = next(n for n, m in enumerate(it.stream.sent) if (m.get("result") or {}).get("sessionId") == session)
        told = next(n for n, m in enumerate(it.stream.sent) if m.get("params", {}).get("sessionId") == session)
        assert answered < told


async def test_sessions_that_do_nothing_hold_no_descriptors(tmp_path: Path) -> None:
    async with house(SILENT, store=open_store(f"jsonl:{tmp_path}")) as it:
        await it.prompt()
        held = len(os.listdir("/dev/fd"))
        for _ in range(20):
            await it.new_session(mcpServers=[{"name": "s", "command": "x", "args": [], "env": []}])
            await it.prompt()
        assert len(os.listdir("/dev/fd")) == held
