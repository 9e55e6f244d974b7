"""The remote transport over a WebSocket, in front of an agent that does as it is told."""

import asyncio
import contextlib
import itertools
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ars_gateway.access.auth import Credential, Credentials, digest
from ars_gateway.access.scopes import READ
from ars_gateway.limits import LIMITS
from tests.gateway.conftest import TOKEN
from tests.gateway.host import Running
from tests.gateway.http.editors import closed, gone
from tests.gateway.http.test_acp_streams import rss
from tests.gateway.raw import asked, upgrade

Json = dict[str, Any]
BEARER = {"authorization": f"Bearer {TOKEN}"}


class Talk:
    """One socket; `messages` grows as they come."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.messages: list[Json] = []
        self.pid = 0
        self._changed = asyncio.Event()
        self._ids = itertools.count(1)

    async def read(self) -> None:
        """Takes messages until the end."""
        try:
            async for message in self.socket:
                assert isinstance(message, str)
                self.messages.append(json.loads(message))
                self._tell()
        except ConnectionClosed:
            pass
        finally:
            self._tell()

    async def begin(self, method: str, params: Any = None) -> int:
        id = next(self._ids)
        await self.socket.send(json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}}))
        return id

    async def answer(self, id: int | None, within: float = 20) -> Json:
        return await self.until(lambda: next((it for it in self.messages if it.get("id") == id), None), within)

    async def request(self, method: str, params: Any = None) -> Json:
        return await self.answer(await self.begin(method, params))

    async def initialize(self) -> None:
        self.pid = (await self.request("initialize"))["result"]["_meta"]["pid"]

    async def do(self, *what: Any) -> int:
        return await self.begin("session/prompt", {"sessionId": "s", "_meta": {"do": what}})

    async def until(self, condition: Callable[[], Any], within: float = 20) -> Any:
        with anyio.fail_after(within):
            while not (found := condition()):
                await self._changed.wait()
        return found

    async def ended(self, within: float = 20) -> tuple[int | None, str | None]:
        with anyio.fail_after(within):
            await self.socket.wait_closed()
        return self.socket.close_code, self.socket.close_reason

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


@asynccontextmanager
async def talk(running: Running, path: str = "/acp", reads: bool = True, **options: Any) -> AsyncIterator[Talk]:
    """A socket before its first message; the session that it prompts is its principal's."""
    running.gateway.remotes.owned.add("owner", "main", "s")
    given: Json = {
        "additional_headers": BEARER,
        "proxy": None,
        "max_size": None,
        "close_timeout": 1,
        "compression": None,
    }
    async with connect(running.url + path, **(given | options)) as socket:
        one = Talk(socket)
        reading = asyncio.ensure_future(one.read()) if reads else None
        yield one
        await socket.close()
        if reading is not None:
            await reading


async def test_all_that_is_said_goes_over_one_socket(served):
    async with served() as running, talk(running) as one:
        assert one.socket.response is not None
        assert len(one.socket.response.headers["Acp-Connection-Id"]) >= 43
        await one.initialize()
        first = (await one.request("session/new"))["result"]["sessionId"]
        await one.socket.send(b'{"jsonrpc": "2.0", "id": 99, "method": "binary"}')
        id = await one.do(["say", [2, 1]], ["ask", ["fs/read_text_file", {"sessionId": first}]])
        await one.answer("ask-0")  # type: ignore[arg-type]
        await one.socket.send('{"jsonrpc": "2.0",\n "id": "ask-0", "result": {"content": "ä"}}')
        answer = await one.answer(id)
        assert answer["result"]["_meta"]["asked"][0]["result"] == {"content": "ä"}
        assert [it.get("method", it.get("id")) for it in one.messages[2:]] == [
            "session/update",
            "session/update",
            "fs/read_text_file",
            id,
        ]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("{", -32700),
        ("", -32700),
        ("[" * 50_000, -32700),
        ('[{"jsonrpc": "2.0", "id": 1, "method": "x"}]', -32600),
        ("7", -32600),
        ('{"method": {}}', -32600),
    ],
)
async def test_what_is_no_message_is_answered_so_and_the_socket_goes_on(served, said, code):
    async with served() as running, talk(running) as one:
        await one.initialize()
        await one.socket.send(said)
        assert (await one.answer(None))["error"]["code"] == code
        assert (await one.request("initialize"))["error"]["code"] == -32600
        assert (await one.request("echo"))["result"]["method"] == "echo"


async def test_the_first_message_is_initialize_and_comes_soon(served):
    async with served(limits=replace(LIMITS, handshake_seconds=1)) as running:
        async with talk(running) as one:
            await one.begin("session/new")
            assert await one.ended() == (1002, "the first message has to be initialize")
        async with talk(running) as one:
            assert await one.ended() == (1008, "initialize has not come")
        async with talk(running) as one:
            await one.initialize()
            assert (await one.request("echo"))["result"]["method"] == "echo"
            assert len(running.gateway.lobby) == 0


