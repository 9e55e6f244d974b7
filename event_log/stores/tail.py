"""Tail: the lines of a local file behind a number, as they stand, for whoever brings them to a server."""

from event_log.stores.jsonl_file import failed
from event_log.stores.server import count

_MOST = 256 * 1024  # bytes read at once; a longer line is read whole


class Tail:
    """`number` lines have been taken. Everything may raise LogStorageFailed."""

    __slots__ = ("_offset", "_path", "number")

    def __init__(self, path: str) -> None:
        self._path = path
        self._offset = 0
        self.number = 0

    def seek(self, number: int) -> None:
        """Go to behind this number; there are at least so many lines."""
        if number < self.number:
            self.number = self._offset = 0
        while self.number < number:
            self.take(self.next(number))

    def next(self, last: int) -> bytes:
        """The next lines, whole ones, none behind the number `last`; none at all when that is reached."""
        size = _MOST
        while self.number < last:
            found = self._read(size)
            end = found.rfind(b"\n") + 1
            if end:
                return _first(found[:end], last - self.number)
            if len(found) < size:
                raise failed("cannot read the log", OSError(0, "it has become shorter"))
            size *= 2
        return b""

    def take(self, lines: bytes) -> None:
        """Go on behind these lines."""
        self.number += count(lines)
        self._offset += len(lines)

    def _read(self, size: int) -> bytes:
        try:
            with open(self._path, "rb", buffering=0) as file:
                file.seek(self._offset)
                return file.read(size)
        except OSError as error:
            raise failed("cannot read the log", error) from error


def _first(lines: bytes, most: int) -> bytes:
    """At most so many of the lines."""
    if count(lines) <= most:
        return lines
    end = 0
    for _ in range(most):
        end = lines.index(b"\n", end) + 1
    return lines[:end]
