"""A WebSocket as an asyncio protocol: bytes in, whole messages out, over websockets' sans-I/O `ServerProtocol`.

There is no task and no queue object per socket. What is sent in one turn of the event loop leaves in one write; what
the peer does not take waits here, counted, and when answers wait too, nothing more is read. Compression is not
negotiated: no extension is offered.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from ars_gateway.access import origins
from ars_gateway.errors import NORMAL, POLICY
from ars_gateway.protocol.frames import text_frame
from ars_gateway.sockets.connection import Connection
from ars_gateway.sockets.lobby import EXPIRED, Ticket

if TYPE_CHECKING:
    from ars_gateway.gateway import Gateway

BATCH = 64 * 1024  # that is handed to the transport at a time
LARGE = 16 * 1024  # that waits for no other: a large event to a thousand clients is not there a thousand times
ANSWERS = 1024 * 1024  # that may wait before nothing more is read
PING_SECONDS = 10.0


class Above(Protocol):
    """What a socket's messages mean: a `Connection`, or one to a remote agent."""

    binary: bool  # whether binary messages are taken too

    def begin(self) -> None: ...
    def received(self, data: bytes | bytearray) -> None: ...
    def drained(self) -> None: ...
    def close(self, code: int, reason: str) -> None: ...
    def lost(self) -> None: ...


