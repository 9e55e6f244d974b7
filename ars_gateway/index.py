"""The gateway's SQLite file: one connection, WAL, used on the event loop, as each statement here takes microseconds."""

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path


def open_index(path: Path | None, tables: Iterable[str]) -> sqlite3.Connection:
    """The index at `path` (None: in memory), with `tables` made where they lack. `with index:` commits. Raises
    OSError."""
    if path is not None:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    index = sqlite3.connect(":memory:" if path is None else path, check_same_thread=False)
    try:
        index.row_factory = sqlite3.Row
        index.execute("PRAGMA journal_mode=WAL")
        index.execute("PRAGMA synchronous=NORMAL")
        index.execute("PRAGMA busy_timeout=2000")
        for table in tables:
            index.executescript(table)
    except sqlite3.Error as error:
        index.close()
        raise OSError(f"{path} cannot be used: {error}") from None
    return index
