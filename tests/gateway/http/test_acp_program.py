"""The program, with our own agent for editors elsewhere: what a lost network, and the end of the gateway, leave."""

import json
import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.gateway.host import Program, program
from tests.gateway.http.asking import BEARER
from tests.gateway.http.editors import Editor, gone

SCRIPT = '=== turn if "wait"\nsay: I begin.\nwait 60\n=== turn repeat\nsay: Hello.\n'
AGENT = str(Path(sys.executable).with_name("ars-acp"))
Json = dict[str, Any]


@pytest.fixture
def ars(tmp_path: Path) -> list[str]:
    """The arguments of a gateway whose main agent is ours, with a script for a model."""
    script = tmp_path / "script"
    script.write_text(SCRIPT)
    return ["--agent", shlex.join([AGENT, "--script", str(script)])]


@asynccontextmanager
async def editor(gateway: Program) -> AsyncIterator[Editor]:
    """An editor that has its agent over HTTP, and listens."""
    url = f"http://127.0.0.1:{gateway.port}"
    async with httpx2.AsyncClient(base_url=url, headers=BEARER, timeout=10, trust_env=False) as http:
        one = Editor(http)
        await one.initialize()
        await one.listen()
        try:
            yield one
        finally:
            for stream in one.streams:
                await stream.cut()


def prompt(session: str, text: str) -> Json:
    return {"sessionId": session, "prompt": [{"type": "text", "text": text}]}


def agents_of(gateway: Program) -> list[int]:
    """The processes of agents that the gateway's guardian has started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = status.read_bytes().split(b"\0")
            environment = (status.parent / "environ").read_bytes()
        except OSError:
            continue
        if AGENT.encode() in words and f"{gateway.state}/remote/".encode() in environment:
            found.append(int(status.parent.name))
    return found


@pytest.mark.parametrize("taken_up_by", ["session/load", "session/resume"])
async def test_an_editor_whose_network_was_gone_takes_up_its_session_on_a_new_connection(ars, tmp_path, taken_up_by):
    async with program(tmp_path / "state", *ars) as gateway, editor(gateway) as lost, editor(gateway) as back:
        session = (await lost.request("session/new", {"cwd": "/far/away", "mcpServers": []}))["result"]["sessionId"]
        await lost.listen(session)
        await lost.begin("session/prompt", prompt(session, "wait"), session)
        await lost.until(lambda: any("method" in it for it in lost.streams[1].messages))
        params = {"sessionId": session, "cwd": "/far/away", "mcpServers": []}
        await back.listen(session)
        # While somebody listens there, it is not taken away from them.
        held = await back.request(taken_up_by, params, session)
        assert held["error"]["data"]["code"] == "SESSION_HELD"
        holder = held["error"]["data"]["details"]["pid"]
        (agent,) = {*agents_of(gateway)} - {holder}
        for stream in lost.streams:
            await stream.cut()
        with anyio.fail_after(20):  # that the stream was cut shows a moment later
            while "error" in (answer := await back.request(taken_up_by, params, session)):
                assert answer["error"]["data"]["code"] == "SESSION_HELD"
        assert (await back.request("session/prompt", prompt(session, "x"), session))["result"][
            "stopReason"
        ] == "end_turn"
        await gone(holder)
        assert agents_of(gateway) == [agent]
        assert (await lost.post({"jsonrpc": "2.0", "id": 1, "method": "x"})).status_code == 404


async def test_an_editor_on_a_socket_that_broke_off_takes_up_its_session_on_the_next(ars, tmp_path):
    async def say(socket: ClientConnection, id: int, method: str, params: Json) -> Json:
        await socket.send(json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
        while (message := json.loads(await socket.recv())).get("id") != id:
            pass
        found: Json = message["result"]
        return found

    options: Json = {"additional_headers": BEARER, "proxy": None}
    initialize = {"protocolVersion": 1, "clientCapabilities": {}}
    async with program(tmp_path / "state", *ars) as gateway:
        session = ""
        for round in range(5):
            with anyio.fail_after(20):
                async with connect(f"{gateway.url}/acp", **options) as socket:
                    await say(socket, 1, "initialize", initialize)
                    params = {"cwd": "/far/away", "mcpServers": []}
                    if round:
                        await say(socket, 2, "session/load", params | {"sessionId": session})
                    else:
                        session = (await say(socket, 2, "session/new", params))["sessionId"]
                    answer = await say(socket, 3, "session/prompt", prompt(session, "x"))
                    assert answer["stopReason"] == "end_turn"
                    socket.transport.abort()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_the_end_of_the_gateway_in_mid_turn_is_the_end_of_its_agents(ars, tmp_path, number):
    async with program(tmp_path / "state", *ars) as gateway, editor(gateway) as one:
        session = (await one.request("session/new", {"cwd": "/far/away", "mcpServers": []}))["result"]["sessionId"]
        stream = await one.listen(session)
        id = await one.begin("session/prompt", prompt(session, "wait"), session)
        await one.until(lambda: any("method" in it for it in stream.messages))
        (agent,) = agents_of(gateway)
        os.kill(gateway.process.pid, number)
        await gone(agent)
        await stream.over.wait()
        with anyio.fail_after(20):
            assert await gateway.process.wait() == (0 if number == signal.SIGTERM else -number)
        if number == signal.SIGTERM:
            assert (await one.answer(id))["error"]["message"] == "the gateway ends"
