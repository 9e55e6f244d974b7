"""The hub: who is connected, what is sent to all of them, and what a client that was away can still get.

Every broadcast is guarded by its event's scope, encoded once, and numbered per connection without gaps. The latest
events are kept, of all clients together; a connection remembers which of them its own numbers stood for, so that
`resume` can replay what came after one of them.
"""

from array import array
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ars_gateway.access.scopes import EVENTS
from ars_gateway.call import Caller
from ars_gateway.errors import POLICY, invalid
from ars_gateway.limits import Limits
from ars_gateway.observation.log import Log
from ars_gateway.protocol.frames import Event

if TYPE_CHECKING:
    from ars_gateway.sockets.connection import Connection

# States of the moment, of which the next one replaces the last: not worth replaying.
MOMENTARY = {"tick", "presence", "health"}


class Marks:
    """Which kept event each number of one connection stood for. The oldest are forgotten."""

    __slots__ = ("_first", "_most", "_numbers")

    def __init__(self, number: int, most: int) -> None:
        self._numbers = array("Q", (number,))
        self._first = 0  # the seq that the first entry stands for; seq 0 is the time before any event
        self._most = most

    def add(self, number: int) -> None:
        """The connection's next seq stands for the event with this number, or for one that is not kept after it."""
        self._numbers.append(number)
        if len(self._numbers) > 2 * self._most:
            self._first += len(self._numbers) - self._most
            del self._numbers[: -self._most]

    def number_of(self, seq: int) -> int | None:
        """The event from which on everything came after `seq`; None where that is forgotten or has never been.

        Mostly the one that `seq` stood for. What a `resume` has replayed came after later ones.
        """
        index = seq - self._first
        if not 0 <= index < len(self._numbers):
            return None
        number = self._numbers[index]
        after = min(self._numbers[index + 1 :], default=number)
        return number if after >= number else after - 1


@dataclass(frozen=True)
class Past:
    """What is remembered of a connection that has gone."""

    principal: str
    device_id: str | None
    marks: Marks
    until: float


class Hub:
    """All connections after their hello. Times are seconds of `clock`."""

    def __init__(self, limits: Limits, log: Log, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._log = log
        self._clock = clock
        self._kept: deque[Event] = deque()
        self._kept_size = 0
        self._forgotten = 0  # the number of the last event that was kept and is no more
        self._past: OrderedDict[str, Past] = OrderedDict()
        self.number = 0  # of the last kept event
        self.connections: dict[str, Connection] = {}

    def broadcast(
        self,
        event: str,
        payload: Any,
        *,
        scope: str | None = None,
        droppable: bool = False,
        state_version: dict[str, int] | None = None,
        only: Callable[[Caller], bool] | None = None,
    ) -> None:
        """Sends `event` to every connection whose scopes contain what the event's row in `EVENTS` asks for.

        `scope` asks for another one instead; `only` narrows further. A client that is behind loses `droppable` events;
        at another one it is closed as a slow consumer. An event without a row is a `KeyError`: it reaches nobody.
        Nothing is made of it, and nothing kept, where nobody is there and nobody can come back.
        """
        if not self.connections and not self._past:
            return
        made = Event(event, payload, EVENTS[event] if scope is None else scope, droppable, state_version, only)
        if event not in MOMENTARY:
            self._keep(made)
        made.number = self.number
        for connection in list(self.connections.values()):
            connection.deliver(made)

    def _keep(self, event: Event) -> None:
        self.number += 1
        self._kept.append(event)
        self._kept_size += event.size
        while self._kept_size > self._limits.kept_bytes or len(self._kept) > self._limits.kept_events:
            oldest = self._kept.popleft()
            self._kept_size -= oldest.size
            self._forgotten = oldest.number

    # ── coming and going ──────────────────────────────────────────────────────────────────────────────────────────────

    def joined(self, connection: "Connection") -> None:
        """From here on the connection gets events."""
        self.connections[connection.id] = connection

    def left(self, connection: "Connection") -> None:
        """The connection gets nothing more; what it has seen is remembered for a while."""
        if self.connections.pop(connection.id, None) is None or connection.caller is None:
            return
        caller = connection.caller
        until = self._clock() + self._limits.kept_seconds
        self._past[connection.id] = Past(caller.principal, caller.device_id, connection.marks, until)
        while len(self._past) > self._limits.kept_connections:
            self._past.popitem(last=False)

    def close_all(self, code: int, reason: str, only: Callable[["Connection"], bool] | None = None) -> int:
        """Closes every connection, or those that `only` picks; how many."""
        chosen = [one for one in self.connections.values() if only is None or only(one)]
        for connection in chosen:
            connection.close(code, reason)
        return len(chosen)

    def slow(self, connection: "Connection") -> None:
        """The connection cannot keep up: what waits for it is given up, and it is closed."""
        self._log.warning("gateway.slow_consumer", conn=connection.id, queued=connection.socket.queued_events)
        connection.close(POLICY, "slow consumer")

    def sweep(self) -> None:
        """Closes connections that take nothing, and forgets those that have gone too long ago. Called now and then."""
        now = self._clock()
        for connection in list(self.connections.values()):
            if connection.socket.stalled(now):
                self.slow(connection)
        while self._past and next(iter(self._past.values())).until < now:
            self._past.popitem(last=False)

    # ── resume ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def missed(self, caller: Caller, conn_id: str, last_seq: int, up_to: int) -> list[Event]:
        """The kept events after number `last_seq` of a former connection and up to event `up_to` that `caller` may see.

        Raises `MethodError` with details `{resyncRequired: true}` where they are not known any more, or were never the
        caller's: a connection of somebody else is as unknown as one that never was.
        """
        number = self._former(caller, conn_id).number_of(last_seq)
        if number is None or number < self._forgotten:
            raise invalid("cannot resume: what was missed is no longer kept", {"resyncRequired": True})
        return [event for event in self._after(number) if event.number <= up_to and visible(event, caller)]

    def _former(self, caller: Caller, conn_id: str) -> Marks:
        open_still = self.connections.get(conn_id)
        if open_still is not None and open_still.caller is not None and _same(open_still.caller, caller):
            # The client knows before we do that its socket is gone.
            open_still.close(POLICY, "resumed elsewhere")
        past = self._past.get(conn_id)
        if past is None or (past.principal, past.device_id) != (caller.principal, caller.device_id):
            raise invalid("cannot resume: unknown connection", {"resyncRequired": True})
        return past.marks

    def _after(self, number: int) -> Iterator[Event]:
        """The kept events after `number`: a slice from the end, as what was missed is mostly little."""
        for index in range(max(0, len(self._kept) - (self.number - number)), len(self._kept)):
            yield self._kept[index]


def visible(event: Event, caller: Caller) -> bool:
    """Whether this caller may see this event."""
    return caller.has(event.scope) and (event.only is None or event.only(caller))


def _same(one: Caller, other: Caller) -> bool:
    return one.conn_id != other.conn_id and (one.principal, one.device_id) == (other.principal, other.device_id)
