"""The store of plain files: one file of JSON lines a log, for its owner's eyes only, one write(2) an append."""

import os
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import FileIO
from weakref import WeakValueDictionary

from event_log.encoding import Entry, decode, encode
from event_log.errors import LogDamaged, LogExists, LogNotFound, LogStorageFailed, StoreInvalid
from event_log.log import Log
from event_log.stores import NAME, check_name

_SUFFIX = ".jsonl"
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
_STRIDE = 64  # entries between two known offsets
_BUFFER = 64 * 1024  # bytes read at once


class JsonlStore:
    """A Store in one directory, made with mode 0700. Written means: write(2) has taken it, so it outlives us."""

    def __init__(self, directory: str) -> None:
        directory = os.path.expanduser(directory)
        if not os.path.isabs(directory):
            raise StoreInvalid("the jsonl store wants an absolute directory: jsonl:/path/to/it")
        self.directory = os.path.abspath(directory)
        self._open: WeakValueDictionary[str, Log] = WeakValueDictionary()

    def create(self, name: str) -> Log:
        path = self._path(name)
        try:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            fd = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            if error.filename == path:
                raise LogExists(name) from None
            raise _failed(f"cannot make the log's directory {self.directory}", error) from error
        except OSError as error:
            raise _failed(f"cannot make the log in {self.directory}", error) from error
        return self._keep(JsonlRecords(name, path, fd), 0)

    def open(self, name: str) -> Log:
        path = self._path(name)
        log = self._open.get(name)
        if log is not None and not log.closed:
            return log
        records = JsonlRecords(name, path)
        return self._keep(records, records.scan())

    def names(self) -> Iterator[str]:
        try:
            with os.scandir(self.directory) as files:
                found = [file.name.removesuffix(_SUFFIX) for file in files if file.name.endswith(_SUFFIX)]
        except FileNotFoundError:
            found = []
        except OSError as error:
            raise _failed("cannot list the logs", error) from error
        return filter(NAME.fullmatch, found)

    def recent(self) -> list[tuple[int, str]]:
        found = []
        for name in self.names():
            with suppress(FileNotFoundError):  # deleted meanwhile
                found.append((os.stat(self._path(name)).st_mtime_ns, name))
        return sorted(found, reverse=True)

    def delete(self, name: str) -> None:
        path = self._path(name)
        try:
            os.unlink(path)
        except FileNotFoundError:
            raise LogNotFound(name) from None
        except OSError as error:
            raise _failed("cannot delete the log", error) from error
        log = self._open.pop(name, None)
        if log is not None:
            log.discard()

    def _path(self, name: str) -> str:
        check_name(name)
        return os.path.join(self.directory, name + _SUFFIX)

    def _keep(self, records: "JsonlRecords", last: int) -> Log:
        log = self._open[records.name] = Log(records.name, records, last)
        return log


class JsonlRecords:
    """The file under one log.

    It is only ever added to. A last line without its newline was never acknowledged: it is no entry, and goes before
    the next append, not at the opening, as the file may have another writer and this be a reader.
    """

    def __init__(self, name: str, path: str, fd: int | None = None) -> None:
        self.name = name
        self._path = path
        self._file = None if fd is None else FileIO(fd, "ab")
        self._size = 0  # bytes of whole entries
        self._torn = False  # whether the file is, or may be, longer than that
        self._marks = array("Q")  # where the entries 1, 1 + _STRIDE, 1 + 2 * _STRIDE, ... start

    def scan(self) -> int:
        """Find the number of the last entry, and where entries start. Raises as Store.open."""
        count = 0
        whole = b""
        for line in self._lines(0):
            if not line.endswith(b"\n"):
                self._torn = True
                break
            if count % _STRIDE == 0:
                self._marks.append(self._size)
            self._size += len(line)
            count += 1
            whole = line
        if count:
            # Entries are numbered as lines are: a lost line shows here. What is in the others shows when they are read.
            self._decode(whole, count, self._size - len(whole))
        return count

    def write(self, first: int, entries: Sequence[Entry]) -> None:
        lines = [encode(number, entry) for number, entry in enumerate(entries, first)]
        data = lines[0] if len(lines) == 1 else b"".join(lines)
        try:
            file = self._file or self._reopen()
            if self._torn:
                self._cut(file)
            written = file.write(data)
        except OSError as error:
            self._undo()
            raise _failed("cannot write to the log", error) from error
        if written != len(data):
            self._undo()
            raise LogStorageFailed("cannot write to the log", f"only {written} of {len(data)} bytes were taken")
        for index in range(-(first - 1) % _STRIDE, len(lines), _STRIDE):
            self._marks.append(self._size + sum(map(len, lines[:index])))
        self._size += len(data)

    def read(self, after: int, last: int) -> Iterator[tuple[int, Entry]]:
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
        raise LogDamaged(self.name, "the file has become shorter", number=number + 1, offset=offset)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _reopen(self) -> FileIO:
        self._file = FileIO(os.open(self._path, _FLAGS), "ab")
        return self._file

    def _cut(self, file: FileIO) -> None:
        file.truncate(self._size)
        self._torn = False

    def _undo(self) -> None:
        """After a failed write: back to the last whole entry now if that works, else before the next append."""
        self._torn = True
        if self._file is not None:
            with suppress(OSError):
                self._cut(self._file)

    def _lines(self, offset: int) -> Iterator[bytes]:
        try:
            with open(self._path, "rb", buffering=_BUFFER) as file:
                file.seek(offset)
                yield from file
        except FileNotFoundError:
            raise LogNotFound(self.name) from None
        except OSError as error:
            raise _failed("cannot read the log", error) from error

    def _decode(self, line: bytes, number: int, offset: int) -> tuple[int, Entry]:
        try:
            found = decode(line)
        except ValueError as error:
            raise LogDamaged(self.name, "a line is not an entry", number=number, offset=offset) from error
        if found[0] != number:
            raise LogDamaged(self.name, f"a line has the number {found[0]}", number=number, offset=offset)
        return found


def _failed(action: str, error: OSError) -> LogStorageFailed:
    return LogStorageFailed(action, error.strerror or type(error).__name__, error.errno)
