"""The log: structlog, one JSON object a line on stderr or in a file, dotted event names, secrets taken out at the sink.

A reader of stderr that stops reading must not stop the agent: a line that the pipe has no room for waits in memory, and
when too many wait, the oldest give way and their number is told.
"""

import contextlib
import json
import os
import select
import sys
import time
from collections import deque
from datetime import UTC, datetime
from typing import Any

from ars_acp.redact import redact

# A pipe that polls as writable takes at least this much without blocking (PIPE_BUF: 512 or more, 4096 on Linux).
SAFE_WRITE = 512 if sys.platform == "darwin" else 4096
KEPT_BYTES = 1024 * 1024
# A start that goes well tells less than this before its first session loads structlog.
HELD_EVENTS = 20
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Sink:
    """Lines on their way to a descriptor that may not be read. Never blocks; `dropped` lines were given up untold."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._begun = b""  # what is left of the line under way
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self.dropped = 0

    def msg(self, line: str) -> None:
        """Takes one line, without its newline."""
        data = redact(line).encode("utf-8", "backslashreplace") + b"\n"
        self._waiting.append(data)
        self._size += len(data)
        while self._size > KEPT_BYTES and len(self._waiting) > 1:
            self._size -= len(self._waiting.popleft())
            self.dropped += 1
        self.flush()

    debug = info = warning = error = critical = msg

    def flush(self, seconds: float = 0) -> None:
        """Writes what the descriptor takes now, or within `seconds`."""
        until = time.monotonic() + seconds
        while (self._begun or self._waiting) and self._writable(until - time.monotonic()):
            line = self._begun or self._next_line()
            sent = SAFE_WRITE
            with contextlib.suppress(OSError):
                sent = os.write(self._fd, line[:SAFE_WRITE])
            self._begun = line[sent:]

    def _next_line(self) -> bytes:
        if self.dropped:
            told = {"lines": self.dropped, "timestamp": _now(), "event": "log.dropped", "level": "warning"}
            self.dropped = 0
            return _dumps(told).encode("ascii") + b"\n"
        line = self._waiting.popleft()
        self._size -= len(line)
        return line

    def _writable(self, seconds: float) -> bool:
        return any(event & select.POLLOUT for _, event in self._poll.poll(max(0, seconds) * 1000))


class Log:
    """structlog, loaded late: the little that is told before `load` is held, with its time, and told then."""

    def __init__(self, level: str, sink: Sink) -> None:
        self._level = LEVELS[level]
        self._sink = sink
        self._held: list[tuple[str, str, dict[str, Any]]] = []
        self._logger: Any = None

    def debug(self, event: str, **fields: Any) -> None:
        self._tell("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._tell("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._tell("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._tell("error", event, fields)

    def _tell(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if LEVELS[level] < self._level:
            return
        fields["timestamp"] = _now()
        if self._logger is None:
            self._held.append((level, event, fields))
            if len(self._held) >= HELD_EVENTS:
                self.load()
        else:
            getattr(self._logger, level)(event, **fields)

    def load(self) -> None:
        """Loads structlog, tells what was held, and tells at once from here on."""
        if self._logger is not None:
            return
        import structlog

        self._logger = structlog.wrap_logger(
            self._sink,
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(serializer=_dumps),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(self._level),
        )
        for level, event, fields in self._held:
            getattr(self._logger, level)(event, **fields)
        self._held.clear()

    def close(self) -> None:
        """Tells what is still held, and gives a slow reader 50 ms for what it has not taken."""
        self.load()
        self._sink.flush(seconds=0.05)


def open_log(level: str, log_file: str | None) -> Log:
    """The program's log, on stderr or in `log_file`. Raises `OSError` where that cannot be opened."""
    fd = 2 if log_file is None else os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    return Log(level, Sink(fd))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _dumps(event: Any, **_: Any) -> str:
    return json.dumps(event, default=repr)
