"""One agent at the other end of raw pipes: any bytes can be written to it, every line that came is kept."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from acp_check.hands import NEVER, Hands
from acp_check.process import Process
from acp_check.report import one_line
from acp_check.table import Broken
from acp_check.watch import Faults, Watch, key_of, offers, quoted

Json = dict[str, Any]

STDERR_TOLD = 160
EXIT_SECONDS = 0.5  # from the end of stdout to the exit status
MOST_KEPT_BYTES = 64 << 20  # of one line; an agent that never ends one is not kept whole


@dataclass(frozen=True)
class Limits:
    """Seconds. `start` is for initialize, `session` for what opens one, `turn` for a prompt, `answer` for the rest.

    `end`: how long an agent may take to end. `quiet`: how long nothing must come for "nothing came". `row` bounds one
    requirement, `total` the whole run.
    """

    start: float = 60
    session: float = 30
    answer: float = 10
    turn: float = 60
    end: float = 5
    quiet: float = 0.1
    row: float = 120
    total: float = 900


DEFAULTS = Limits()


@dataclass(frozen=True)
class Update:
    """A session/update, and how many messages had come before it."""

    session: str
    update: Json
    at: int

    @property
    def kind(self) -> str:
        """Its variant."""
        return str(self.update.get("sessionUpdate"))


@dataclass(frozen=True)
class Answer:
    """An answer, and how many messages had come before it."""

    message: Json
    at: int

    @property
    def result(self) -> Any:
        """None for an error."""
        return self.message.get("result")

    @property
    def code(self) -> Any:
        """The error's code; None for a result."""
        error = self.message.get("error")
        return error.get("code") if isinstance(error, dict) else None

    def __str__(self) -> str:
        return quoted({name: it for name, it in self.message.items() if name in ("result", "error")})


