"""What lists show of stored sessions; and a cache of it beside the logs, so that no log is read twice for a list.

The cache is nothing but that: one that is lost, damaged, or another version's is made anew from the logs. A row of it
counts as long as its log was last written when the row says. It holds titles and directories, so it is as private as
the logs are, and a session that is deleted leaves it.
"""

import contextlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zlib import crc32

import anyio
from anyio.lowlevel import checkpoint

from event_log.errors import LogError

if TYPE_CHECKING:
    from ars_acp.session import Session
    from event_log.log import Log
    from event_log.stores import Store

VERSION = 1
FILE = ".listing"
# Two writes may leave the same time of change: what was written so lately may be written again, and is not cached.
UNSETTLED_NS = 2_000_000_000

Place = tuple[int, str]  # when a log was last written, in nanoseconds of Unix time, and its name
Row = list[Any]  # of the cache: when, cwd, directories, title; of a log that is no session's only when


@dataclass(frozen=True)
class Listed:
    """A session as lists show it: its directories as last opened, its title if it has one."""

    place: Place
    cwd: str
    directories: tuple[str, ...]
    title: str | None


class Listing:
    """The sessions of one store, newest first. What the store refuses leaves here as `event_log.LogError`."""

    def __init__(self, store: "Store") -> None:
        self._store = store
        self._cache = _Cache(store.directory)

    async def page(
        self,
        size: int | None = None,
        *,
        after: Place | None = None,
        cwd: str | None = None,
        active: "Mapping[str, Session] | None" = None,
    ) -> tuple[list[Listed], bool]:
        """At most `size` sessions (None: all) behind a place, of one directory or of all; and whether there are more.

        What is `active` in this process is not read.
        """
        cached = await anyio.to_thread.run_sync(self._cache.load)
        recent = await self._store.recent()
        settled = time.time_ns() - UNSETTLED_NS
        read: dict[str, Row] = {}
        found: list[Listed] = []
        for at, name in recent:
            if after is not None and (at, name) >= after:
                continue
            session = active.get(name) if active else None
            row = _row_of(session, at) if session else cached.get(name)
            if row is None or row[0] != at:
                row = await self._read(name, at)
                await checkpoint()
                if row is not None and at < settled:
                    read[name] = row
            if row and len(row) > 1 and cwd in (None, row[1]):
                if len(found) == size:
                    break
                found.append(Listed((at, name), row[1], tuple(row[2]), row[3]))
        else:
            size = None
        if read:
            there = {name for _, name in recent}
            rows = {name: row for name, row in cached.items() if name in there} | read
            await anyio.to_thread.run_sync(self._cache.save, rows)
        return found, size is not None

    async def forget(self, name: str) -> None:
        """Takes a deleted session out of the cache."""
        cached = await anyio.to_thread.run_sync(self._cache.load)
        if cached.pop(name, None) is not None:
            await anyio.to_thread.run_sync(self._cache.save, cached)

    async def _read(self, name: str, at: int) -> Row | None:
        """None for a log that cannot be read now."""
        try:
            return [at, *summary(await self._store.open(name))]
        except (LogError, LookupError):
            return None


def summary(log: "Log") -> list[Any]:
    """What a list shows of a log: cwd and directories as last opened, title; nothing for a log that is no session's."""
    found: list[Any] = []
    for _, entry in log.read():
        kind = entry.get("type")
        if kind == "session":
            found = [entry["cwd"], entry["directories"], found[2] if found else None]
        elif not found:
            break
        elif kind == "title":
            found[2] = entry["title"]
    return found


def _row_of(session: "Session", at: int) -> Row:
    return [at, session.facts.cwd, session.facts.directories, session.facts.title]


class _Cache:
    """The file: a checksum, and rows by name. It blocks; what it cannot hold is read from the logs another time."""

    def __init__(self, directory: str | None) -> None:
        self._path = os.path.join(directory, FILE) if directory else None

    def load(self) -> dict[str, Row]:
        if self._path is None:
            return {}
        try:
            with open(self._path, "rb") as file:
                head, _, rows = file.read().partition(b"\n")
        except OSError:
            return {}
        return json.loads(rows) if head == _head(rows) else {}

    def save(self, rows: dict[str, Row]) -> None:
        if self._path is None:
            return
        data = json.dumps(rows, separators=(",", ":")).encode()
        new = f"{self._path}.{os.getpid()}"
        try:
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(_head(data) + b"\n" + data)
            os.replace(new, self._path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(new)


def _head(rows: bytes) -> bytes:
    return b"sessions %d %08x" % (VERSION, crc32(rows))
