"""An editor that has its agent over the network: the remote transport by hand, so that a test sees each message."""

import asyncio
import contextlib
import itertools
import json
import os
import shlex
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2

from ars_gateway.config import Config, DoorConfig
from tests.gateway.host import Running
from tests.gateway.http.asking import asking

Json = dict[str, Any]
AGENT = shlex.join([sys.executable, "-S", str(Path(__file__).parents[3] / "fixtures/agents/obedient.py")])
# An agent that nobody knows serves editors elsewhere where the configuration says so.
SERVED: Json = {"agent": AGENT, "config": Config(gateway=DoorConfig(remote_agents=["main"]))}
JSON = {"content-type": "application/json"}
INITIALIZE = {"protocolVersion": 1, "clientCapabilities": {}}


class Stream:
    """One open stream: its messages, with the ids of their events; `over` is set at its end."""

    def __init__(self, session: str | None) -> None:
        self.session = session
        self.messages: list[Json] = []
        self.ids: list[str] = []
        self.over = asyncio.Event()
        self.task: asyncio.Task[None]

    def texts(self) -> list[str]:
        """The first six characters of each piece of text."""
        told = (it["params"]["update"] for it in self.messages if it.get("method") == "session/update")
        return [it["content"]["text"][:6] for it in told]

    async def cut(self) -> None:
        """As when the network has gone."""
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


class Editor:
    """One connection. `pid` is its agent's."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http
        self.id = ""
        self.told: Json = {}
        self.streams: list[Stream] = []
        self._changed = asyncio.Event()
        self._ids = itertools.count(1)

    @property
    def pid(self) -> int:
        return int(self.told["_meta"]["pid"])

    def headers(self, session: str | None = None, **more: str) -> dict[str, str]:
        found = {"acp-connection-id": self.id, **more}
        return found if session is None else found | {"acp-session-id": session}

    async def initialize(self, **params: Any) -> None:
        message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": INITIALIZE | params}
        answer = await self.http.post("/acp", json=message)
        assert answer.status_code == 200, answer.text
        self.id = answer.headers["acp-connection-id"]
        self.told = answer.json()["result"]

    async def post(self, message: Any, session: str | None = None, **more: str) -> httpx2.Response:
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        return await self.http.post("/acp", content=data, headers=JSON | self.headers(session, **more))

    async def begin(self, method: str, params: Any = None, session: str | None = None) -> int:
        """Sends a request and returns its id."""
        id = next(self._ids)
        answer = await self.post({"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}}, session)
        assert answer.status_code == 202, answer.text
        return id

    async def answer(self, id: int, within: float = 20) -> Json:
        """The agent's answer to a request, on whatever stream it came."""
        return await self.until(lambda: next((it for it in self.seen() if it.get("id") == id), None), within)

    async def request(self, method: str, params: Any = None, session: str | None = None) -> Json:
        return await self.answer(await self.begin(method, params, session))

    async def do(self, session: str, *what: Any) -> int:
        """Begins a prompt that says what the agent is to do."""
        return await self.begin("session/prompt", {"sessionId": session, "_meta": {"do": what}}, session)

    def seen(self) -> list[Json]:
        """All answers that have come."""
        return [it for stream in self.streams for it in stream.messages if "method" not in it]

    async def until(self, condition: Callable[[], Any], within: float = 20) -> Any:
        with anyio.fail_after(within):
            while not (found := condition()):
                await self._changed.wait()
        return found

    async def listen(self, session: str | None = None, last: str | None = None) -> Stream:
        """A stream, open."""
        stream = Stream(session)
        opened = asyncio.Event()
        headers = self.headers(session, accept="text/event-stream")
        if last is not None:
            headers["last-event-id"] = last
        stream.task = asyncio.ensure_future(self._read(stream, headers, opened))
        self.streams.append(stream)
        waiting = asyncio.ensure_future(opened.wait())
        with anyio.fail_after(20):
            await asyncio.wait([waiting, stream.task], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not opened.is_set():
            stream.task.result()
        return stream

    async def _read(self, stream: Stream, headers: dict[str, str], opened: asyncio.Event) -> None:
        try:
            async with self.http.stream("GET", "/acp", headers=headers, timeout=None) as answer:
                assert answer.status_code == 200, (answer.status_code, await answer.aread())
                opened.set()
                id = ""
                async for line in answer.aiter_lines():
                    if line.startswith("id: "):
                        id = line[4:]
                    elif line.startswith("data: "):
                        stream.messages.append(json.loads(line[6:]))
                        stream.ids.append(id)
                        self._tell()
        except httpx2.RemoteProtocolError:
            pass  # cut by the other end
        finally:
            stream.over.set()
            self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


@asynccontextmanager
async def editor(running: Running, **options: Any) -> AsyncIterator[Editor]:
    """An editor before its initialize."""
    async with asking(running, **options) as http:
        one = Editor(http)
        try:
            yield one
        finally:
            for stream in one.streams:
                await stream.cut()


async def closed(running: Running, within: float = 20) -> Json:
    """What the log says of the end of the only connection there was."""
    with anyio.fail_after(within):
        while not running.log.named("remote.closed"):
            await anyio.wait_all_tasks_blocked()
    (line,) = running.log.named("remote.closed")
    return line


async def gone(pid: int, within: float = 20) -> None:
    """Waits until a process is no more."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(fd, ended.set)
    try:
        with anyio.fail_after(within):
            await ended.wait()
    finally:
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)
