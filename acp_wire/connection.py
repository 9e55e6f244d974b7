"""One connection, the same class for both ends: ids, pending requests, order, cancellation, the one error boundary.

The reader sorts messages and never waits for a handler: an answer goes to whoever waits for it, a notification is taken
inline in wire order, a request gets a task of its own, in which jsonrpcserver finds its method and shapes the result.
What a later line may refer to (the request's id, the scope that cancels it) is registered before that task starts.
"""

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.abc

from acp_wire import dispatch, errors, framing
from acp_wire.errors import ConnectionClosed, RequestTimeout, RpcError
from acp_wire.methods import (
    AGENT_NOTIFICATIONS,
    AGENT_REQUESTS,
    CLIENT_EXTENSIONS,
    CLIENT_NOTIFICATIONS,
    CLIENT_REQUESTS,
    EXTENSIONS,
    Notification,
    Request,
)
from acp_wire.streams import Stream

if TYPE_CHECKING:
    from jsonrpcserver import Result

P = TypeVar("P")
R = TypeVar("R")
CANCEL_REQUEST = "$/cancel_request"
TOLD_CHARACTERS = 500
# More of the peer's requests at once are refused; a peer that sends on while it leaves more bytes unread is left.
IN_FLIGHT_LIMIT = 10_000
UNREAD_LIMIT = 4 * framing.LINE_LIMIT
NOISE_BYTES = 1024
Id = int | str | None


@dataclass(frozen=True)
class Served:
    """The rows that one end answers."""

    requests: tuple[Request[Any, Any], ...]
    notifications: tuple[Notification[Any], ...]


AGENT_SIDE = Served((*AGENT_REQUESTS, *EXTENSIONS), AGENT_NOTIFICATIONS)
CLIENT_SIDE = Served((*CLIENT_REQUESTS, *CLIENT_EXTENSIONS), CLIENT_NOTIFICATIONS)


@dataclass(eq=False, slots=True)
class Call:
    """One request of the peer's, from the line that brought it to the line that answers it."""

    id: Id
    method: str
    raw: Any
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    # What to answer when `scope` was cancelled; without it the answer is the error REQUEST_CANCELLED.
    if_cancelled: dict[str, Any] | None = None
    after_answer: list[Callable[[], None]] = field(default_factory=list)
    at_end: list[Callable[[], None]] = field(default_factory=list)

    def then(self, fn: Callable[[], None]) -> None:
        """Runs `fn` right after the answer has been written, before anything else is read."""
        self.after_answer.append(fn)

    def ended(self, fn: Callable[[], None]) -> None:
        """Runs `fn` when the request is not being handled any more, however that ended, before it is answered."""
        self.at_end.append(fn)


@dataclass(eq=False)
class _Waiting:
    """A request of ours without its answer, or with it until the task that asked has gone on."""

    answered: asyncio.Future[None]
    on_answer: Callable[[], None] | None = None
    answer: dict[str, Any] | None = None