class Socket(asyncio.Protocol):
    """One upgraded socket and its `connection`. `accept` answers the upgrade request; then asyncio calls the rest."""

    __slots__ = (
        "_aborting",
        "_batch",
        "_batch_size",
        "_closing",
        "_everyone",
        "_gateway",
        "_held",
        "_message",
        "_moved",
        "_paused",
        "_pings",
        "_queue",
        "_queued_answers",
        "_queued_size",
        "_reading",
        "_ticket",
        "_transport",
        "_unread",
        "_waiting",
        "_wire",
        "behind",
        "connection",
        "full",
        "queued_events",
    )

    def __init__(
        self,
        gateway: "Gateway",
        peer: origins.Peer,
        ticket: Ticket,
        everyone: set[Any],
        above: "Callable[[Gateway, Socket, origins.Peer], Above]" = Connection,
    ) -> None:
        self._gateway = gateway
        self._everyone = everyone  # who is told that the server stops
        everyone.add(self)
        self._wire = ServerProtocol(state=OPEN, max_size=gateway.limits.hello_bytes)
        self._transport: asyncio.Transport
        self._ticket: Ticket | None = ticket
        self._unread: deque[Any] = deque()
        self._message: bytearray | None = None  # of a fragmented message, what has come
        self._batch: list[bytes] = []  # what this turn of the loop has sent
        self._batch_size = 0
        self._queue: deque[tuple[bytes, bool]] | None = None  # what waits while the transport is full; True: an event
        self._queued_size = 0  # of events
        self._queued_answers = 0  # bytes of everything else
        self.queued_events = 0
        self._paused = False
        self._reading = True
        self._held = False
        self._closing = False
        self._aborting: asyncio.TimerHandle | None = None
        self._moved = 0.0  # when the peer was last seen to take something
        self._waiting = 0  # how much waited then
        self._pings: list[float] | None = None
        self.behind = False
        self.full = False
        self.connection: Above = above(gateway, self, peer)
        ticket.leave = self._leave

    def accept(
        self, transport: asyncio.Transport, path: str, headers: origins.Headers, told: Mapping[str, str] | None = None
    ) -> bool:
        """Answers the upgrade, with the headers `told` too; whether it was one that can be answered with 101."""
        fields = Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers])
        response = self._wire.accept(Request(path, fields))
        response.headers.update(told or {})
        transport.write(response.serialize())
        if response.status_code != 101:
            self._lost()
            transport.close()
            return False
        self._transport = transport
        transport.set_write_buffer_limits(high=BATCH, low=BATCH // 4)
        self.connection.begin()
        return True

    # ── what asyncio calls ────────────────────────────────────────────────────────────────────────────────────────────

    def data_received(self, data: bytes) -> None:
        wire = self._wire
        wire.receive_data(data)
        if self._closing:
            wire.events_received()  # nobody reads it any more
        else:
            self._unread += wire.events_received()
        # What was said counts, though the end may have come right behind it.
        self._read()
        self._flush_wire()

    def eof_received(self) -> bool:
        self._wire.receive_eof()
        self._wire.data_to_send()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost()

    def pause_writing(self) -> None:
        self._paused = True
        self._moved = self._gateway.clock()
        self._waiting = self._transport.get_write_buffer_size()
        if self._queue is None:
            self._queue = deque()

    def resume_writing(self) -> None:
        self._paused = False
        self._moved = self._gateway.clock()
        self._drain()

    # ── in ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _read(self) -> None:
        """Takes what has come, until answers to it wait: the rest is taken when they have left."""
        while self._unread and self._reading and not self._held and not self._closing:
            frame = self._unread.popleft()
            if isinstance(frame, Frame):
                self._received(frame)

    def _received(self, frame: Frame) -> None:
        kind = frame.opcode
        if kind is Opcode.TEXT or (kind is Opcode.BINARY and self.connection.binary):
            if frame.fin:
                self.connection.received(bytes(frame.data))
            else:
                self._message = bytearray(frame.data)
        elif kind is Opcode.CONT and self._message is not None:
            self._message += frame.data
            if frame.fin:
                whole, self._message = self._message, None
                self.connection.received(whole)
        elif kind is Opcode.PING:
            self._pinged()

    def _pinged(self) -> None:
        """The pong is already written; a flood of pings ends the connection."""
        now, most = self._gateway.clock(), self._gateway.limits.pings
        times = self._pings = self._pings or []
        times.append(now)
        del times[:-most]
        if len(times) == most and now - times[0] < PING_SECONDS:
            self.connection.close(POLICY, "too many pings")

    def _flush_wire(self) -> None:
        """What the protocol itself has to say: pongs, close frames, the end."""
        for data in self._wire.data_to_send():
            if data:
                self._put(data, False)
            else:
                self.connection.lost()
                self._end()

    # ── out ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, message: bytes) -> None:
        """A message that nobody may lose: an answer."""
        self._put(text_frame(message), False)

    def send_event(self, message: bytes) -> None:
        """An event. The caller has looked at `full`."""
        self._put(text_frame(message), True)

    def _put(self, data: bytes, event: bool) -> None:
        if self._paused:
            self._wait(data, event)
            return
        if not self._batch:
            asyncio.get_running_loop().call_soon(self._flush)
        self._batch.append(data)
        self._batch_size += len(data)
        if self._batch_size >= LARGE:
            self._flush()

    def _flush(self) -> None:
        batch = self._batch
        if batch:
            self._batch = []
            self._batch_size = 0
            self._transport.write(b"".join(batch) if len(batch) > 1 else batch[0])

    def _wait(self, data: bytes, event: bool) -> None:
        """Puts data behind what the transport has not got rid of."""
        assert self._queue is not None, "made when writing was paused"
        self._queue.append((data, event))
        if event:
            self.queued_events += 1
            self._queued_size += len(data)
            self._weigh()
        else:
            self._queued_answers += len(data)
            if self._queued_answers > ANSWERS and self._reading:
                self._reading = False
                self._transport.pause_reading()

    def _drain(self) -> None:
        while self._queue and not self._paused:
            batch: list[bytes] = []
            size = 0
            while self._queue and size < BATCH:
                data, event = self._queue.popleft()
                batch.append(data)
                size += len(data)
                if event:
                    self.queued_events -= 1
                    self._queued_size -= len(data)
                else:
                    self._queued_answers -= len(data)
            self._transport.write(b"".join(batch))
        self._weigh()
        if not self._queue and not self._paused:
            self._queue = None
            if not self._reading:
                self._reading = True
                self._go_on()
            if self._closing:
                self._transport.close()
            else:
                self.connection.drained()

    def hold(self, held: bool) -> None:
        """Whether nothing more is read, as what was read is not taken."""
        self._held = held
        if held:
            self._transport.pause_reading()
        else:
            self._go_on()

    def _go_on(self) -> None:
        if self._reading and not self._held:
            self._transport.resume_reading()
            self._read()

    @property
    def queued(self) -> int:
        """Bytes of answers that wait here."""
        return self._queued_answers

    def _weigh(self) -> None:
        limits = self._gateway.limits
        self.full = self._queued_size > limits.queued_bytes or self.queued_events >= limits.queued_frames
        self.behind = self.full or (
            self._queued_size * 4 > limits.queued_bytes or self.queued_events * 4 > limits.queued_frames
        )

    def stalled(self, now: float) -> bool:
        """Whether something has waited for the peer for too long without any of it being taken."""
        if not self._paused:
            return False
        waiting = self._transport.get_write_buffer_size()
        if waiting != self._waiting:
            self._waiting, self._moved = waiting, now
        return now - self._moved > self._gateway.limits.stalled_seconds

    # ── hello and the end ─────────────────────────────────────────────────────────────────────────────────────────────

    def opened(self, most: int | None = None) -> None:
        """Hello has been earned: the socket leaves the lobby, larger messages are read."""
        self._wire.max_message_size = most or self._gateway.limits.frame_bytes
        self._leave_lobby()

    def close(self, code: int, reason: str) -> None:
        """Sends the close frame behind what the transport has; what still waits here is given up."""
        if self._closing or self._transport.is_closing():
            return
        if self._queue:
            self._queue.clear()
            self._queued_size = self._queued_answers = self.queued_events = 0
        if self._wire.state is OPEN:
            self._wire.send_close(code, reason)
            self._flush_wire()
        self._closing = True
        self._leave_lobby()
        seconds = self._gateway.limits.close_seconds
        self._aborting = asyncio.get_running_loop().call_later(seconds, self._transport.abort)

    def _end(self) -> None:
        """The closing handshake is done: the transport closes when what waits is written."""
        self._closing = True
        self._flush()
        if not self._queue:
            self._transport.close()
        if self._aborting is None:
            seconds = self._gateway.limits.close_seconds
            self._aborting = asyncio.get_running_loop().call_later(seconds, self._transport.abort)

    def _leave(self, why: str) -> None:
        """The lobby wants the place."""
        self._ticket = None
        self.connection.close(NORMAL if why == EXPIRED else POLICY, "" if why == EXPIRED else why)

    def _leave_lobby(self) -> None:
        if self._ticket is not None:
            self._gateway.lobby.left(self._ticket)
            self._ticket = None

    def _lost(self) -> None:
        self._closing = True
        self._everyone.discard(self)
        self._leave_lobby()
        self.connection.lost()
        self._batch.clear()
        self._unread.clear()
        self._queue = None
        if self._aborting is not None:
            self._aborting.cancel()
            self._aborting = None

    def shutdown(self) -> None:
        """What uvicorn calls on every connection when it stops; the gateway has said why before."""
        self.connection.close(NORMAL, "")
