"""The gateway's SQLite file: one connection, WAL, used on the event loop, as each statement here takes microseconds.

Another program may hold the file, a backup say. The loop waits a moment for that, never longer: what is in memory
anyway is then written as soon as the file is free, in order.
"""

import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import anyio

# How long a statement may wait for the file: before anybody is served and behind everybody, and in between.
PATIENCE_MS, SERVING_MS = 2_000, 20
# How long until what waits is tried again, seconds; how much of it at once, and how much there may be.
SOON, LATEST = 0.05, 1.0
AT_ONCE, MOST_WAITING = 100, 10_000

Statement = tuple[str, tuple[Any, ...]]


class Write:
    """One transaction. `done` when the file has it; `rows` is how many its last statement has changed. `then` is called
    where it was done later."""

    def __init__(self, statements: tuple[Statement, ...]) -> None:
        self.statements = statements
        self.done = False
        self.rows = 0
        self.then: Callable[[], object] = lambda: None
        self._why: sqlite3.Error | None = None
        self._over: anyio.Event | None = None

    async def wait(self) -> None:
        """Returns when the file has it. Raises sqlite3.Error where it refuses it."""
        if not self.done and self._why is None:
            self._over = self._over or anyio.Event()
            await self._over.wait()
        if self._why is not None:
            raise self._why

    def ended(self, why: sqlite3.Error | None) -> None:
        """It was tried later: the file has it, or refuses it for another reason than that somebody holds it."""
        self._why = why
        if why is None:
            self.done = True
            self.then()
        if self._over is not None:
            self._over.set()


class Index(sqlite3.Connection):
    """`with index:` writes at once or raises; `write` is for what is held in memory as well. `tell` is told of trouble,
    as a log is."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.tell: Callable[..., None] = lambda event, **fields: None
        self._waiting: deque[Write] = deque()
        self._late = 0
        self._behind: anyio.Event | None = None

    def write(self, *statements: Statement) -> Write:
        """Writes now, or where somebody else holds the file later, behind what waits already. Raises sqlite3.Error
        where the file refuses it for another reason."""
        write = Write(statements)
        if not self._waiting:
            try:
                self._carry_out(write)
                write.done = True
                return write
            except sqlite3.OperationalError as why:
                if not is_busy(why):
                    raise
                self.tell("index.busy", why=f"another program holds it ({why}): what is to be written waits")
        if len(self._waiting) >= MOST_WAITING:
            raise sqlite3.OperationalError(f"{MOST_WAITING} writes wait for the index already")
        self._waiting.append(write)
        if self._behind is not None:
            self._behind.set()
        return write

    async def keep_up(self) -> None:
        """Writes what waits, soon after it can be. To be run as long as the loop serves anybody."""
        self.execute(f"PRAGMA busy_timeout={SERVING_MS}")
        while True:
            self._behind = anyio.Event()
            pause = SOON
            while self._waiting:
                await anyio.sleep(pause)
                pause = 0 if self._catch_up(AT_ONCE) else max(SOON, min(pause * 2, LATEST))
            await self._behind.wait()

    def finish(self) -> None:
        """Writes what waits, with patience, and closes the file. May hold up the loop: it is the end."""
        self.execute(f"PRAGMA busy_timeout={PATIENCE_MS}")
        self._catch_up(MOST_WAITING)
        if self._waiting:
            self.tell("index.not_written", why="another program holds it to the end", writes=len(self._waiting))
        self.close()

    def _catch_up(self, most: int) -> bool:
        """Writes up to `most` of what waits; False where the file is still held."""
        for _ in range(min(most, len(self._waiting))):
            write, refused = self._waiting[0], None
            try:
                self._carry_out(write)
            except sqlite3.Error as why:
                if is_busy(why):
                    return False
                self.tell("index.not_written", why=str(why), writes=1)
                refused = why
            self._waiting.popleft()
            self._late += 1
            write.ended(refused)
        if self._late and not self._waiting:
            self.tell("index.caught_up", writes=self._late)
            self._late = 0
        return True

    def _carry_out(self, write: Write) -> None:
        with self:
            for statement, values in write.statements:
                write.rows = self.execute(statement, values).rowcount


def is_busy(error: Exception) -> bool:
    """Whether this says that somebody else holds the file."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def open_index(path: Path | None, tables: Iterable[str]) -> Index:
    """The index at `path` (None: in memory), with `tables` made where they lack. Raises OSError."""
    if path is not None:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    index = sqlite3.connect(":memory:" if path is None else path, check_same_thread=False, factory=Index)
    try:
        index.row_factory = sqlite3.Row
        index.execute(f"PRAGMA busy_timeout={PATIENCE_MS}")
        index.execute("PRAGMA journal_mode=WAL")
        index.execute("PRAGMA synchronous=NORMAL")
        for table in tables:
            index.executescript(table)
    except sqlite3.Error as error:
        index.close()
        raise OSError(f"{path} cannot be used: {error}") from None
    return index