class Connection:
    """Speaks JSON-RPC 2.0 over `stream`, one message a line, as ACP v1 has it.

    `handlers` has `async def <row.handler>(self, params, call) -> dict` for each request it serves (one that it lacks
    is answered METHOD_NOT_FOUND) and a plain `def <row.handler>(self, params)` for each notification. Its optional
    `received(call)` is called by the reader before the request's task starts, and may raise `RpcError`; its optional
    `closed()` when the other end has closed. `on_event(name, fields)` is told of every request in and out and of
    everything that was refused or ignored.

    With `on_noise` a line that is nothing like a message (no JSON object, or one with neither `jsonrpc` nor `id`) is
    not answered: its beginning is handed over. A client wants that, as programs print.
    """

    def __init__(
        self,
        stream: Stream,
        handlers: object,
        served: Served,
        *,
        limit: int = framing.LINE_LIMIT,
        in_flight_limit: int = IN_FLIGHT_LIMIT,
        unread_limit: int = UNREAD_LIMIT,
        on_event: Callable[[str, dict[str, Any]], None] | None = None,
        on_noise: Callable[[bytes], None] | None = None,
    ) -> None:
        self.stream = stream
        self.counts: Counter[str] = Counter()
        self._lines = framing.Lines(limit)
        self._in_flight_limit = in_flight_limit
        self._unread_limit = unread_limit
        self._served = served
        self._on_noise = on_noise
        self._ids = itertools.count(1)
        self._pending: dict[int, _Waiting] = {}
        self._late: dict[int, Callable[[Any], Any]] = {}
        self._inbound: dict[tuple[type, Id], Call] = {}
        self._closed = False
        # When the last byte came, by the clock of the event loop.
        self.heard = time.monotonic()
        # Called once nothing more can come.
        self.on_end: Callable[[], None] | None = None
        self.serve_with(handlers, on_event)

    def serve_with(self, handlers: object, on_event: Callable[[str, dict[str, Any]], None] | None = None) -> None:
        """From here on `handlers` answer, and `on_event` is told: for a connection made before it was needed."""
        self._received: Callable[[Call], None] | None = getattr(handlers, "received", None)
        self._peer_closed: Callable[[], None] | None = getattr(handlers, "closed", None)
        self._on_event = on_event
        self._methods = {
            row.name: self._bound(row, handlers) for row in self._served.requests if hasattr(handlers, row.handler)
        }
        self._notified = {row.name: (row, getattr(handlers, row.handler, None)) for row in self._served.notifications}

    @property
    def in_flight(self) -> int:
        """How many of the peer's requests are being handled."""
        return len(self._inbound)

    # ── what an end does ────────────────────────────────────────────────────────────────────────────────────────────

    async def serve(self) -> None:
        """Reads until the other end closes, then cancels what is still being answered and returns when it has ended."""
        async with anyio.create_task_group() as tasks:
            try:
                await self._read(tasks)
            finally:
                self._closed = True
                if self._peer_closed is not None:
                    self._guarded("closed", self._peer_closed)
                if self.on_end is not None:
                    self.on_end()
                for call in self._inbound.values():
                    call.scope.cancel()
                for waiting in self._pending.values():
                    if not waiting.answered.done():
                        waiting.answered.set_exception(ConnectionClosed("the other end closed the connection"))

    async def request(
        self,
        row: Request[P, R],
        params: dict[str, Any],
        *,
        timeout: float | None = None,
        late: Callable[[R], None] | None = None,
        on_answer: Callable[[], None] | None = None,
    ) -> R:
        """Asks the peer and returns its typed answer. The reader calls `on_answer` when it comes, before it reads on.

        Raises `RpcError` (its error, or an answer that is malformed), `RequestTimeout` after `timeout` seconds,
        `ConnectionClosed`. When it gives up or is cancelled the peer is told with `$/cancel_request`; a result that
        comes all the same goes to `late`, for what has to be given back (a terminal, say), and is ignored without it.
        """
        if self._closed:
            raise ConnectionClosed("the connection is closed")
        request_id = next(self._ids)
        waiting = self._pending[request_id] = _Waiting(asyncio.get_running_loop().create_future(), on_answer)
        began = time.perf_counter()
        outcome = "cancelled"
        try:
            self._write({"jsonrpc": "2.0", "id": request_id, "method": row.name, "params": params})
            with anyio.fail_after(timeout):
                await waiting.answered
            assert waiting.answer is not None
            raw = _result(waiting.answer)
            outcome = "answered"
            return row.result(raw)
        except TimeoutError:
            outcome = "timeout"
            why = RequestTimeout(f"{row.name} was not answered in {timeout:g} s")
            why.request_id = request_id
            raise why from None
        except (RpcError, ConnectionClosed) as error:
            outcome = "error"
            error.request_id = request_id
            raise
        finally:
            del self._pending[request_id]
            if outcome in ("timeout", "cancelled"):
                self._give_up(request_id, waiting, late and (lambda raw: late(row.result(raw))))
            self._event("request.sent", method=row.name, id=request_id, ms=_ms(began), outcome=outcome)

    def _give_up(self, request_id: int, waiting: "_Waiting", late: Callable[[Any], Any] | None) -> None:
        if waiting.answer is not None:
            # It came together with what made us give up.
            self._hand_back(late, waiting.answer)
            return
        self._tell_cancelled(request_id)
        if late is not None:
            self._late[request_id] = late

    def _hand_back(self, late: Callable[[Any], Any] | None, answer: dict[str, Any]) -> None:
        if late is not None:
            with contextlib.suppress(RpcError):
                result = _result(answer)
                self._guarded("late answer", lambda: late(result))

    def post(self, row: Request[Any, Any], params: dict[str, Any]) -> None:
        """Sends a request whose answer nobody waits for. Does nothing when the other end is gone."""
        request_id = next(self._ids)
        self._late[request_id] = _as_it_is
        with contextlib.suppress(ConnectionClosed):
            self._write({"jsonrpc": "2.0", "id": request_id, "method": row.name, "params": params})

    async def guarded(self, method: str, work: Callable[[], Awaitable[None]]) -> None:
        """Does what a request has begun and nobody waits for. What goes wrong there is told, as in a handler."""
        try:
            await work()
        except Exception as exc:  # the boundary: nobody waits, and nobody else should end for it
            self._event("handler.failed", method=method, error=exc)

    def notify(self, row: Notification[Any], params: dict[str, Any]) -> None:
        """Sends a notification, in order with everything else that is written. Raises `ConnectionClosed`."""
        self._write({"jsonrpc": "2.0", "method": row.name, "params": params})

    def write_lines(self, lines: bytes) -> None:
        """Writes messages that are encoded already, whole lines. The chunk path's way in."""
        self.stream.write(lines)

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _read(self, tasks: anyio.abc.TaskGroup) -> None:
        with contextlib.suppress(ConnectionClosed):
            try:
                while data := await self.stream.receive():
                    self.heard = time.monotonic()
                    self._take_lines(data, tasks)
                    if self.stream.buffered > self._unread_limit:
                        # Not a wait for it to read: that would not see it close.
                        self._ignored("peer.not_reading", unread=self.stream.buffered)
                        return
            except framing.StreamUnusable:
                self._refuse(None, RpcError(errors.INVALID_REQUEST, "No newline in sight: closing the connection"))
                return
            if last := self._lines.finish():
                self._take(last, tasks)

    def _take_lines(self, data: bytes, tasks: anyio.abc.TaskGroup) -> None:
        # A call of its own, so that no large line stays in a variable while the next one is waited for.
        for line in self._lines.feed(data):
            self._take(line, tasks)

    def _take(self, line: bytes | bytearray | framing.LineTooLong, tasks: anyio.abc.TaskGroup) -> None:
        if isinstance(line, framing.LineTooLong):
            self._refuse(None, RpcError(errors.INVALID_REQUEST, "The line is too long; send less in one message"))
            return
        if not line or line.isspace():
            return
        beginning = bytes(line[:NOISE_BYTES]) if self._on_noise is not None else b""  # decoding may empty the line
        try:
            message = framing.decode(line)
        except framing.NotJson as why:
            if not self._is_noise(None, beginning):
                self._refuse(None, RpcError(errors.PARSE_ERROR, f"Parse error: {why}"))
            return
        if self._is_noise(message, beginning):
            return
        if type(message) is not dict:
            what = "Batches are not part of ACP" if type(message) is list else "A message is a JSON object"
            self._refuse(None, RpcError(errors.INVALID_REQUEST, what))
        elif "method" not in message and ("result" in message or "error" in message):
            self._take_answer(message)
        elif fault := _envelope_fault(message):
            self._refuse(_readable_id(message), RpcError(errors.INVALID_REQUEST, fault))
        elif "id" in message:
            self._take_request(Call(message["id"], message["method"], message.get("params")), tasks)
        else:
            self._take_notification(message["method"], message.get("params"))

    def _is_noise(self, message: Any, beginning: bytes) -> bool:
        if self._on_noise is None or (type(message) is dict and ("jsonrpc" in message or "id" in message)):
            return False
        self.counts["message.noise"] += 1
        self._on_noise(beginning)
        return True

    def _take_answer(self, message: dict[str, Any]) -> None:
        request_id = message.get("id")
        waiting = self._pending.get(request_id) if type(request_id) is int else None
        late = self._late.pop(request_id, None) if type(request_id) is int else None
        if late is not None:
            self._hand_back(late, message)
        elif waiting is None or waiting.answer is not None:
            self._ignored("answer.unknown", id=_readable_id(message))
        else:
            waiting.answer = message
            if waiting.on_answer is not None:
                self._guarded("answer", waiting.on_answer)
            if not waiting.answered.done():
                waiting.answered.set_result(None)

    def _take_notification(self, method: str, raw: Any) -> None:
        if method == CANCEL_REQUEST:
            request_id = raw.get("requestId") if isinstance(raw, dict) else None
            if call := self._inbound.get((type(request_id), request_id)) if _is_id(request_id) else None:
                call.scope.cancel()
            return
        row, handler = self._notified.get(method, (None, None))
        if row is None or handler is None:
            self._ignored("notification.unknown", method=method)
            return
        try:
            params = row.params(raw)
        except RpcError as why:
            self._ignored("notification.malformed", method=method, reason=why.message)
        else:
            self._guarded(method, lambda: handler(params))

    def _take_request(self, call: Call, tasks: anyio.abc.TaskGroup) -> None:
        key = (type(call.id), call.id)
        if key in self._inbound:
            self._refuse(
                call.id, RpcError(errors.INVALID_REQUEST, "This id belongs to a request that is still running")
            )
            return
        try:
            if self.in_flight >= self._in_flight_limit:
                raise RpcError(errors.INVALID_REQUEST, "Too many requests are unanswered; send it again later")
            if self._received is not None:
                self._received(call)
        except RpcError as why:
            self._refuse(call.id, why)
            return
        except Exception as exc:  # the boundary: what a peer may send is no end of the connection
            self._event("handler.failed", method=call.method, error=exc)
            self._refuse(call.id, RpcError(errors.INTERNAL_ERROR, "Internal error"))
            return
        self._inbound[key] = call
        tasks.start_soon(self._answer, call, key)

    # ── answering ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _answer(self, call: Call, key: tuple[type, Id]) -> None:
        began = time.perf_counter()
        try:
            # Shielded, because jsonrpcserver gathers its handlers in tasks that anyio does not own: they are cancelled
            # by the scope that is opened inside them, or not at all.
            with anyio.CancelScope(shield=True):
                request = {"jsonrpc": "2.0", "id": call.id, "method": call.method}
                answer = await dispatch.dispatch(self._methods, request, call)
        finally:
            del self._inbound[key]
            for fn in call.at_end:
                self._guarded(call.method, fn)
        self._event("request.served", method=call.method, id=call.id, ms=_ms(began), code=_code(answer))
        if self._closed_to_writing(answer, call):
            return
        for fn in call.after_answer:
            self._guarded(call.method, fn)

    def _closed_to_writing(self, answer: Any, call: Call) -> bool:
        try:
            self._write(answer)
        except ConnectionClosed:
            return True
        except (TypeError, ValueError) as exc:
            self._event("handler.failed", method=call.method, error=exc)
            self._refuse(call.id, RpcError(errors.INTERNAL_ERROR, "Internal error"))
        return False

    def _bound(self, row: Request[Any, Any], handlers: object) -> Callable[[Call], Any]:
        handler = getattr(handlers, row.handler)

        async def run(call: Call, /) -> "Result":
            failure: RpcError = RpcError(errors.REQUEST_CANCELLED, "Request cancelled")
            with call.scope:
                try:
                    result = await handler(row.params(call.raw), call)
                    if call.if_cancelled is None or not call.scope.cancel_called:
                        return dispatch.success(result)
                except RpcError as why:
                    failure = why
                except Exception as exc:  # the boundary: whole to the log, short to the wire
                    self._event("handler.failed", method=row.name, error=exc)
                    failure = RpcError(errors.INTERNAL_ERROR, "Internal error")
            if call.scope.cancel_called and call.if_cancelled is not None:
                return dispatch.success(call.if_cancelled)
            return _error(failure)

        return run

    def _guarded(self, method: str, fn: Callable[[], object]) -> None:
        try:
            fn()
        except Exception as exc:  # the boundary: a callback's fault must not end the connection
            self._event("handler.failed", method=method, error=exc)

    def _refuse(self, request_id: Id, why: RpcError) -> None:
        self._ignored("message.refused", id=request_id, code=why.code, reason=why.message)
        self._write({"jsonrpc": "2.0", "id": request_id, "error": why.as_dict()})

    def _write(self, message: Any) -> None:
        self.stream.write(framing.encode(message))

    def _tell_cancelled(self, request_id: int) -> None:
        if not self._closed:
            with contextlib.suppress(ConnectionClosed):
                self._write({"jsonrpc": "2.0", "method": CANCEL_REQUEST, "params": {"requestId": request_id}})

    def _ignored(self, name: str, **fields: Any) -> None:
        self.counts[name] += 1
        self._event(name, **fields)

    def _event(self, name: str, **fields: Any) -> None:
        if self._on_event is not None:
            self._on_event(name, {key: _told(value) for key, value in fields.items()})


