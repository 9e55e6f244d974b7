"""The log: structlog, one JSON object a line, dotted event names, secrets out by value at this one sink.

What strangers say goes through `clean` before it gets here; JSON escapes the rest. `Sampled` keeps a flood short.
"""

import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, TextIO

import structlog

from ars_gateway.access.limiter import Rate
from ars_gateway.clean import clean
from ars_gateway.observation.journal import Journal

SHORTEST = 8
HIDDEN = "[redacted]"
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Log(Protocol):
    """What every part of the gateway tells."""

    def debug(self, event: str, **fields: Any) -> Any: ...
    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...
    def error(self, event: str, **fields: Any) -> Any: ...


class Redactor:
    """Knows the secrets of this process. Values under eight characters are too common to search for."""

    def __init__(self) -> None:
        self._values: list[str] = []

    def add(self, secret: str) -> None:
        """From here on `secret` leaves in no line of the log."""
        if len(secret) >= SHORTEST:
            # As it is, and as it stands in a line of JSON.
            found = {*self._values, secret, json.dumps(secret)[1:-1]}
            self._values = sorted(found, key=len, reverse=True)  # of two that begin alike the longer one first

    def __call__(self, text: str) -> str:
        for value in self._values:
            text = text.replace(value, HIDDEN)
        return text


class Sink:
    """Lines to a stream and to the journal, with the secrets out."""

    def __init__(self, stream: TextIO, redact: Redactor, journal: Journal | None = None) -> None:
        self._stream = stream
        self._redact = redact
        self._journal = journal

    def msg(self, line: str) -> None:
        """Writes one line, where it can be written: what is told ends nobody who tells it."""
        line = self._redact(line)
        with suppress(OSError):
            self._stream.write(line + "\n")
            self._stream.flush()
        if self._journal is not None:
            with suppress(OSError):
                self._journal.write(line)

    debug = info = warning = error = critical = msg


class Sampled:
    """Of lines that a stranger causes, a few a minute for each name; the rest are counted in the next one."""

    def __init__(self, log: Log, most: int, seconds: float, clock: Callable[[], float]) -> None:
        self._log = log
        self._rate = Rate(most, seconds, clock)
        self._untold: dict[str, int] = {}

    def warning(self, event: str, **fields: Any) -> None:
        """Tells it, or counts it."""
        if self._rate.wait(event):
            self._untold[event] = self._untold.get(event, 0) + 1
            return
        if untold := self._untold.pop(event, 0):
            fields["untold"] = untold
        self._log.warning(event, **fields)


class Libraries(logging.Handler):
    """What libraries tell with `logging`, in our log: strangers cause some of it, so it is cleaned and sampled."""

    def __init__(self, log: Log, clock: Callable[[], float]) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self._sampled = Sampled(log, 5, 60, clock)

    def emit(self, record: logging.LogRecord) -> None:
        """One record."""
        said = clean(record.getMessage(), 500)
        if record.levelno >= logging.ERROR:
            self._log.error("gateway.library", library=record.name, said=said, exc_info=record.exc_info)
        else:
            self._sampled.warning("gateway.library", library=record.name, said=said)


def open_log(level: str, log_file: str | None, redact: Redactor, journal: Journal | None = None) -> Log:
    """The program's log on stderr or in `log_file` (0600), and in the journal, which clients read.

    Raises `OSError` where the file cannot be opened.
    """
    stream: TextIO = sys.stderr
    if log_file is not None:
        fd = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        stream = os.fdopen(fd, "a", encoding="utf-8", errors="backslashreplace")
    log: Log = structlog.wrap_logger(
        Sink(stream, redact, journal),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=repr),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
    )
    return log
