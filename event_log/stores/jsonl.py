"""The store of plain files: one file of JSON lines a log, for its owner's eyes only, one write(2) an append."""

import os
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import cast
from weakref import WeakValueDictionary

import anyio

from event_log.encoding import Entry
from event_log.errors import LogClosed, LogError, LogExists, LogLost, LogNotFound, StoreInvalid
from event_log.log import Log
from event_log.owner import Owner
from event_log.stores import BEAT_SECONDS, NAME, check_name
from event_log.stores.claims import Claim, Claims
from event_log.stores.jsonl_file import JsonlFile, failed

_SUFFIX = ".jsonl"
_SYNC_SECONDS = 0.02  # what is written this long after the first unsynced write is synced with it
# A clock that goes on while the machine sleeps, and others take over what it held.
_now = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
_SURE_SECONDS = 1.0  # far below a lease, so that a process that stood still looks before it writes


class JsonlStore:
    """A Store in one directory, made with mode 0700.

    Written means: write(2) has taken it, so it outlives us. While `run` does, the disk has it within 50 ms, as far as
    the disk keeps up.
    """

    def __init__(self, directory: str, takes_over: Collection[str] = (), owner: Owner | None = None) -> None:
        directory = os.path.expanduser(directory)
        if not os.path.isabs(directory):
            raise StoreInvalid("the jsonl store wants an absolute directory: jsonl:/path/to/it")
        self.directory = os.path.abspath(directory)
        self._claims = Claims(self.directory, takes_over, owner)
        self._open: WeakValueDictionary[str, Log] = WeakValueDictionary()
        self._held: dict[str, Log] = {}
        self._leaving: dict[str, Claim] = {}  # given up, but for the lock that another process had
        self._unsynced: list[JsonlRecords] = []
        self._written = anyio.Event()
        self._closed = False

    @property
    def owner(self) -> Owner:
        """Who we are to other processes."""
        return self._claims.owner

    async def run(self) -> None:
        beats_at = _now() + BEAT_SECONDS
        while not self._closed:
            with anyio.move_on_after(BEAT_SECONDS):
                await self._written.wait()
                await anyio.sleep(_SYNC_SECONDS)
            await self._sync()
            if self._held and _now() >= beats_at:
                beats_at = _now() + BEAT_SECONDS
                with suppress(OSError):
                    await anyio.to_thread.run_sync(self._claims.beat, abandon_on_cancel=True)
            self._release()

    async def create(self, name: str) -> Log:
        path = self.path(name)
        try:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
        except OSError as error:
            raise failed(f"cannot make the log's directory {self.directory}", error) from error
        try:
            async with self._claims.locked():
                if os.path.lexists(path):
                    raise LogExists(name)
                claim = self._claims.take(name)
                try:
                    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o600)
                except OSError:
                    self._claims.forget(name)
                    raise
        except OSError as error:
            raise failed(f"cannot make the log in {self.directory}", error) from error
        log = self._keep(Log(name, JsonlRecords(self, JsonlFile(name, path, fd)), 0))
        self._hold(log, claim, 0)
        return log

    async def open(self, name: str) -> Log:
        path = self.path(name)
        log = self._open.get(name)
        if log is None or log.closed:
            log = self._keep(Log(name, JsonlRecords(self, JsonlFile(name, path)), 0))
        if not log.fence:
            log.stands(_records(log).file.scan(), 0)
        return log

    async def claim(self, log: Log) -> None:
        if log.closed:
            raise LogLost(log.name) if log.lost else LogClosed(log.name)
        if log.fence:
            return
        file = _records(log).file
        try:
            async with self._claims.locked():
                if not os.path.exists(file.path):
                    raise LogNotFound(log.name)
                claim = self._claims.take(log.name)
        except FileNotFoundError:
            raise LogNotFound(log.name) from None
        except OSError as error:
            raise failed("cannot claim the log", error) from error
        try:
            last = file.scan()
            file.check(last)
        except LogError:
            self._give_up(log.name, claim)
            raise
        self._hold(log, claim, last)

    def confirmed(self, name: str) -> int:
        log = self._held.get(name)
        return log.last if log else 0

    async def names(self) -> list[str]:
        return await anyio.to_thread.run_sync(lambda: [name for name, _ in self._files()])

    async def recent(self) -> list[tuple[int, str]]:
        return await anyio.to_thread.run_sync(self._recent)

    def _recent(self) -> list[tuple[int, str]]:
        found = []
        for name, file in self._files():
            try:
                found.append((file.stat().st_mtime_ns, name))
            except FileNotFoundError:  # deleted meanwhile
                continue
        return sorted(found, reverse=True)

    def _files(self) -> Iterator[tuple[str, os.DirEntry[str]]]:
        try:
            with os.scandir(self.directory) as files:
                for file in files:
                    name, suffix = os.path.splitext(file.name)
                    if suffix == _SUFFIX and NAME.fullmatch(name):
                        yield name, file
        except FileNotFoundError:
            return
        except OSError as error:
            raise failed("cannot list the logs", error) from error

    async def delete(self, name: str) -> None:
        path = self.path(name)
        try:
            async with self._claims.locked():
                self._claims.check_free(name)
                os.unlink(path)
                self._claims.forget(name)
                with suppress(FileNotFoundError):
                    os.unlink(JsonlFile(name, path).corrupt_path)
        except FileNotFoundError:
            raise LogNotFound(name) from None
        except OSError as error:
            raise failed("cannot delete the log", error) from error
        self._held.pop(name, None)
        log = self._open.pop(name, None)
        if log is not None:
            log.discard()

    async def close(self) -> None:
        self._closed = True
        self._written.set()
        await self._sync()
        for log in list(self._held.values()):
            log.close()
        self._release()
        self._claims.end()

    def wrote(self, records: "JsonlRecords") -> None:
        """There is something to sync."""
        self._unsynced.append(records)
        self._written.set()

    def holds(self, name: str, claim: Claim) -> bool:
        """Whether the log is still ours by that claim. For any thread; raises OSError."""
        return self._claims.holds(name, claim)

    def released(self, name: str, claim: Claim) -> None:
        """The log has been closed."""
        self._held.pop(name, None)
        self._give_up(name, claim)

    async def _sync(self) -> None:
        """Have the disk take all that was written; finds out, too, who has lost a log meanwhile."""
        unsynced, self._unsynced, self._written = self._unsynced, [], anyio.Event()
        for records in unsynced:
            records.synced = True  # what is written from here on is for the next time
        if unsynced:
            await anyio.to_thread.run_sync(_sync_all, unsynced, abandon_on_cancel=True)
        for records in unsynced:
            log = self._held.get(records.file.name)
            if records.lost and log is not None and log.records is records:
                log.lose()
                del self._held[log.name]

    def _give_up(self, name: str, claim: Claim) -> None:
        self._leaving[name] = claim
        if not self._closed:  # then all are given up together
            self._release()

    def _release(self) -> None:
        if self._leaving and self._claims.release(self._leaving):
            self._leaving.clear()

    def path(self, name: str) -> str:
        """The file of the log of that name, which may not be there. Raises LogNameInvalid."""
        check_name(name)
        return os.path.join(self.directory, name + _SUFFIX)

    def _keep(self, log: Log) -> Log:
        self._open[log.name] = log
        return log

    def _hold(self, log: Log, claim: Claim, last: int) -> None:
        _records(log).hold(claim)
        self._held[log.name] = log
        log.stands(last, claim.fence)