def _told(value: Any) -> Any:
    """What a peer has chosen may be as long as a line; who is told of it needs the beginning."""
    return f"{value[:TOLD_CHARACTERS]}…" if isinstance(value, str) and len(value) > TOLD_CHARACTERS else value


def _as_it_is(message: Any) -> Any:
    return message


def _is_id(value: Any) -> bool:
    return value is None or type(value) is int or type(value) is str


def _readable_id(message: dict[str, Any]) -> Id:
    value = message.get("id")
    return value if _is_id(value) else None


def _envelope_fault(message: dict[str, Any]) -> str | None:
    if message.get("jsonrpc") != "2.0":
        return 'The member "jsonrpc" must be "2.0"'
    if type(message.get("method")) is not str:
        return 'The member "method" must be a string'
    if not _is_id(message.get("id")):
        return "An id is a string, an integer or null"
    return None


def _result(answer: dict[str, Any]) -> Any:
    error = answer.get("error")
    if error is not None or "result" not in answer:
        raise _answered_error(error)
    return answer["result"]


def _answered_error(error: Any) -> RpcError:
    if not isinstance(error, dict):
        return RpcError(errors.INTERNAL_ERROR, "the peer answered with a malformed error")
    code = error.get("code")
    message = error.get("message")
    return RpcError(
        code if type(code) is int else errors.INTERNAL_ERROR,
        message if isinstance(message, str) else "the peer answered with an error",
        error.get("data"),
    )


def _error(why: RpcError) -> "Result":
    data = () if why.data is None else (why.data,)
    return dispatch.error(why.code, why.message, *data)


def _code(answer: Any) -> int | None:
    error = answer.get("error") if isinstance(answer, dict) else None
    return error["code"] if error else None


def _ms(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 3)
