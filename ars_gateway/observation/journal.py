"""The gateway's own log on disk: segments of lines, each named by how many bytes were written before it.

A position in it is a number of bytes since the first line ever, so it means the same after a rotation and after a
restart. The oldest segments go; whoever asks for what is gone is told to begin anew.
"""

import os
from dataclasses import dataclass
from pathlib import Path

SEGMENT_BYTES = 4 * 1024 * 1024
SEGMENTS = 4
SUFFIX = ".jsonl"
_DIGITS = 16


@dataclass(frozen=True)
class Slice:
    """Lines of the journal: `cursor` is where the next ones will begin, `size` its end. `truncated`: there are lines
    before the first one that were left out. `reset`: these do not follow the cursor that was asked for."""

    file: str
    cursor: int
    size: int
    lines: list[str]
    truncated: bool
    reset: bool


class Journal:
    """The writing end. Every line is one write, so that a reader never sees half of one. Raises OSError."""

    def __init__(self, directory: Path, segment_bytes: int = SEGMENT_BYTES, segments: int = SEGMENTS) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._segments = segments
        directory.mkdir(mode=0o700, exist_ok=True)
        found = _segments(directory)
        self._start = found[-1] if found else 0
        self._fd = self._open(self._start)
        self._written = os.fstat(self._fd).st_size

    def write(self, line: str) -> None:
        """Appends one line."""
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        if self._written and self._written + len(data) > self._segment_bytes:
            self._rotate()
        self._written += os.write(self._fd, data)

    def close(self) -> None:
        """Writes nothing more."""
        os.close(self._fd)

    def _rotate(self) -> None:
        start = self._start + self._written
        fd = self._open(start)  # first: where it cannot be, the number of the old one stays ours
        os.close(self._fd)
        self._start, self._fd, self._written = start, fd, 0
        for start in _segments(self._directory)[: -self._segments]:
            (self._directory / _name(start)).unlink(missing_ok=True)

    def _open(self, start: int) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self._directory / _name(start), flags, 0o600)


def tail(directory: Path, cursor: int | None, limit: int, most_bytes: int) -> Slice:
    """The lines after `cursor` (None: the last ones), at most `limit` and `most_bytes` of them, the newest first to
    stay."""
    starts = _segments(directory)
    if not starts:
        return Slice(str(directory / _name(0)), 0, 0, [], truncated=False, reset=bool(cursor))
    file = directory / _name(starts[-1])
    size = starts[-1] + file.stat().st_size
    reset = cursor is not None and not starts[0] <= cursor <= size
    begin = max(starts[0], size - most_bytes)
    if cursor is not None and not reset:
        begin, reset = max(begin, cursor), size - cursor > most_bytes
    # One byte before, to see whether a line begins there.
    data = _read(directory, starts, max(starts[0], begin - 1), size)
    if begin > starts[0]:
        first = data.find(b"\n") + 1
        data = data[first:] if first else b""
    lines = data.decode("utf-8", "replace").split("\n")[:-1]
    truncated = (begin > 0 and (cursor is None or reset)) or len(lines) > limit
    return Slice(str(file), size, size, lines[-limit:], truncated, reset)


def _read(directory: Path, starts: list[int], begin: int, end: int) -> bytes:
    """The bytes from `begin` to `end`, over as many segments as that takes."""
    found = []
    for start, after in zip(starts, [*starts[1:], end], strict=True):
        if after > begin:
            with open(directory / _name(start), "rb") as file:
                file.seek(max(0, begin - start))
                found.append(file.read(after - max(begin, start)))
    return b"".join(found)


def _segments(directory: Path) -> list[int]:
    if not directory.is_dir():
        return []
    names = (name.removesuffix(SUFFIX) for name in os.listdir(directory) if name.endswith(SUFFIX))
    return sorted(int(name) for name in names if name.isdecimal())


def _name(start: int) -> str:
    return f"{start:0{_DIGITS}}{SUFFIX}"
