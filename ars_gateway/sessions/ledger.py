"""The ledger of runs: each idempotency key is one run, also when it comes twice, and after a restart.

A run is entered before anything of it is done, and settled once: whoever comes second, here or in the next process, is
told what the first was told. Where the file is held by another program, a run is known from its key on and waits.
"""

import hashlib
import sqlite3
import time
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from ars_gateway.index import Index, Write
from ars_gateway.protocol.frames import encoded

Json = dict[str, Any]
State = Literal["open", "ok", "error", "aborted", "timeout"]

KEPT_SECONDS = 86_400
MOST_KEPT = 10_000
_PRUNED_EVERY = 500
_LONGEST_TEXT = 1 << 20

_TABLE = """CREATE TABLE IF NOT EXISTS runs (
    principal TEXT NOT NULL, id TEXT NOT NULL, method TEXT NOT NULL, body BLOB NOT NULL,
    key TEXT NOT NULL, session_id TEXT NOT NULL, state TEXT NOT NULL,
    accepted INTEGER NOT NULL, started INTEGER, ended INTEGER, outcome BLOB,
    PRIMARY KEY (principal, id)) WITHOUT ROWID"""
_OPEN = "CREATE INDEX IF NOT EXISTS runs_open ON runs (state) WHERE state = 'open'"
_ENTER = """INSERT INTO runs (principal, id, method, body, key, session_id, state, accepted)
    VALUES (?, ?, ?, ?, ?, ?, 'open', ?)"""
_SETTLE = """UPDATE runs SET state = ?, started = ?, ended = ?, outcome = ?
    WHERE principal = ? AND id = ? AND state = 'open'"""
_CUT = """DELETE FROM runs WHERE state <> 'open' AND ended <=
    (SELECT ended FROM runs WHERE state <> 'open' ORDER BY ended DESC LIMIT 1 OFFSET ?)"""
_COLUMNS = "principal, id, method, body, key, session_id, state, accepted, started, ended, outcome"


class OtherBody(Exception):
    """That key stands for a run of another body."""


@dataclass
class Entry:
    """One run as the ledger has it. Times are milliseconds since 1970; `outcome` is what its waiters are told."""

    principal: str
    id: str
    method: str
    body: bytes
    key: str
    session_id: str
    state: State = "open"
    accepted: int = 0
    started: int | None = None
    ended: int | None = None
    outcome: Json = field(default_factory=dict)


def body_of(method: str, params: Json) -> bytes:
    """What makes two requests the same one: the method and every parameter but the key itself."""
    said = {name: value for name, value in params.items() if name != "idempotencyKey"}
    return hashlib.sha256(orjson.dumps([method, said], option=orjson.OPT_SORT_KEYS)).digest()


class Ledger:
    """All runs of the last day, bounded."""

    def __init__(self, index: Index) -> None:
        self._index = index
        index.execute(_TABLE)
        index.execute(_OPEN)
        # What the file has not yet, and ends that the disk has refused, for whoever asks as long as this process lives.
        self._unwritten: dict[tuple[str, str], Entry] = {}
        self._entering: dict[tuple[str, str], Write] = {}
        self._entered = 0
        self._prune()

    def enter(self, entry: Entry) -> Entry | None:
        """Enters a run and returns None, or returns the entry that has its key already; `entered` tells when the file
        has it. Raises `OtherBody`."""
        if (known := self.find(entry.principal, entry.id)) is not None:
            if known.body != entry.body:
                raise OtherBody
            return known
        entry.accepted = now()
        values = (entry.principal, entry.id, entry.method, entry.body, entry.key, entry.session_id, entry.accepted)
        write = self._index.write((_ENTER, values))
        if not write.done:
            self._unwritten[entry.principal, entry.id] = entry
            self._entering[entry.principal, entry.id] = write
            write.then = lambda: self._has_written(entry, "open")
        self._entered += 1
        if self._entered % _PRUNED_EVERY == 0:
            self._prune()
        return None

    async def entered(self, entry: Entry) -> None:
        """Returns when the file has a run that was entered: before, nothing of it may be done, as the next process
        would do it again. Raises sqlite3.Error where it cannot have it."""
        if (write := self._entering.pop((entry.principal, entry.id), None)) is not None:
            await write.wait()

    def find(self, principal: str, run: str) -> Entry | None:
        """The entry of a run; another principal's is as good as none."""
        if (unwritten := self._unwritten.get((principal, run))) is not None:
            return unwritten
        query = f"SELECT {_COLUMNS} FROM runs WHERE principal = ? AND id = ?"
        found = self._index.execute(query, (principal, run)).fetchone()
        return _entry(found) if found else None

    def settle(self, entry: Entry) -> bool:
        """Writes how a run has ended. True for the first who does it, and nothing changes after that."""
        former = self.find(entry.principal, entry.id)
        if former is not None and former is not entry and former.state != "open":
            return False
        entry.ended = entry.ended or now()
        if len(text := entry.outcome.get("text") or "") > _LONGEST_TEXT:
            entry.outcome["text"] = text[:_LONGEST_TEXT]
        self._unwritten[entry.principal, entry.id] = entry
        values = (entry.state, entry.started, entry.ended, encoded(entry.outcome), entry.principal, entry.id)
        write = self._index.write((_SETTLE, values))
        if not write.done:
            write.then = lambda: self._has_written(entry, entry.state)
            return True
        del self._unwritten[entry.principal, entry.id]
        return write.rows == 1

    def left_open(self) -> list[Entry]:
        """The runs that nobody has settled: at the start, those that the process before this one was at."""
        return [_entry(row) for row in self._index.execute(f"SELECT {_COLUMNS} FROM runs WHERE state = 'open'")]

    def _has_written(self, entry: Entry, state: State) -> None:
        """The file has that state of a run, perhaps not its last one."""
        if self._unwritten.get((entry.principal, entry.id)) is entry and entry.state == state:
            del self._unwritten[entry.principal, entry.id]

    def _prune(self) -> None:
        self._index.write(
            ("DELETE FROM runs WHERE state <> 'open' AND ended < ?", (now() - KEPT_SECONDS * 1000,)),
            (_CUT, (MOST_KEPT,)),
        )


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _entry(row: sqlite3.Row) -> Entry:
    entry = Entry(*row)
    entry.outcome = orjson.loads(row["outcome"]) if row["outcome"] else {}
    return entry
