"""Numbered streams of messages, for the client of a remote agent that reads each of them over HTTP.

What nobody has read yet waits; what was handed out is kept for a while, so that a reader that was cut off can say which
message it had last and go on behind it. A new reader takes the place of the one before.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

import anyio

from ars_gateway.limits import Limits

# What a message costs besides its text, and how much is handed out at a time.
ENTRY_BYTES = 200
BATCH_BYTES = 256 * 1024


class Forgotten(Exception):
    """What came after that message is not kept any more."""


@dataclass(slots=True)
class Entry:
    """A message; `sent_at` is when it was handed out last."""

    n: int
    data: bytes
    sent_at: float = 0.0

    @property
    def size(self) -> int:
        return len(self.data) + ENTRY_BYTES


class Reader:
    """Whoever reads a stream now. `close` must be called in the end."""

    def __init__(self, outlet: "Outlet", position: int) -> None:
        self.outlet = outlet
        self.position = position

    def ready(self) -> list[Entry] | None:
        """What comes next, in order, empty where it has not come yet; None where nothing more will."""
        if self.outlet.reader is not self:
            return None
        if found := self.outlet.after(self.position):
            self.position = found[-1].n
            self.outlet.outlets.moved()
            return found
        return None if self.outlet.outlets.over else []

    async def more(self) -> None:
        """Returns when there may be something ready again."""
        await self.outlet.changed.wait()

    def close(self) -> None:
        """It reads no more."""
        if self.outlet.reader is self:
            self.outlet.reader = None
            self.outlet.outlets.left()


class Outlet:
    """One stream. Messages are numbered from 1; `sent` is the last one that was handed out."""

    def __init__(self, outlets: "Outlets", number: int) -> None:
        self.outlets = outlets
        self.number = number
        self.sent = 0
        self.kept = 0
        self.reader: Reader | None = None
        self.changed = anyio.Event()
        self._last = 0
        self._entries: deque[Entry] = deque()

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits here."""
        return self.sent == self._last

    def put(self, data: bytes) -> None:
        """One more message."""
        self._last += 1
        entry = Entry(self._last, data)
        self._entries.append(entry)
        self.outlets.waits(entry.size)
        self.wake()

    def wake(self) -> None:
        """Whoever waits here looks again."""
        changed, self.changed = self.changed, anyio.Event()
        changed.set()

    def read(self, after: int | None) -> Reader:
        """A reader of what comes after the message `after`, of what nobody was handed where that is None, instead of
        the reader there was. Raises `Forgotten`, and `ValueError` for a number that no message has had."""
        if after is not None and after > self.sent:
            raise ValueError(after)
        if after is not None and after < self._last - len(self._entries):
            raise Forgotten
        self.reader = Reader(self, self.sent if after is None else after)
        self.wake()
        return self.reader

    def after(self, position: int) -> list[Entry]:
        """The messages behind that number, as many as are handed out at a time; they count as sent from here on."""
        now = self.outlets.clock()
        skipped = position - (self._last - len(self._entries))
        found: list[Entry] = []
        size = 0
        for entry in _from(self._entries, skipped):
            if found and size + entry.size > BATCH_BYTES:
                break
            found.append(entry)
            size += entry.size
            if entry.n > self.sent:
                self.sent = entry.n
                self.kept += entry.size
                self.outlets.sent(entry.size)
            entry.sent_at = now
        return found

    def clear(self) -> None:
        """Drops all there is."""
        self.outlets.waiting -= sum(entry.size for entry in self._entries if entry.n > self.sent)
        self.outlets.kept -= self.kept
        self.kept = 0
        self.sent = self._last
        self._entries.clear()

    def forget(self, before: float | None = None) -> bool:
        """Drops the oldest message that was handed out, where there is one, and not later than `before`. What a reader
        asked for again and has not got yet is kept."""
        if not self._entries:
            return False
        oldest = self._entries[0]
        needed = oldest.n > (self.sent if self.reader is None else self.reader.position)
        if needed or (before is not None and oldest.sent_at > before):
            return False
        self._entries.popleft()
        self.kept -= oldest.size
        self.outlets.kept -= oldest.size
        return True


