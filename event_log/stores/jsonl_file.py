"""One log as a file of JSON lines: how it is read, added to, and mended where a machine stopped in the middle."""

import os
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from io import FileIO
from itertools import count

from event_log.encoding import Entry, decode, encode
from event_log.errors import LogDamaged, LogError, LogNewer, LogNotFound, LogStorageFailed

FORMAT = 1  # which no line says; a later one begins its files with {"n":0,"format":2}
_ENTRY = b'{"n":'
_HEADER = b'{"n":0,'
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
_STRIDE = 64  # entries between two known offsets
_BUFFER = 64 * 1024  # bytes read at once
_KEPT = 1 << 20  # bytes of a torn tail that are kept aside

# To have the disk take what was written, where there is a way that leaves times of access out.
_sync = getattr(os, "fdatasync", os.fsync)


class JsonlFile:
    """A file that is only ever added to, by one writer; for one thread, but for `sync`.

    What a machine that stopped may leave at its end was never acknowledged: a line without its newline, zeros, half a
    character, blank lines. It is no entry, and goes before the next append (not at the opening, as the file may have
    another writer, and this be a reader), into `<name>.corrupt`.
    """

    def __init__(self, name: str, path: str, fd: int | None = None) -> None:
        self.name = name
        self.path = path
        self.corrupt_path = os.path.join(os.path.dirname(path), f"{name}.corrupt")
        self._file = None if fd is None else FileIO(fd, "ab")
        # While a `sync` uses a descriptor, nobody closes it: that is left to the last one of them.
        self._guard = threading.Lock()
        self._syncs = 0
        self._left: list[FileIO] = []
        self._made = fd is not None  # so that the directory is to be synced too
        self._size = 0  # bytes of whole entries
        self._torn = False  # whether the file is, or may be, longer than that
        self._marks = array("Q")  # where the entries 1, 1 + _STRIDE, 1 + 2 * _STRIDE, ... start
        self._unwritable: LogError | None = None

    def scan(self) -> int:
        """Find the number of the last entry, and where entries start. Raises LogNotFound, LogStorageFailed.

        Entries are numbered as lines are. Damage does not show here, but when it is read.
        """
        self._size, self._unwritable = 0, None
        self._marks = array("Q")
        count = 0
        last = b""
        torn: list[int] = []
        for line in self._lines(0):
            if not line.startswith(_ENTRY) or line[-1:] != b"\n":
                if _is_torn(line):
                    torn.append(len(line))
                    continue
            elif not self._size and line.startswith(_HEADER):
                self._unwritable = self._of_another_format(line)
                self._size = len(line)
                continue
            for length in (*torn, len(line)):  # what is torn and not at the end is damage, and counts
                if count % _STRIDE == 0:
                    self._marks.append(self._size)
                self._size += length
                count += 1
            torn.clear()
            last = line
        self._torn = bool(torn)
        if count and _is_torn(last):
            self._torn = True
            self._size -= len(last)
            count -= 1
            if count % _STRIDE == 0:
                self._marks.pop()
        return count

    def check(self, last: int) -> None:
        """Raises LogDamaged or LogNewer unless all entries can be read, and more be added."""
        if self._unwritable is not None:
            raise self._unwritable
        for _ in self.read(0, last):
            pass

    def write(self, first: int, entries: Sequence[Entry]) -> None:
        """As Records.write."""
        lines = [encode(first, entries[0])] if len(entries) == 1 else list(map(encode, count(first), entries))
        data = lines[0] if len(lines) == 1 else b"".join(lines)
        if self._unwritable is not None:
            raise self._unwritable
        try:
            file = self._file or self._reopen()
            if self._torn:
                self._mend(file)
            written = file.write(data)
            if written != len(data):  # the rest is refused, and by that we learn why
                written += file.write(data[written:])
        except OSError as error:
            self._undo()
            raise failed("cannot write to the log", error) from error
        if written != len(data):
            self._undo()
            raise LogStorageFailed("cannot write to the log", f"only {written} of {len(data)} bytes were taken")
        for index in range(-(first - 1) % _STRIDE, len(lines), _STRIDE):
            self._marks.append(self._size + sum(map(len, lines[:index])))
        self._size += len(data)

    def read(self, after: int, last: int) -> Iterator[tuple[int, Entry]]:
        """As Records.read."""
        if after >= last:
            return
        mark = after // _STRIDE
        number, offset = mark * _STRIDE, self._marks[mark]
        for line in self._lines(offset):
            number += 1
            if number > after:
                yield self._decode(line, number, offset)
            if number == last:
                return
            offset += len(line)
        raise self._damage("the file has become shorter", number + 1, offset)

    def close(self) -> None:
        """Release the descriptor; the next write takes one again."""
        with self._guard:
            file, self._file = self._file, None
            if file is not None and self._syncs:
                self._left.append(file)
                file = None
        if file is not None:
            file.close()

    def sync(self) -> None:
        """Have the disk take what was written. For any thread; raises OSError."""
        made, self._made = self._made, False
        with suppress(FileNotFoundError):  # deleted meanwhile
            self._sync_file()
            if made:
                _sync_path(os.path.dirname(self.path), os.fsync)

    def _sync_file(self) -> None:
        with self._guard:
            file = self._file
            self._syncs += 1
        try:
            if file is None:
                _sync_path(self.path, _sync)
            else:
                _sync(file.fileno())
        finally:
            left: list[FileIO] = []
            with self._guard:
                self._syncs -= 1
                if not self._syncs:
                    left, self._left = self._left, left
            for one in left:
                one.close()

    def _reopen(self) -> FileIO:
        self._file = FileIO(os.open(self.path, _FLAGS), "ab")
        return self._file

    def _mend(self, file: FileIO) -> None:
        """Cut off what is no entry, and keep it aside: it may tell somebody what happened."""
        with open(self.path, "rb", buffering=0) as whole:
            whole.seek(self._size)
            tail = whole.read(_KEPT)
        if tail:
            with open(os.open(self.corrupt_path, _FLAGS | os.O_CREAT, 0o600), "ab") as corrupt:
                corrupt.write(tail + b"\n")
        file.truncate(self._size)
        self._torn = False

    def _undo(self) -> None:
        """After a failed write: back to the last whole entry now if that works, else before the next append."""
        self._torn = True
        if self._file is not None:
            with suppress(OSError):
                self._file.truncate(self._size)
                self._torn = False

    def _lines(self, offset: int) -> Iterator[bytes]:
        try:
            with open(self.path, "rb", buffering=_BUFFER) as file:
                file.seek(offset)
                yield from file
        except FileNotFoundError:
            raise LogNotFound(self.name) from None
        except OSError as error:
            raise failed("cannot read the log", error) from error

    def _decode(self, line: bytes, number: int, offset: int) -> tuple[int, Entry]:
        try:
            found = decode(line)
        except ValueError as error:
            raise self._damage("a line is not an entry", number, offset) from error
        if found[0] != number:
            raise self._damage(f"a line has the number {found[0]}", number, offset)
        return found

    def _damage(self, reason: str, number: int, offset: int) -> LogDamaged:
        """The error that says so; from now on nothing is written."""
        error = LogDamaged(self.name, reason, number=number, offset=offset)
        self._unwritable = error
        return error

    def _of_another_format(self, header: bytes) -> LogError | None:
        try:
            version = int(decode(header)[1]["format"])
        except (ValueError, TypeError, KeyError):
            return LogDamaged(self.name, "its first line is not one of ours", number=0, offset=0)
        return LogNewer(self.name, version) if version > FORMAT else None


def failed(action: str, error: OSError) -> LogStorageFailed:
    """What the system refused, as an error of ours."""
    return LogStorageFailed(action, error.strerror or type(error).__name__, error.errno)


def _is_torn(line: bytes) -> bool:
    """Whether a line at the end was never written whole. Zeros, or half a character, before what is whole are not that,
    but damage."""
    if not line.endswith(b"\n"):
        return True
    said = line.rstrip(b"\0 \t\r\n")
    if not said or (b"\0" in line and b"\0" not in said):
        return True
    try:
        said.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return False


def _sync_path(path: str, sync: Callable[[int], None]) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync(fd)
    finally:
        os.close(fd)
