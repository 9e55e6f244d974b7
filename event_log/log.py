"""Log: one append-only stream of entries, numbered from 1 without gaps; and Records, what a store puts under it."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Protocol

import anyio
from anyio.lowlevel import checkpoint

from event_log.encoding import Entry
from event_log.errors import LogClosed

__all__ = ["Entry", "Log", "Records"]

_TURN = 256  # entries that a follower who catches up may take before the event loop has its turn


class Log:
    """One stream of entries. A Store makes it; it belongs to the event loop's thread, and to one writer.

    `name` is its name in the store, `last` the number of its newest entry (0: none yet).
    """

    __slots__ = ("__weakref__", "_changed", "_records", "closed", "last", "name")

    def __init__(self, name: str, records: "Records", last: int) -> None:
        self.name = name
        self.last = last
        self.closed = False
        self._records = records
        self._changed: anyio.Event | None = None

    def append(self, entries: Sequence[Entry]) -> int:
        """Write the entries, all or none, and return the number of the first one.

        An entry is a dict of JSON values without a key "n"; the caller may change it afterwards. When this returns the
        entries have been written (what that means is the store's to say), with one write for all of them. No entries:
        nothing is written, and the number is that which the next one will get. Raises LogStorageFailed when the write
        failed, LogClosed, and TypeError or ValueError for an entry that is not JSON; the log is then as it was before.
        """
        self._check_open()
        first = self.last + 1
        if entries:
            self._records.write(first, entries)
            self.last += len(entries)
            self._wake()
        return first

    def read(self, after: int = 0) -> Iterator[tuple[int, Entry]]:
        """The entries with numbers above `after`, in order, up to the one that is the last now.

        Each is a copy of its own. Raises LogClosed at once, LogDamaged when it comes to the damage, LogStorageFailed.
        """
        self._check_open()
        return self._records.read(max(after, 0), self.last)

    async def follow(self, after: int = 0) -> AsyncIterator[tuple[int, Entry]]:
        """The entries with numbers above `after`, then each new one; ends after the last one when the log is closed.

        Any number of readers may follow at once, each at its own pace. Raises as `read` does.
        """
        self._check_open()
        after = max(after, 0)
        while True:
            while after < self.last:
                for number, entry in self._records.read(after, self.last):
                    after = number
                    yield number, entry
                    if number % _TURN == 0:
                        await checkpoint()
            if self.closed:
                return
            if self._changed is None:
                self._changed = anyio.Event()
            await self._changed.wait()

    def rest(self) -> None:
        """Release what the log holds, a descriptor say, until the next append takes it again. Followers go on."""
        self._records.close()

    def close(self) -> None:
        """Release what the log holds and let its followers end. It can be opened again; closing twice does nothing."""
        self.closed = True
        self._records.close()
        self._wake()

    def discard(self) -> None:
        """Close the log with nothing left to read: for a store that deletes it."""
        self.last = 0
        self.close()

    def _check_open(self) -> None:
        if self.closed:
            raise LogClosed(self.name)

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None


class Records(Protocol):
    """What a store puts under a Log. The Log counts and wakes, and calls with numbers that fit."""

    def write(self, first: int, entries: Sequence[Entry]) -> None:
        """Write the entries, numbered from `first`, all or none. Raises as Log.append."""

    def read(self, after: int, last: int) -> Iterator[tuple[int, Entry]]:
        """The entries above `after`, up to and including `last`. Raises as Log.read."""

    def close(self) -> None:
        """Release what is held; reading goes on working, and a write takes it again."""
