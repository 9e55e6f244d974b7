"""Log: one append-only stream of entries, numbered from 1 without gaps; and Records, what a store puts under it."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Protocol

import anyio
from anyio.lowlevel import checkpoint

from event_log.encoding import Entry
from event_log.errors import LogClosed, LogError, LogLost, LogNotHeld

__all__ = ["Entry", "Log", "Records"]

_TURN = 256  # entries that a follower who catches up may take before the event loop has its turn


class Log:
    """One stream of entries. A Store makes it; it belongs to the event loop's thread.

    `name` is its name in the store, `last` the number of its newest entry (0: none yet). `fence` is the number under
    which it is ours to write, higher with each claim, whoever made it; 0: it is open to be
    read and followed only. `records` is for its store.
    """

    __slots__ = ("__weakref__", "_changed", "closed", "fence", "last", "lost", "name", "records")

    def __init__(self, name: str, records: "Records", last: int, fence: int = 0) -> None:
        self.name = name
        self.last = last
        self.fence = fence
        self.closed = False
        self.lost = False
        self.records = records
        self._changed: anyio.Event | None = None

    def append(self, entries: Sequence[Entry]) -> int:
        """Write the entries, all or none, and return the number of the first one.

        An entry is a dict of JSON values without a key "n"; the caller may change it afterwards. When this returns the
        entries have been written (what that means is the store's to say), with one write for all of them. No entries:
        nothing is written, and the number is that which the next one will get. Raises LogStorageFailed when the write
        failed, LogNotHeld, LogClosed, LogLost (which closes the log), LogDamaged, and TypeError or ValueError for an
        entry that is not JSON; the log is then as it was before.
        """
        if not self.fence:
            raise self._refusal()
        first = self.last + 1
        if entries:
            try:
                self.records.write(first, entries)
            except LogLost:
                self.lose()
                raise
            self.last += len(entries)
            self._wake()
        return first

    def read(self, after: int = 0) -> Iterator[tuple[int, Entry]]:
        """The entries with numbers above `after`, in order, up to the one that is the last now.

        Each is a copy of its own. Raises LogClosed at once, LogDamaged when it comes to the damage, LogStorageFailed.
        """
        self._check_open()
        return self.records.read(max(after, 0), self.last)

    async def follow(self, after: int = 0) -> AsyncIterator[tuple[int, Entry]]:
        """The entries with numbers above `after`, then each new one; ends after the last one when the log is closed.

        Any number of readers may follow at once, each at its own pace. What another process writes is seen when the
        store opens or claims the log again. Raises as `read` does.
        """
        self._check_open()
        after = max(after, 0)
        while True:
            while after < self.last:
                for number, entry in self.records.read(after, self.last):
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
        """Release what the log holds, a descriptor say, until the next append takes it again. It stays ours to write,
        and followers go on."""
        self.records.close()

    def close(self) -> None:
        """Give the log up and let its followers end. It can be opened again; closing twice does nothing."""
        if self.fence:
            self.fence = 0
            self.records.release()
        self._end()

    def lose(self) -> None:
        """Close the log that another owner has: for a store that finds out."""
        self.fence = 0
        self.lost = True
        self._end()

    def discard(self) -> None:
        """Close the log with nothing left to read: for a store that deletes it."""
        self.fence = 0
        self.last = 0
        self._end()

    def stands(self, last: int, fence: int) -> None:
        """Take `last` and `fence` as the store has found them anew."""
        self.last, self.fence = last, fence
        self._wake()

    def _end(self) -> None:
        self.closed = True
        self.records.close()
        self._wake()

    def _check_open(self) -> None:
        if self.closed:
            raise self._refusal()

    def _refusal(self) -> LogError:
        if self.lost:
            return LogLost(self.name)
        return LogClosed(self.name) if self.closed else LogNotHeld(self.name)

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

    def release(self) -> None:
        """Let others claim the log. Nothing is raised: who cannot be told learns it from the end of this process."""
