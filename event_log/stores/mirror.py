"""Mirror: one log on its way from its local file to the server; and what is under such a log."""

from collections.abc import Callable, Iterator, Sequence

from event_log.encoding import Entry
from event_log.log import Log
from event_log.stores.tail import Tail


class Mirror:
    """How far the server has a log that is ours to write, or was until it was closed.

    `local` is the log in its file while we hold it, `log` the one that its user has: None when the user has closed it,
    or when it was found unfinished. `fence` is the lease's once we are `registered` on the server. A `doubtful` one
    asks the server how things stand before it goes on; one that is `gone` has ended.
    """

    __slots__ = ("doubtful", "fence", "gone", "last", "local", "log", "name", "new", "registered", "tail")

    def __init__(self, local: Log, tail: Tail, *, new: bool = False) -> None:
        self.name = local.name
        self.local: Log | None = local
        self.log: Log | None = None
        self.tail = tail
        self.last = local.last
        self.fence = local.fence
        self.new = new
        self.registered = False
        self.doubtful = False
        self.gone = False

    @property
    def behind(self) -> bool:
        """Whether the server lacks something."""
        return not self.gone and (not self.registered or self.tail.number < self.last)


class MirrorRecords:
    """Records in the local file; `changed` is told what may have to be done about its mirror."""

    __slots__ = ("_changed", "local", "mirror")

    def __init__(self, local: Log, changed: Callable[[Mirror], None]) -> None:
        self.local = local
        self.mirror: Mirror | None = None
        self._changed = changed

    def write(self, first: int, entries: Sequence[Entry]) -> None:
        self.local.append(entries)
        if self.mirror is not None:
            self.mirror.last = self.local.last
            self._changed(self.mirror)

    def read(self, after: int, last: int) -> Iterator[tuple[int, Entry]]:
        return self.local.records.read(after, last)

    def close(self) -> None:
        self.local.rest()

    def release(self) -> None:
        mirror, self.mirror = self.mirror, None
        self.local.close()
        if mirror is not None:
            mirror.log = mirror.local = None
            self._changed(mirror)
