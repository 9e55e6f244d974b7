"""One start of the scripted agent, as the kit plays it: the client's messages in, ours out, and what it is to do."""

import itertools
import json
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import anyio
import anyio.abc

from acp_check.agent import DO, DONE, HEADER, HELLO, INPUT, INPUT_ENDED, OUTPUT, SIGNALLED, frame, size_of, told
from acp_check.client_judge import Judge, offers
from acp_check.client_table import Broken, Gone, Json
from acp_wire import framing

PING = "_acp_check/ping"
# Above what any client numbers its own with, so that a number alone tells whose request it is in a log.
FIRST_ID = 1_000_001

Answer = Callable[["Agent", Json], Awaitable[None]]


class Changes:
    """Wakes whoever waits for something to become true."""

    def __init__(self) -> None:
        self._changed = anyio.Event()

    def tell(self) -> None:
        """Something has changed."""
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def until(self, true: Callable[[], Any], seconds: float) -> bool:
        """Whether that became true in time."""
        with anyio.move_on_after(seconds):
            while not true():
                await self._changed.wait()
        return bool(true())


class Agent:
    """Plays one started agent. `answers` has, for methods of the client's, what to do; `serve` reads to the end.

    Whatever waits for the client waits `limit` seconds and raises `Broken`, or `Gone` where its end is closed.
    """

    def __init__(
        self,
        stream: anyio.abc.ByteStream,
        judge: Judge,
        answers: dict[str, Answer],
        changes: Changes,
        limit: float,
    ) -> None:
        self.judge = judge
        self.changes = changes
        self.limit = limit
        self.hello: Json = {}
        self.prompts: deque[Json] = deque()
        self.cancelled: list[Json] = []
        self.calls: list[Json] = []
        self.signals: list[int] = []
        self.cwd = ""  # of the session that was opened last
        self.input_ended = False
        self.gone = False
        self._stubborn = False
        self._stream = stream
        self._answers = answers
        self._ids = itertools.count(FIRST_ID)
        self._waiting: dict[tuple[type, Any], Json | None] = {}
        self._done: list[str] = []
        self._lines = framing.Lines()
        self._sending = anyio.Lock()
        self._tasks: anyio.abc.TaskGroup

    @property
    def client(self) -> Json:
        """The client's capabilities."""
        return self.judge.client

    def client_offers(self, path: str) -> bool:
        """Whether the client has advertised that."""
        return offers(self.client, path)

    # ── to the client ───────────────────────────────────────────────────────────────────────────────────────────────

    async def write(self, data: bytes) -> None:
        """Bytes as they are. Raises `Gone`."""
        await self._send(frame(OUTPUT, data))

    async def send(self, *messages: Json) -> None:
        """Messages, in one write."""
        await self.write(b"".join(json.dumps({"jsonrpc": "2.0", **it}).encode() + b"\n" for it in messages))

    async def update(self, session: str, *updates: Json) -> None:
        """Updates of a session, in one write."""
        await self.send(*(update_of(session, it) for it in updates))

    async def result(self, request: Json, result: Json) -> None:
        """Answers a request of the client's."""
        self.judge.answered(request, result)
        await self.send({"id": request.get("id"), "result": result})

    async def error(self, request: Json, code: int, message: str) -> None:
        """Answers a request of the client's with an error."""
        self.judge.answered(request, None)
        await self.send({"id": request.get("id"), "error": {"code": code, "message": message}})

    async def begin(self, method: str, params: Any, *, id: Any = ..., ending: bytes = b"\n") -> Any:
        """Sends a request and returns its id, for `answer`."""
        request_id = next(self._ids) if id is ... else id
        message = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
        self.expect(message)
        await self.write(json.dumps(message, ensure_ascii=False).encode() + ending)
        return request_id

    def expect(self, message: Json) -> None:
        """A request goes out by `write`; its answer is to be waited for."""
        self.judge.asked(message)
        self._waiting[_key(message["id"])] = None

    def answered(self, request_id: Any) -> Json | None:
        """The answer to a request, where it is there."""
        return self._waiting.get(_key(request_id))

    async def answer(self, request_id: Any, limit: float | None = None) -> Json:
        """The client's answer, a result or an error. Raises `Broken` where there is none in time."""
        key = _key(request_id)
        await self.until(lambda: self._waiting[key] is not None, "no answer", limit)
        answer = self._waiting.pop(key)
        assert answer is not None
        return answer

    async def ask(self, method: str, params: Any, *, limit: float | None = None, id: Any = ...) -> Json:
        """A request and its answer."""
        try:
            return await self.answer(await self.begin(method, params, id=id), limit)
        except Broken as why:
            raise Broken(f"{method}: {why}") from None

    async def until(self, true: Callable[[], Any], otherwise: str, limit: float | None = None) -> None:
        """Waits for something of the client's. Raises `Broken(otherwise)`, `Gone`."""
        seconds = self.limit if limit is None else limit
        if not await self.changes.until(lambda: true() or self.lost, seconds):
            raise Broken(f"{otherwise} in {seconds:g} s")
        if not true():
            raise Gone

    @property
    def lost(self) -> bool:
        """Whether the client has closed its end, or the process is gone."""
        return self.gone or self.input_ended

    async def prompt(self, limit: float | None = None) -> Json:
        """The next prompt of the client's."""
        await self.until(lambda: self.prompts, "no prompt came", limit)
        return self.prompts.popleft()

    # ── to the process ──────────────────────────────────────────────────────────────────────────────────────────────

    async def do(self, what: str, *, wait: bool = True, limit: float | None = None, **more: Any) -> None:
        """Has the process do something of its own (`acp_check.agent`). Raises `Broken` where it cannot."""
        self._stubborn |= what == "stubborn"
        before = len(self._done)
        await self._send(told(DO, do=what, **more))
        if wait:
            await self.until(lambda: len(self._done) > before, f"the agent could not {what}", limit)

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def serve(self, hello: Json, tasks: anyio.abc.TaskGroup) -> None:
        """Takes what comes until the process is gone; what has to be answered is, in `tasks`."""
        self.hello, self._tasks = hello, tasks
        try:
            while True:
                letter, payload = await receive(self._stream)
                self._take(letter, payload)
                self.changes.tell()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            self.gone = True
            self.changes.tell()

    def _take(self, letter: bytes, payload: bytes) -> None:
        if letter == INPUT:
            for line in self._lines.feed(payload):
                message = self.judge.take(line)
                if message is not None:
                    self._take_message(message)
        elif letter == INPUT_ENDED:
            self.input_ended = True
            if not self._stubborn:
                self._tasks.start_soon(self._leave)
        elif letter == SIGNALLED:
            self.signals.append(payload[0])
        elif letter == DONE:
            self._done.append(json.loads(payload)["do"])

    def _take_message(self, message: Json) -> None:
        if "method" not in message:
            if (key := _key(message.get("id"))) in self._waiting:
                self._waiting[key] = message
            return
        self.calls.append(message)
        if message["method"] == "session/cancel":
            self.cancelled.append(message)
        elif message["method"] == "session/new":
            self.cwd = str(part(message, "params").get("cwd"))
            self._tasks.start_soon(self._answer, message)
        elif message["method"] == "session/prompt" and "session/prompt" not in self._answers:
            self.prompts.append(message)
        elif "id" in message:
            self._tasks.start_soon(self._answer, message)

    async def _leave(self) -> None:
        with suppress(Gone, Broken):
            await self.do("exit", wait=False, code=0)

    async def _answer(self, message: Json) -> None:
        with suppress(Gone, Broken):
            if handler := self._answers.get(message["method"]):
                await handler(self, message)
            else:
                await self.error(message, -32601, "Method not found")

    async def _send(self, data: bytes) -> None:
        try:
            async with self._sending:
                with anyio.fail_after(self.limit + 10):
                    await self._stream.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise Gone from None
        except TimeoutError:
            raise Broken("it stopped reading what the agent writes") from None