class Outlets:
    """The streams of one connection, by name: `None` is that of the connection itself."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.limits = limits
        self.waiting = 0  # bytes that nobody was handed
        self.kept = 0  # bytes that somebody was
        self.over = False  # nothing more will come
        self.abandoned = anyio.Event()  # nor will anything be asked for
        self.used_at = self.moved_at = clock()
        self._moved = anyio.Event()
        self._numbers = 0
        self._by_name: dict[str | None, Outlet] = {}
        self.of(None)

    @property
    def full(self) -> bool:
        """Whether the agent had better wait."""
        return self.waiting > self.limits.remote_waiting_bytes

    @property
    def any_is_read(self) -> bool:
        """Whether a stream is open."""
        return any(outlet.reader is not None for outlet in self._by_name.values())

    def is_read(self, name: str | None) -> bool:
        """Whether the stream of that name is open."""
        found = self._by_name.get(name)
        return found is not None and found.reader is not None

    def of(self, name: str | None) -> Outlet | None:
        """The stream of that name, a new one where there was none; None where there are too many."""
        found = self._by_name.get(name)
        if found is None and (len(self._by_name) < self.limits.remote_streams or self._make_space()):
            self._numbers += 1
            found = self._by_name[name] = Outlet(self, self._numbers)
        return found

    async def room(self) -> None:
        """Returns when it is not full, or over."""
        while self.full and not self.over:
            await self._moved.wait()

    def used(self) -> None:
        """The editor has been here."""
        self.used_at = self.clock()

    def waits(self, size: int) -> None:
        """So many bytes more wait for somebody."""
        before = self.full
        self.waiting += size
        if self.full and not before:
            self.moved_at = self.clock()

    def sent(self, size: int) -> None:
        """Somebody was handed so many bytes for the first time."""
        self.waiting -= size
        self.kept += size

    def moved(self) -> None:
        """Somebody has taken something."""
        self.moved_at = self.clock()
        self._trim()
        self._tell()

    def left(self) -> None:
        """A reader is gone."""
        self.used_at = self.clock()
        self._tell()

    def age(self, now: float) -> None:
        """Drops what was handed out long ago."""
        for outlet in self._by_name.values():
            while outlet.forget(now - self.limits.remote_kept_seconds):
                pass

    def finish(self) -> None:
        """Nothing more will come: readers get what there is, then the end."""
        self.over = True
        self._tell()
        for outlet in self._by_name.values():
            outlet.wake()

    def abandon(self) -> None:
        """Nobody will get anything any more: readers end where they are."""
        for outlet in self._by_name.values():
            outlet.reader = None
            outlet.clear()
        self.finish()
        self.abandoned.set()

    def _trim(self) -> None:
        """Of what was handed out keeps what may be kept; the stream that keeps most gives first."""
        while self.kept > self.limits.remote_kept_bytes:
            givers = sorted(self._by_name.values(), key=lambda it: it.kept, reverse=True)
            if not any(outlet.forget() for outlet in givers):
                return

    def _tell(self) -> None:
        """Whoever waits for room, or for the end, looks again."""
        moved, self._moved = self._moved, anyio.Event()
        moved.set()

    def _make_space(self) -> bool:
        """Lets go of a stream that nobody reads and in which nothing waits."""
        for name, outlet in self._by_name.items():
            if name is not None and outlet.reader is None and outlet.is_empty:
                outlet.clear()
                del self._by_name[name]
                return True
        return False


def _from(entries: deque[Entry], skipped: int) -> Iterable[Entry]:
    """The entries without the first `skipped`, found from the nearer end: readers are mostly at the last ones."""
    wanted = len(entries) - max(0, skipped)
    if wanted > skipped:
        return islice(entries, max(0, skipped), None)
    backwards = reversed(entries)
    return [next(backwards) for _ in range(max(0, wanted))][::-1]
