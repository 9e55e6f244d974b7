"""Sockets that have not said hello yet: few, and not for long."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from ars_gateway.limits import Limits

EXPIRED = "handshake timeout"
CROWDED = "too many connections wait to sign in"


@dataclass(eq=False, slots=True)
class Ticket:
    """One waiting socket; `leave` is called with why when its time is over."""

    address: str
    since: float
    leave: Callable[[str], None]
    timer: asyncio.TimerHandle | None = field(default=None)


class Lobby:
    """All waiting sockets. When they are too many, the oldest one of the address that has most of them goes."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._by_address: dict[str, OrderedDict[Ticket, None]] = {}
        self._count = 0
        self._trimming: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return self._count

    def enter(self, address: str, leave: Callable[[str], None]) -> Ticket:
        """A socket has been accepted."""
        ticket = Ticket(address, self._clock(), leave)
        loop = asyncio.get_running_loop()
        ticket.timer = loop.call_later(self._limits.handshake_seconds, self._out, ticket, EXPIRED)
        self._by_address.setdefault(address, OrderedDict())[ticket] = None
        self._count += 1
        if self._count > self._limits.waiting_most:
            self._out(self._victim(), CROWDED)
        if self._count > self._limits.waiting_sockets and self._trimming is None:
            self._trimming = loop.call_later(self._limits.waiting_grace, self._trim)
        return ticket

    def left(self, ticket: Ticket) -> None:
        """The socket has said hello, or is gone."""
        mine = self._by_address.get(ticket.address)
        if mine is None or ticket not in mine:
            return
        del mine[ticket]
        if not mine:
            del self._by_address[ticket.address]
        self._count -= 1
        if ticket.timer is not None:
            ticket.timer.cancel()
            ticket.timer = None

    def close(self) -> None:
        """Everybody out: the gateway ends."""
        for tickets in list(self._by_address.values()):
            for ticket in list(tickets):
                self._out(ticket, EXPIRED)
        if self._trimming is not None:
            self._trimming.cancel()

    def _out(self, ticket: Ticket, why: str) -> None:
        self.left(ticket)
        ticket.leave(why)

    def _victim(self) -> Ticket:
        crowd = max(self._by_address.values(), key=lambda tickets: len(tickets))
        return next(iter(crowd))

    def _trim(self) -> None:
        """Of those that had their time of grace, as many as are too many."""
        self._trimming = None
        old = self._clock() - self._limits.waiting_grace
        patient = sum(ticket.since <= old for tickets in self._by_address.values() for ticket in tickets)
        for _ in range(patient - self._limits.waiting_sockets):
            self._out(self._victim(), CROWDED)
        if self._count > self._limits.waiting_sockets:
            self._trimming = asyncio.get_running_loop().call_later(self._limits.waiting_grace / 4, self._trim)
