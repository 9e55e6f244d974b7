"""The store that forgets: logs as lists of lines in this process. For tests, and for sessions that want no trace."""

import time
from collections.abc import Collection, Iterator, Sequence
from weakref import WeakValueDictionary

from event_log.encoding import Entry, decode, encode
from event_log.errors import LogClosed, LogExists, LogNotFound, StoreInvalid
from event_log.log import Log
from event_log.stores import check_name


class MemoryStore:
    """A Store. Written means: in this object. Each one is a store of its own, so nobody else ever holds a log."""

    directory = None

    def __init__(self, rest: str = "", takes_over: Collection[str] = ()) -> None:
        if rest:
            raise StoreInvalid("the memory store has no place: memory: is all of its URL")
        self._records: dict[str, MemoryRecords] = {}
        self._open: WeakValueDictionary[str, Log] = WeakValueDictionary()

    async def run(self) -> None:
        pass

    async def create(self, name: str) -> Log:
        check_name(name)
        if name in self._records:
            raise LogExists(name)
        self._records[name] = self._new_records()
        log = await self.open(name)
        await self.claim(log)
        return log

    async def open(self, name: str) -> Log:
        check_name(name)
        records = self._records.get(name)
        if records is None:
            raise LogNotFound(name)
        log = self._open.get(name)
        if log is None or log.closed:
            log = self._open[name] = Log(name, records, len(records.lines))
        return log

    async def claim(self, log: Log) -> None:
        if log.closed:
            raise LogClosed(log.name)
        if not log.fence:
            records = self._records[log.name]
            records.fence += 1
            log.stands(len(records.lines), records.fence)

    def confirmed(self, name: str) -> int:
        log = self._open.get(name)
        return log.last if log and log.fence else 0

    async def names(self) -> list[str]:
        return list(self._records)

    async def recent(self) -> list[tuple[int, str]]:
        return sorted(((records.written_at, name) for name, records in self._records.items()), reverse=True)

    async def delete(self, name: str) -> None:
        check_name(name)
        if self._records.pop(name, None) is None:
            raise LogNotFound(name)
        log = self._open.pop(name, None)
        if log is not None:
            log.discard()

    async def close(self) -> None:
        for log in list(self._open.values()):
            if log.fence:
                log.close()

    def _new_records(self) -> "MemoryRecords":
        return MemoryRecords()


class MemoryRecords:
    """The entries as encoded lines: what is read is a copy, and the same copy that a file would give."""

    __slots__ = ("fence", "lines", "written_at")

    def __init__(self) -> None:
        self.fence = 0
        self.lines: list[bytes] = []
        self.written_at = time.time_ns()

    def write(self, first: int, entries: Sequence[Entry]) -> None:
        self.written_at = time.time_ns()
        self.lines += [encode(number, entry) for number, entry in enumerate(entries, first)]

    def read(self, after: int, last: int) -> Iterator[tuple[int, Entry]]:
        for index in range(after, last):
            yield decode(self.lines[index])

    def close(self) -> None:
        pass

    def release(self) -> None:
        pass