def update_of(session: str, update: Json) -> Json:
    """A session/update."""
    return {"method": "session/update", "params": {"sessionId": session, "update": update}}


def said(text: str) -> Json:
    """A piece of the agent's reply."""
    return {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}


def code_of(answer: Json) -> int | None:
    """The code of an error answer; None for a result."""
    error = answer.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) else (0 if "error" in answer else None)


def part(message: Json, name: str) -> Json:
    """The params or the result of a message; empty where the client sent something else."""
    found = message.get(name)
    return found if isinstance(found, dict) else {}


def refused(answer: Json, codes: Sequence[int] = ()) -> bool:
    """Whether it is an error, of one of those codes where some are named."""
    return code_of(answer) is not None and (not codes or code_of(answer) in codes)


async def receive(stream: anyio.abc.ByteStream) -> tuple[bytes, bytes]:
    """One frame of the agent's. Raises as the stream does."""
    header = await _exactly(stream, HEADER)
    return header[:1], await _exactly(stream, size_of(header))


async def greeted(stream: anyio.abc.ByteStream) -> Json:
    """What a process of ours says first."""
    letter, payload = await receive(stream)
    if letter != HELLO:
        raise anyio.EndOfStream
    hello: Json = json.loads(payload)
    return hello


async def _exactly(stream: anyio.abc.ByteStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await stream.receive(size - len(data))
    return data


def _key(value: Any) -> tuple[type, Any]:
    return (type(value), value) if value is None or type(value) in (int, str) else (type(value), repr(value))
