"""A store in memory whose disk can be full."""

from collections.abc import Sequence
from typing import Any

from event_log.errors import LogStorageFailed
from event_log.stores.memory import MemoryRecords, MemoryStore


class Disk(MemoryStore):
    """While `full` says so of what is to be written, writing fails."""

    def __init__(self) -> None:
        super().__init__()
        self.full = lambda entries: False

    def _new_records(self) -> MemoryRecords:
        return _Records(self)


class _Records(MemoryRecords):
    __slots__ = ("_disk",)

    def __init__(self, disk: Disk) -> None:
        super().__init__()
        self._disk = disk

    def write(self, first: int, entries: Sequence[dict[str, Any]]) -> None:
        if self._disk.full(entries):
            raise LogStorageFailed("cannot write to the log", "No space left on device")
        super().write(first, entries)
