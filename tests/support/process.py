"""A client of the real executable: raw pipes in both directions, and every message held against the v1 schema.

It shares no code with the product. `agent()` starts the process and bounds the whole test; whatever the agent asks goes
to `Hands` (tests/support/hands.py); everything else a test reads off `updates`, `answers` and `strays`, with `until`.
"""

import asyncio
import contextlib
import fcntl
import inspect
import json
import os
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from tests.support.hands import NEVER, Hands, Refusal, Wrong
from tests.support.schema import WireCheck

ARS_ACP = str(Path(sys.executable).parent / "ars-acp")
CHUNK = 1 << 20
# A net: what is required of a time is asserted.
WITHIN = 20.0
KEPT = ("PATH", "LANG", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG", "COVERAGE_FILE")
Json = dict[str, Any]


class Failed(Exception):
    """The agent answered with an error."""

    def __init__(self, error: Json) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: Any = error.get("data")


@dataclass(frozen=True)
class Ended:
    """How a process ended, when (`time.monotonic()`), and the CPU seconds it has used."""

    code: int
    at: float
    cpu: float


@dataclass(frozen=True)
class Answer:
    """An answer, when it came, and how many updates had come before it."""

    message: Json
    at: float
    updates: int


@dataclass
class Turn:
    """A prompt's answer and what was shown until then, in this session."""

    answer: Json
    seconds: float
    updates: list[Json] = field(default_factory=list)

    @property
    def stop(self) -> str | None:
        return (self.answer.get("result") or {}).get("stopReason")

    @property
    def error(self) -> Json:
        return self.answer.get("error") or {}

    @property
    def code(self) -> str | None:
        """The ARS code of the error."""
        return (self.error.get("data") or {}).get("code")

    @property
    def text(self) -> str:
        return "".join(self.pieces("agent_message_chunk"))

    @property
    def thought(self) -> str:
        return "".join(self.pieces("agent_thought_chunk"))

    @property
    def results(self) -> list[Json]:
        """The last update of each tool call that has ended."""
        return [update for update in self.updates if update.get("status") in ("completed", "failed")]

    def pieces(self, kind: str) -> list[str]:
        return [update["content"]["text"] for update in self.updates if update["sessionUpdate"] == kind]


class Client:
    """The client's end. Times are seconds; `within` bounds a wait and fails the test."""

    def __init__(self, process: subprocess.Popen[bytes], in_fd: int, out_fd: int, hands: Hands, log: Path) -> None:
        self.hands = hands
        self.wire = WireCheck()
        self.received: list[bytes] = []
        # What sessions show; and the lists of commands, which follow the answer that opens one.
        self.updates: list[Json] = []
        self.lists: list[Json] = []
        # When each of them came, `time.monotonic()`.
        self.arrived: list[float] = []
        self.answers: dict[tuple[type, Any], Answer] = {}
        # Errors without an id: answers to what could not be read.
        self.strays: list[Json] = []
        self.faults: list[str] = []
        # Whether answers to ids that this client never used are let through, for tests that send noise.
        self.lenient = False
        # What is known of the other end: it writes no more, it reads no more, it has ended.
        self.closed = False
        self.deaf = False
        self.ended: Ended | None = None
        self.pid = process.pid
        self.log = log
        self._process = process
        self._in, self._out = in_fd, out_fd
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._rest = bytearray()
        self._outbox = bytearray()
        self._last_id = 0
        self._unchecked: list[tuple[str, Any, bool]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        for fd in (in_fd, out_fd):
            os.set_blocking(fd, False)
        self.resume()
        threading.Thread(target=self._wait, daemon=True).start()

    # ── sending ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def write(self, data: bytes) -> None:
        """Queues raw bytes; what the agent does not take any more is dropped."""
        self._outbox += data
        self._flush()

    async def flush(self) -> None:
        """Waits until the pipe has taken everything."""
        await self.until(lambda: not self._outbox or self.closed, within=60)

    async def taken(self) -> None:
        """Waits until the agent has read all that was written, so that what follows is a read of its own."""
        await self.flush()
        unread = bytearray(4)
        while fcntl.ioctl(self._in, termios.FIONREAD, unread) == 0 and any(unread) and self.ended is None:  # noqa: ASYNC110
            await asyncio.sleep(0)

    def send(self, message: Json, *, wrong: bool = False) -> None:
        """Sends one message; `wrong` says that the test gets it wrong on purpose."""
        self._unchecked.append(("client", message, wrong))
        self.write(json.dumps(message).encode("ascii") + b"\n")

    def notify(self, method: str, params: Json) -> None:
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def begin(self, method: str, params: Any, *, wrong: bool = False) -> int:
        """Sends a request and returns its id."""
        self._last_id += 1
        self.send({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}, wrong=wrong)
        return self._last_id

    async def answer(self, request_id: Any, within: float = WITHIN) -> Json:
        """The whole answer to that id."""
        key = (type(request_id), request_id)
        await self.until(lambda: key in self.answers, within)
        return self.answers[key].message

    async def request(self, method: str, params: Any, *, within: float = WITHIN, wrong: bool = False) -> Json:
        """Sends a request and returns its result. Raises Failed."""
        message = await self.answer(self.begin(method, params, wrong=wrong), within)
        if "error" in message:
            raise Failed(message["error"])
        result: Json = message["result"]
        return result

    async def initialize(self) -> Json:
        capabilities = self.hands.capabilities
        return await self.request("initialize", {"protocolVersion": 1, "clientCapabilities": capabilities})

    async def new_session(self, cwd: str = "/project") -> str:
        session_id: str = (await self.request("session/new", {"cwd": cwd, "mcpServers": []}))["sessionId"]
        return session_id

    def begin_turn(self, session_id: str, text: str) -> "Running":
        """Sends a prompt and returns what waits for its end."""
        blocks = [{"type": "text", "text": text}]
        first = len(self.updates)
        began = time.monotonic()
        return Running(
            self, session_id, self.begin("session/prompt", {"sessionId": session_id, "prompt": blocks}), first, began
        )

    async def prompt(self, session_id: str, text: str = "go", within: float = WITHIN) -> Turn:
        """A whole turn."""
        return await self.begin_turn(session_id, text).end(within)

    def cancel(self, session_id: str) -> None:
        self.notify("session/cancel", {"sessionId": session_id})

    # ── waiting ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def until(self, condition: Callable[[], Any], within: float = WITHIN) -> None:
        """Waits until something that has arrived makes `condition` true. Fails when the agent is gone instead."""
        with anyio.fail_after(within):
            await asyncio.sleep(0)  # what has arrived already is taken, however quick the test is
            while not condition():
                assert not self.faults, self.faults[0]
                assert not self.closed, f"the agent is gone ({self.ended}); its log ends: {self.log_text()[-2000:]}"
                self._changed.clear()
                await self._changed.wait()

    async def gone(self, within: float = WITHIN) -> Ended:
        """Waits until the process has ended."""
        with anyio.fail_after(within):
            while self.ended is None:
                self._changed.clear()
                await self._changed.wait()
        return self.ended

    async def nothing_for(self, seconds: float) -> None:
        """Lets that time pass, however much arrives meanwhile."""
        with anyio.move_on_after(seconds):
            await asyncio.get_running_loop().create_future()

    # ── ends ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def pause(self) -> None:
        """Reads no more, until `resume`."""
        self._loop.remove_reader(self._out)

    def resume(self) -> None:
        self._loop.add_reader(self._out, self._read)

    def close_stdin(self) -> None:
        if self._in >= 0:
            self._loop.remove_writer(self._in)
            os.close(self._in)
            self._in = -1

    def close_stdout(self) -> None:
        """Closes our reading end: the agent's next write fails."""
        if self._out >= 0:
            self._loop.remove_reader(self._out)
            os.close(self._out)
            self._out = -1
            self.closed = True

    async def finish(self, within: float = WITHIN) -> Ended:
        """Closes stdin, reads what still comes, waits for the end, and checks every message."""
        self.close_stdin()
        ended = await self.gone(within)
        while self._out >= 0 and not self.closed:
            self._read()
        self.settle()
        return ended

    def abandon(self) -> None:
        """Gives back whatever is still open; nothing of the process is left."""
        if self.ended is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self.close_stdin()
        self.close_stdout()
        for task in self._tasks:
            task.cancel()

    # ── looking ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def settle(self) -> None:
        """Holds all that was said since the last time against the schema."""
        unchecked, self._unchecked = self._unchecked, []
        for side, message, wrong in unchecked:
            if side == "client":
                self.wire.sent_by_client(message, wrong=wrong)
            elif not (self.lenient and "method" not in message and not self._expected(message)):
                self.wire.sent_by_agent(message)
        assert not self.faults, self.faults[0]

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def logged(self, event: str) -> list[Json]:
        """The log's lines of that name; all of them only after `finish`, as the first ones are held for a while."""
        return [line for line in map(_json_or_none, self.log_text().splitlines()) if line and line["event"] == event]

    def rss(self, what: str = "VmRSS") -> int:
        """Resident bytes of the process; `VmHWM` is the most since the start or `reset_peak`. 0 when it has ended."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith(f"{what}:")) * 1024

    def reset_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def cpu(self) -> float:
        """CPU seconds that the process has used so far, all its threads."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _expected(self, message: Json) -> bool:
        identity = message.get("id")
        return (identity is None and "error" in message) or ("client", type(identity), identity) in self.wire.pending

    def _wait(self) -> None:
        _, status, usage = os.wait4(self.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self.ended = Ended(self._process.returncode, time.monotonic(), usage.ru_utime + usage.ru_stime)
        with contextlib.suppress(RuntimeError):  # the loop is closed when nobody waits any more
            self._loop.call_soon_threadsafe(self._changed.set)

    def _flush(self) -> None:
        while self._outbox and self._in >= 0:
            try:
                sent = os.write(self._in, memoryview(self._outbox)[:CHUNK])
            except BlockingIOError:
                self._loop.add_writer(self._in, self._flush)
                return
            except BrokenPipeError:
                self.deaf = True
                self._outbox.clear()
                break
            del self._outbox[:sent]
        if self._in >= 0:
            self._loop.remove_writer(self._in)
        self._changed.set()

    def _read(self) -> None:
        try:
            data = os.read(self._out, CHUNK)
        except BlockingIOError:
            return
        if not data:
            self.closed = True
            self._loop.remove_reader(self._out)
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = bytes(self._rest) + lines[0]
            self._rest.clear()
        self._rest += rest
        for line in lines:
            self._take(line)
        self._changed.set()

    def _take(self, line: bytes) -> None:
        self.received.append(line)
        try:
            message = json.loads(line.decode("utf-8"), parse_constant=_no_constant)
        except ValueError as why:
            self.faults.append(f"not JSON on the wire ({why}): {line[:200]!r}")
            return
        if not isinstance(message, dict):
            self.faults.append(f"not a message: {line[:200]!r}")
            return
        self._unchecked.append(("agent", message, False))
        if "method" not in message:
            self._take_answer(message)
        elif "id" in message:
            self._take_request(message)
        elif message["method"] == "session/update" and "availableCommands" in message["params"]["update"]:
            self.lists.append(message["params"])
        elif message["method"] == "session/update":
            self.updates.append(message["params"])
            self.arrived.append(time.monotonic())
        else:
            self.hands.told(message["method"], message.get("params"))

    def _take_answer(self, message: Json) -> None:
        identity = message.get("id")
        key = (type(identity), identity)
        if identity is None and "error" in message:
            self.strays.append(message["error"])
        elif key in self.answers and not self.lenient:
            self.faults.append(f"a second answer: {message}")
        else:
            self.answers[key] = Answer(message, time.monotonic(), len(self.updates))

    def _take_request(self, message: Json) -> None:
        try:
            result = self.hands.answer(message["method"], message.get("params") or {})
        except Refusal as why:
            self._respond(message, {"error": why.error})
            return
        if inspect.isawaitable(result):
            task = asyncio.ensure_future(self._respond_later(message, result))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif result is not NEVER:
            self._respond(message, {"result": result})

    async def _respond_later(self, message: Json, result: Any) -> None:
        try:
            self._respond(message, {"result": await result})
        except Refusal as why:
            self._respond(message, {"error": why.error})

    def _respond(self, request: Json, outcome: Json) -> None:
        result = outcome.get("result")
        if not isinstance(result, Wrong):
            self.send({"jsonrpc": "2.0", "id": request["id"], **outcome})
            return
        self.settle()
        self.wire.pending.pop(("agent", type(request["id"]), request["id"]), None)
        for answer in result.answers:
            self.write(json.dumps({"jsonrpc": "2.0", "id": request["id"], **answer}).encode() + b"\n")


@dataclass
class Running:
    """A turn that goes on."""

    client: Client
    session_id: str
    request_id: int
    first: int
    began: float

    @property
    def over(self) -> bool:
        return (int, self.request_id) in self.client.answers

    @property
    def updates(self) -> list[Json]:
        """What it has shown so far."""
        return self._shown(len(self.client.updates))

    async def end(self, within: float = WITHIN) -> Turn:
        await self.client.answer(self.request_id, within)
        answer = self.client.answers[int, self.request_id]
        return Turn(answer.message, answer.at - self.began, self._shown(answer.updates))

    async def shows(self, kind: str, within: float = WITHIN) -> None:
        """Waits for its first update of that kind."""
        await self.client.until(lambda: any(it["sessionUpdate"] == kind for it in self.updates), within)

    def _shown(self, last: int) -> list[Json]:
        updates = self.client.updates[self.first : last]
        return [params["update"] for params in updates if params["sessionId"] == self.session_id]


def _json_or_none(line: str) -> Json | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "event" in found else None


def _no_constant(name: str) -> float:
    raise ValueError(name)


def script(directory: Path, text: str) -> tuple[str, str]:
    """The arguments that make the agent play this script."""
    path = directory / "test.script"
    path.write_text(text, encoding="utf-8")
    return "--script", str(path)


def stored(directory: Path, session_id: str) -> list[Json]:
    """The entries of a session's log, as the file has them."""
    path = directory / "state" / "ars-acp" / "sessions" / f"{session_id}.jsonl"
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@contextlib.asynccontextmanager
async def agent(
    directory: Path,
    *arguments: str,
    argv: Sequence[str] = (ARS_ACP,),
    env: dict[str, str] | None = None,
    hands: Hands | None = None,
    within: float = 60,
    handshake: bool = True,
) -> AsyncIterator[Client]:
    """Starts the agent with its state below `directory`; the whole block has `within` seconds.

    Whatever happens nothing is left afterwards. At the end every message is checked; a test that wants to see the exit
    itself calls `finish` or `gone`.
    """
    home = {"HOME": str(directory), "XDG_CONFIG_HOME": f"{directory}/config", "XDG_STATE_HOME": f"{directory}/state"}
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    theirs_in, our_out = os.pipe()
    our_in, theirs_out = os.pipe()
    log = directory / "stderr.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(  # noqa: ASYNC220
            [*argv, *arguments],
            stdin=theirs_in,
            stdout=theirs_out,
            stderr=stderr,
            env={**kept, **home, **(env or {})},
            start_new_session=True,
        )
    os.close(theirs_in)
    os.close(theirs_out)
    client = Client(process, our_out, our_in, hands or Hands(), log)
    try:
        with anyio.fail_after(within):
            if handshake:
                await client.initialize()
            yield client
            if client.ended is None:
                await client.finish()
            client.settle()
    finally:
        client.abandon()
        with anyio.move_on_after(WITHIN, shield=True):
            await client.gone()