class JsonlRecords:
    """The file under one log, and the claim by which it is ours to write."""

    def __init__(self, store: JsonlStore, file: JsonlFile) -> None:
        self.file = file
        self.synced = True
        self.lost = False
        self._store = store
        self._claim: Claim | None = None
        self._sure_until = 0.0  # from then on `write` looks whether the log is still ours
        self._unsyncable: OSError | None = None

    def hold(self, claim: Claim) -> None:
        self._claim = claim
        self._sure_until = _now() + _SURE_SECONDS

    def write(self, first: int, entries: Sequence[Entry]) -> None:
        if _now() >= self._sure_until:
            self._assure()
        self.file.write(first, entries)
        if self.synced:
            self.synced = False
            self._store.wrote(self)

    def read(self, after: int, last: int) -> Iterator[tuple[int, Entry]]:
        return self.file.read(after, last)

    def close(self) -> None:
        self.file.close()
        self._sure_until = 0.0

    def release(self) -> None:
        claim, self._claim = self._claim, None
        if claim is not None:
            self._store.released(self.file.name, claim)

    def sync(self) -> None:
        """Have the disk take what was written. In another thread than the log's."""
        try:
            claim = self._claim
            if claim is not None and not self.lost:
                if self._store.holds(self.file.name, claim):
                    self._sure_until = _now() + _SURE_SECONDS
                elif self._claim is claim:  # and not closed meanwhile
                    self.lost, self._sure_until = True, 0.0
            self.file.sync()
        except OSError as error:
            self._unsyncable = error
            self._sure_until = 0.0

    def _assure(self) -> None:
        """Raises what `sync` has found, LogLost if the log is someone else's by now."""
        unsyncable, self._unsyncable = self._unsyncable, None
        if unsyncable is not None:
            raise failed("cannot have the disk take the log", unsyncable) from unsyncable
        claim = self._claim
        try:
            self.lost = claim is None or not self._store.holds(self.file.name, claim)
        except OSError as error:
            raise failed("cannot see whose the log is", error) from error
        if self.lost:
            raise LogLost(self.file.name)
        self._sure_until = _now() + _SURE_SECONDS


def _records(log: Log) -> JsonlRecords:
    return cast(JsonlRecords, log.records)


def _sync_all(unsynced: list[JsonlRecords]) -> None:
    for records in unsynced:
        records.sync()