async def test_who_may_not_come_in_hears_it_before_the_upgrade_and_no_agent_is_started(served):
    async with served() as running:

        async def refused(path: str = "/acp", **headers: str) -> int:
            with pytest.raises(InvalidStatus) as why:
                async with talk(running, path, additional_headers=headers):
                    pass
            return why.value.response.status_code

        assert await refused() == 401
        assert await refused(authorization="Basic x") == 401
        assert await refused(origin="https://evil.example", **BEARER) == 403
        assert await refused("/acp?agent=nobody", **BEARER) == 404
        assert await refused("/acp?token=x", **BEARER) == 400
        assert await refused(**BEARER, **{"acp-agent": "nobody"}) == 404
        for _ in range(5):
            assert await refused(authorization="Bearer wrong") == 401
        assert await refused(**BEARER) == 429
        running.gateway.limiter.__init__(running.gateway.clock)
        running.gateway.credentials = Credentials("token", (Credential("owner", digest(TOKEN), frozenset({READ})),))
        assert await refused(**BEARER) == 403
        assert len(running.gateway.remotes) == 0
        assert not running.log.named("remote.opened")


async def test_an_upgrade_that_is_none_leaves_no_agent(served):
    async with served() as running:
        request = upgrade(running.addresses.port, "/acp", None, f"Authorization: Bearer {TOKEN}")
        status, _ = await asked(running.addresses.port, request.replace(b"Version: 13", b"Version: 7"))
        assert status in (400, 426)
        assert (await closed(running))["why"] == "its editor has left"


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_an_editor_that_leaves_takes_its_agent_along(served, how):
    async with served() as running, talk(running) as one:
        await one.initialize()
        await one.do(["wait", 1])
        if how == "close":
            await one.socket.close()
        else:
            one.socket.transport.abort()
        await gone(one.pid)


async def test_an_agent_that_is_killed_leaves_no_request_without_an_answer(served):
    async with served() as running, talk(running) as one:
        await one.initialize()
        id = await one.do(["say", [2, 0]], ["die", 1])
        assert (await one.answer(id))["error"]["message"] == "agent main has ended: killed by SIGKILL"
        assert await one.ended() == (1011, "agent main has ended: killed by SIGKILL")


async def test_the_end_of_the_gateway_is_told_as_one(served):
    async with served() as running, talk(running) as one:
        await one.initialize()
        id = await one.do(["say", [1, 0]], ["wait", 1])
        await one.until(lambda: len(one.messages) == 2)
        running.gateway.say_goodbye()
        assert (await one.answer(id))["error"]["message"] == "the gateway ends"
        assert await one.ended() == (1012, "the gateway ends")
        await gone(one.pid)


async def test_large_messages_go_both_ways_and_too_large_ones_end_it(served):
    async with served(limits=replace(LIMITS, remote_message_bytes=7_000_000)) as running, talk(running) as one:
        await one.initialize()
        text = "ä" * 1_000_000
        assert (await one.request("echo", {"t": text}))["result"]["params"] == {"t": text}
        with contextlib.suppress(ConnectionClosed):
            await one.begin("echo", {"t": "x" * 7_000_000})
        code, _ = await one.ended()
        assert code == 1009
        await gone(one.pid)


async def test_an_editor_that_reads_nothing_holds_up_its_agent_and_is_left_in_the_end(served):
    limits = replace(
        LIMITS, remote_waiting_bytes=500_000, stalled_seconds=1.0, remote_stalled_seconds=1.0, close_seconds=0.2
    )
    async with served(limits=limits) as running, talk(running, max_queue=1, reads=False) as one:
        await one.begin("initialize")
        one.pid = json.loads(await one.socket.recv())["result"]["_meta"]["pid"]
        one.socket.transport.pause_reading()
        before = rss(os.getpid())
        await one.do(["say", [200, 500_000]])
        await gone(one.pid)
        assert rss(os.getpid()) - before < 30_000
        assert (await closed(running))["why"] == "the editor has taken nothing for 1 s"
        one.socket.transport.abort()


async def test_an_agent_that_reads_nothing_holds_up_its_editor_and_is_left_in_the_end(served):
    limits = replace(LIMITS, remote_stalled_seconds=1.0)
    async with served(limits=limits) as running, talk(running) as one:
        await one.initialize()
        await one.do(["deaf", 1])
        before = rss(os.getpid())
        sent: list[int] = []

        async def say_much() -> None:
            while True:
                sent.append(await one.begin("x", {"t": "x" * 1_000_000}))

        with pytest.raises(ConnectionClosed):
            await say_much()
        assert len(sent) < 50
        assert rss(os.getpid()) - before < 60_000
        assert await one.ended() == (1011, "agent main has taken nothing for 1 s")
        await gone(one.pid)


async def test_connections_of_both_kinds_count_together(served):
    async with served(limits=replace(LIMITS, remote_connections=1)) as running, talk(running):
        with pytest.raises(InvalidStatus) as why:
            async with talk(running):
                pass
        assert why.value.response.status_code == 429
