"""A session's log that goes on in memory while its store cannot write: the disk is full, permission is denied.

The person is told once that the session is not being saved, and once that it is again; it is tried with each turn.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from event_log.encoding import decode, encode
from event_log.errors import LogClosed, LogHeld, LogStorageFailed

if TYPE_CHECKING:
    from ars_acp.streamer import Streamer
    from event_log.log import Log
    from event_log.stores import Store

Entry = dict[str, Any]


class KeptLog:
    """A log as `event_log.Log` is one. `stored` is the store's, None while it could not even be made.

    `failure` is why entries are in memory; None while all of them are written.
    """

    def __init__(self, name: str, stored: "Log | None", failure: LogStorageFailed | None = None) -> None:
        self.name = name
        self.stored = stored
        self.failure = failure
        self._unsaved: list[bytes] = []
        self._told = False

    @property
    def last(self) -> int:
        """The number of the newest entry."""
        return self._written + len(self._unsaved)

    @property
    def closed(self) -> bool:
        """Whether it cannot be used any more, because it was closed or taken over."""
        return self.stored is not None and self.stored.closed

    @property
    def _written(self) -> int:
        return 0 if self.stored is None else self.stored.last

    def append(self, entries: Sequence[Entry]) -> int:
        """As `Log.append`; where the store cannot write, the entries are taken into memory."""
        if self.failure is None and self.stored is not None:
            try:
                return self.stored.append(entries)
            except LogStorageFailed as exc:
                self.failure = exc
        if self.closed:
            raise LogClosed(self.name)
        first = self.last + 1
        self._unsaved += [encode(number, entry) for number, entry in enumerate(entries, first)]
        return first

    def read(self, after: int = 0) -> Iterator[tuple[int, Entry]]:
        """As `Log.read`."""
        written, unsaved = self._written, list(self._unsaved)
        if self.stored is not None:
            yield from self.stored.read(after)
        for line in unsaved[max(after - written, 0) :]:
            yield decode(line)

    def rest(self) -> None:
        """As `Log.rest`."""
        if self.stored is not None:
            self.stored.rest()

    def close(self) -> None:
        """As `Log.close`; what could not be written is lost."""
        if self.stored is not None:
            self.stored.close()

    async def save(self, store: "Store") -> None:
        """Tries to write what is in memory. It stays there where that fails, or where another owner has gone on."""
        if self.failure is None:
            return
        try:
            if self.stored is None:
                self.stored = await store.create(self.name)
            elif not self.stored.fence:
                last = self.stored.last
                await store.claim(self.stored)
                if self.stored.last != last:
                    self.stored.close()  # what we have told since fits no more: the next who opens it has the other's
            self.stored.append([decode(line)[1] for line in self._unsaved])
        except LogStorageFailed as exc:
            self.failure = exc
        except LogHeld as exc:
            self.failure = LogStorageFailed("cannot write to the log", str(exc))
        else:
            self.failure = None
            self._unsaved.clear()

    def tell(self, streamer: "Streamer") -> None:
        """Tells the person, once, that the session is not being saved, or is again."""
        if self.failure is not None and not self._told:
            self._told = True
            lost = "It goes on in memory and is lost when this agent ends; saving it is tried again with each turn"
            streamer.tell("warning", f"This session is not being saved: {self.failure}", lost)
        elif self.failure is None and self._told:
            self._told = False
            streamer.tell("info", "This session is saved again, all of it")