class Peer:
    """Must be given to `stop` in the end. Raises OSError and ValueError where the agent cannot be started."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        *,
        capabilities: Mapping[str, Any],
        faults: Faults,
        limits: Limits,
    ) -> None:
        self.cwd = cwd
        self.capabilities = capabilities
        self.faults = faults
        self.limits = limits
        self.hands = Hands(cwd)
        self.watch = Watch(faults, capabilities)
        self.messages: list[Json] = []
        self.updates: list[Update] = []
        self.answers: dict[tuple[type, Any], Answer] = {}
        self.strays: list[Json] = []  # errors without an id
        self.asked: list[Json] = []
        self.told: list[Json] = []  # notifications other than session/update
        self.noise: list[str] = []
        self.lines = 0
        self.hello: Json = {}  # the result of initialize
        self.closed = False
        self._rest = bytearray()
        self._changed = anyio.Event()
        self._last_id = 1000  # agents number their own from the small ones
        self.process = Process(argv, env, self._take_bytes)

    @property
    def gone(self) -> bool:
        """Whether it has ended, or says nothing any more."""
        return self.closed or self.process.exit is not None or self.process.deaf

    def offers(self, *path: str) -> bool:
        """Whether the agent has said that it can do this: a path in its capabilities."""
        return offers(self.hello.get("agentCapabilities") or {}, *path)

    # ── sending ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def write(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self.process.write(data)

    def send(self, message: Json) -> None:
        """Sends one message."""
        self.watch.sent(message)
        self.write(json.dumps(message).encode() + b"\n")

    def notify(self, method: str, params: Any) -> None:
        """Sends a notification."""
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def begin(self, method: str, params: Any = None, *, identity: Any = None) -> Any:
        """Sends a request and returns its id; without params where these are None."""
        if identity is None:
            self._last_id += 1
            identity = self._last_id
        message = {"jsonrpc": "2.0", "id": identity, "method": method}
        self.send(message if params is None else {**message, "params": params})
        return identity

    def respond(self, request: Json, outcome: Json) -> None:
        """Answers a request of the agent's."""
        self.send({"jsonrpc": "2.0", "id": request.get("id"), **outcome})

    # ── waiting ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def until(self, condition: Callable[[], Any], what: str, within: float | None = None) -> None:
        """Waits for something that arrives. Raises `Broken`, with `what` in it, where it does not or the agent ends."""
        seconds = self.limits.answer if within is None else within
        with anyio.move_on_after(seconds):
            while not condition():
                if self.closed:
                    await self.process.ended(EXIT_SECONDS)
                    raise Broken(f"{what}: the agent ended ({self.how_it_ended()})")
                self._changed = anyio.Event()
                await self._changed.wait()
            return
        raise Broken(f"{what}: nothing came within {seconds:g} s{self.last_words()}")

    async def answer(self, identity: Any, within: float | None = None, what: str = "") -> Answer:
        """The answer to a request that was sent with that id."""
        key = key_of(identity)
        method = self.watch.open.get(key, what or "the request")
        await self.until(lambda: key in self.answers, what or f"{method}, id {identity!r}", within)
        return self.answers[key]

    async def request(self, method: str, params: Any = None, within: float | None = None) -> Answer:
        """Sends a request and waits for the answer."""
        return await self.answer(self.begin(method, params), within)

    async def ask(self, method: str, params: Any = None, within: float | None = None) -> Any:
        """The result of a request. Raises `Broken` for an error."""
        answer = await self.request(method, params, within)
        if "result" not in answer.message:
            raise Broken(f"{method} {quoted(params)} was answered {answer}")
        return answer.result

    async def quiet(self, seconds: float | None = None) -> None:
        """Waits until nothing has come for that long."""
        heard = -1
        while heard != self.lines and not self.closed:
            heard = self.lines
            self._changed = anyio.Event()
            with anyio.move_on_after(self.limits.quiet if seconds is None else seconds):
                await self._changed.wait()

    async def stop(self) -> None:
        """Ends the agent and everything that it has started."""
        await self.process.stop()
        self.watch.ended()

    # ── telling ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def how_it_ended(self) -> str:
        """For a reason: its exit, and the last that it wrote on stderr."""
        ended = self.process.exit
        how = "its stdout is closed" if ended is None else str(ended)
        return f"{how}{self.last_words()}"

    def last_words(self) -> str:
        """The last line of stderr."""
        lines = bytes(self.process.stderr).decode(errors="replace").strip().splitlines()
        return f"; stderr ends: {one_line(lines[-1], STDERR_TOLD)}" if lines else ""

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _take_bytes(self, data: bytes) -> None:
        if not data:
            self.closed = True
            # Of one that is being ended a line may be cut; that is no fault.
            if self._rest.strip() and not self.process.ending:
                self._take_line(bytes(self._rest))
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = bytes(self._rest) + lines[0]
            self._rest.clear()
        if len(self._rest) < MOST_KEPT_BYTES:
            self._rest += rest
        for line in lines:
            self._take_line(line)
        self._changed.set()

    def _take_line(self, line: bytes) -> None:
        self.lines += 1
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as why:
            self.faults.add("TRANSPORT-002", f"a line is not UTF-8 ({why.reason} at byte {why.start}): {line[:80]!r}")
            text = line.decode("utf-8", errors="replace")
        try:
            message = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            self.noise.append(text)
            self.faults.add("TRANSPORT-001", f"a line on stdout is no JSON-RPC message: {quoted(text)}")
            return
        self._take(message)

    def _take(self, message: Json) -> None:
        at = len(self.messages)
        self.messages.append(message)
        meant = self.watch.meant(message)
        self.watch.took(message)
        if "method" not in message:
            if meant is not None:
                self.answers.setdefault(meant, Answer(message, at))
            elif "error" in message and message.get("id") is None:
                self.strays.append(message["error"])
            return
        params = message.get("params")
        if "id" in message:
            self._asked(message, params if isinstance(params, dict) else {})
        elif message["method"] == "session/update" and isinstance(params, dict):
            update = params.get("update")
            self.updates.append(Update(str(params.get("sessionId")), update if isinstance(update, dict) else {}, at))
        else:
            self.told.append(message)

    def _asked(self, message: Json, params: Json) -> None:
        self.asked.append(message)
        reply = self.hands.answer(str(message["method"]), params, lambda *path: offers(self.capabilities, *path))
        if reply is not NEVER:
            assert isinstance(reply, dict)
            self.respond(message, reply)


def _refuse(name: str) -> float:
    raise ValueError(name)
