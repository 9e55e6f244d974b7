"""One connection from its first frame to its last: handshake, then requests in and answers and events out."""

import enum
import sqlite3
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

import anyio

from ars_gateway.access.origins import Peer
from ars_gateway.access.scopes import GUIDE_NAMES
from ars_gateway.call import Caller
from ars_gateway.errors import BAD_DATA, NORMAL, POLICY, MethodError, Refused, invalid, unavailable
from ars_gateway.protocol.frames import Event, NotJson, answer, challenge, fault, parse, refusal, reply_id, too_deep
from ars_gateway.sockets import connect, dispatch
from ars_gateway.sockets.hub import Marks

if TYPE_CHECKING:
    from ars_gateway.gateway import Gateway


class Wire(Protocol):
    """The socket below: whole messages, and how full its way out is."""

    behind: bool  # droppable events are better not sent now
    full: bool  # nothing more may be queued
    queued_events: int

    def send(self, message: bytes) -> None: ...
    def send_event(self, message: bytes) -> None: ...
    def close(self, code: int, reason: str) -> None: ...
    def opened(self) -> None: ...
    def stalled(self, now: float) -> bool: ...


class State(enum.Enum):
    """Before the first frame, while it is being checked, after hello, after the end."""

    WAITING = enum.auto()
    CONNECTING = enum.auto()
    OPEN = enum.auto()
    CLOSED = enum.auto()


class Connection:
    """Made when a socket is upgraded; `received` and `lost` are called by the socket."""

    binary = True
    __slots__ = (
        "_early",
        "_early_size",
        "_names",
        "caller",
        "calls",
        "gateway",
        "id",
        "joined_at",
        "marks",
        "nonce",
        "peer",
        "seq",
        "socket",
        "state",
        "unauthorised",
    )

    def __init__(self, gateway: "Gateway", socket: Wire, peer: Peer) -> None:
        self.gateway = gateway
        self.socket = socket
        self.peer = peer
        self.id = str(uuid4())
        self.nonce = str(uuid4())
        self.state = State.WAITING
        self.caller: Caller | None = None
        self.seq = 0
        self.marks: Marks
        self.joined_at = 0  # the hub's number when live events began
        self.calls: set[anyio.CancelScope] = set()
        self.unauthorised: list[float] = []
        self._names: dict[str, bytes] = {}
        self._early: list[bytes] = []
        self._early_size = 0

    def begin(self) -> None:
        """The socket is open: the challenge is its first frame."""
        self.socket.send(challenge(self.nonce, self.gateway.now_ms()))

    # ── in ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def received(self, data: bytes | bytearray) -> None:
        """One whole message."""
        if self.state is State.CLOSED:
            return
        if self.state is State.CONNECTING:
            self._wait_for_hello(data)
            return
        try:
            frame = parse(data)
        except NotJson as error:
            if not error.utf8:
                self.close(BAD_DATA, "invalid UTF-8")
            elif self.state is State.WAITING:
                self.close(NORMAL, "")
            return
        deep = too_deep(frame, data, self.gateway.limits.depth)
        why = f"nested deeper than {self.gateway.limits.depth}" if deep else fault(frame)
        if self.state is State.WAITING:
            self._first(frame, why)
        elif why:
            self.refuse(reply_id(frame), invalid(f"invalid request frame: {why}"))
        else:
            dispatch.request(self, frame)

    def _first(self, frame: Any, why: str) -> None:
        if why:
            self.close(POLICY, "invalid request frame")
            return
        self.state = State.CONNECTING
        try:
            later = connect.begin(self, frame)
        except Refused as refused:
            self.refused(frame["id"], refused)
            return
        except sqlite3.Error as error:
            self._not_written(frame["id"], error)
            return
        if later is not None:
            self.gateway.spawn(self._finish, frame["id"], later)

    async def _finish(self, request_id: str, later: connect.Later) -> None:
        try:
            await later()
        except Refused as refused:
            self.refused(request_id, refused)
        except sqlite3.Error as error:
            self._not_written(request_id, error)

    def _not_written(self, request_id: str, error: sqlite3.Error) -> None:
        """The disk refuses what the handshake has to keep: this client hears so, and nobody else suffers."""
        self.gateway.sampled.warning("gateway.device_not_written", why=str(error), conn=self.id)
        why = unavailable("the gateway cannot write down who you are")
        why.retryable = True
        self.refused(request_id, Refused(why))

    def refused(self, request_id: str, refused: Refused) -> None:
        """The handshake has failed: the error, then the end."""
        if self.state is State.CLOSED:
            return
        if refused.error is not None:
            self.refuse(request_id, refused.error)
        self.close(refused.close_code, refused.reason)

    def _wait_for_hello(self, data: bytes | bytearray) -> None:
        self._early_size += len(data)
        if self._early_size > self.gateway.limits.hello_bytes:
            self.close(POLICY, "too much before hello")
        else:
            self._early.append(bytes(data))

    def welcome(self, caller: Caller) -> None:
        """The handshake has succeeded: `opened` sends hello. What the client sent meanwhile is looked at after it."""
        self.caller = caller
        self.state = State.OPEN
        self.marks = Marks(self.gateway.hub.number, self.gateway.limits.kept_seqs)
        self.joined_at = self.gateway.hub.number
        self._names = {name: GUIDE_NAMES[name].encode() for name in GUIDE_NAMES if GUIDE_NAMES[name] in caller.caps}
        self.socket.opened()

    def take_early(self) -> None:
        """Requests that came before hello was sent."""
        early, self._early = self._early, []
        for data in early:
            self.received(data)

    def drained(self) -> None:
        """Nothing waits on the way out: nobody here waits for that."""

    # ── out ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    def answer(self, request_id: Any, payload: Any) -> None:
        """A res frame that says yes; nothing when the connection is over."""
        if self.state is not State.CLOSED:
            self.socket.send(answer(request_id, payload))

    def refuse(self, request_id: Any, error: MethodError, payload: Any = None) -> None:
        """A res frame that says no; nothing when the connection is over."""
        if self.state is not State.CLOSED:
            self.socket.send(refusal(request_id, error, payload))

    def deliver(self, event: Event) -> None:
        """An event, where this caller may see it and its way out is not full."""
        caller = self.caller
        if caller is None or (event.scope is not None and event.scope not in caller.scopes):
            return
        if event.only is not None and not event.only(caller):
            return
        if event.droppable and self.socket.behind:
            return
        if self.socket.full:
            self.gateway.hub.slow(self)
            return
        self.seq += 1
        self.marks.add(event.number)
        self.socket.send_event(event.frame(self.seq, self._names.get(event.name)))

    def replay(self, events: list[Event]) -> None:
        """Events that were missed: as answers, they do not count against a slow consumer, who has asked for them."""
        for event in events:
            self.seq += 1
            self.marks.add(event.number)
            self.socket.send(event.frame(self.seq, self._names.get(event.name)))

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def close(self, code: int, reason: str) -> None:
        """The close frame, reason cut to what one holds; nothing is sent after it."""
        if self.state is not State.CLOSED:
            self.lost()
            self.socket.close(code, reason.encode("utf-8")[:120].decode("utf-8", "ignore"))

    def lost(self) -> None:
        """The connection is over, whoever ended it: its calls are cancelled, its place is free."""
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        self._early.clear()
        for scope in self.calls:
            scope.cancel()
        self.gateway.left(self)
