"""Claims: who may write which log of a directory, agreed between processes by small files beside the logs.

`<name>.owner` says who holds a log, for as long as somebody does; it is changed by whoever has locked `.lock`. A living
owner touches `owners/<its id>` now and then, for those who cannot see its process.
"""

import fcntl
import os
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from typing import NamedTuple

import anyio
import orjson

from event_log.errors import LogHeld
from event_log.owner import Owner, new_owner
from event_log.stores import LEASE_SECONDS

_LOCK_SECONDS = 2.0
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


class Claim(NamedTuple):
    """What one claim has written: its record is in the log's `.owner` file until the log is someone else's."""

    fence: int
    record: bytes


class Claims:
    """Of one store in one directory. Raises OSError where the directory cannot be used."""

    def __init__(self, directory: str, takes_over: Collection[str] = (), owner: Owner | None = None) -> None:
        self._directory = directory
        self._takes_over = takes_over
        self._owner = owner
        self._lock_path = os.path.join(directory, ".lock")

    @cached_property
    def owner(self) -> Owner:
        """Who we are."""
        return self._owner or new_owner()

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """For a moment nobody else changes who holds what. Raises TimeoutError after two seconds."""
        fd = self._open_lock()
        try:
            waits_until = time.monotonic() + _LOCK_SECONDS
            while not _lock(fd):
                if time.monotonic() > waits_until:
                    raise TimeoutError(None, "another process keeps it locked")
                await anyio.sleep(0.002)
            yield
        finally:
            os.close(fd)

    def take(self, name: str) -> Claim:
        """Hold the log from now on. Only while locked. Raises LogHeld."""
        before = self.check_free(name)
        # No record is left of a log that was given up, so the clock sees to it that the number is higher.
        fence = max(time.time_ns(), before + 1)
        claim = Claim(fence, orjson.dumps({"fence": fence, "owner": self.owner}))
        path = self._path(name)
        temporary = f"{path}.{self.owner.id}"
        try:
            with open(os.open(temporary, _NEW, 0o600), "wb", buffering=0) as file:
                file.write(claim.record)
            os.rename(temporary, path)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        return claim

    def check_free(self, name: str) -> int:
        """The fence of the last one who held the log, 0 if nothing is known of any. Only while locked.

        Raises LogHeld where that is another one and it may live.
        """
        owner, fence = self._holder(name)
        if owner is not None and owner.id != self.owner.id:
            if not self._is_dead(name, owner):
                raise LogHeld(name, owner)
            with suppress(OSError):
                os.unlink(self._beat_path(owner))
        return fence

    def holds(self, name: str, claim: Claim) -> bool:
        """Whether the log is still ours by that claim. For any thread."""
        try:
            with open(self._path(name), "rb", buffering=0) as file:
                return file.read(4096) == claim.record
        except FileNotFoundError:
            return False

    def release(self, claims: Mapping[str, Claim]) -> bool:
        """Give these logs up, by name; returns whether that was possible at once."""
        with suppress(OSError):  # a directory that is gone holds nothing; in any other our process's end tells it
            fd = self._open_lock()
            try:
                if not _lock(fd):
                    return False
                for name, claim in claims.items():
                    if self.holds(name, claim):
                        os.unlink(self._path(name))
            finally:
                os.close(fd)
        return True

    def forget(self, name: str) -> None:
        """Remove what is known of the owner of a log that is deleted. Only while locked."""
        with suppress(FileNotFoundError):
            os.unlink(self._path(name))

    def beat(self) -> None:
        """Give a sign of life. For any thread."""
        path = self._beat_path(self.owner)
        try:
            os.utime(path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            os.close(os.open(path, _NEW, 0o600))

    def end(self) -> None:
        """No more signs of life will come."""
        with suppress(OSError):
            os.unlink(self._beat_path(self.owner))

    def _holder(self, name: str) -> tuple[Owner | None, int]:
        try:
            with open(self._path(name), "rb", buffering=0) as file:
                found = orjson.loads(file.read(4096))
            told = found["owner"]
            return Owner(told["id"], told["host"], told["boot"], told["pid"], told["started"]), int(found["fence"])
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            # What no JSON is was left by a machine that stopped, and its owner with it.
            return None, 0

    def _is_dead(self, name: str, owner: Owner) -> bool:
        if self._takes_over and not {owner.id, f"{owner.host}:{owner.pid}"}.isdisjoint(self._takes_over):
            return True
        known = owner.is_known_dead_to(self.owner)
        return self._seconds_since_sign(name, owner) > LEASE_SECONDS if known is None else known

    def _seconds_since_sign(self, name: str, owner: Owner) -> float:
        signs = [os.stat(self._path(name)).st_mtime]
        with suppress(FileNotFoundError):
            signs.append(os.stat(self._beat_path(owner)).st_mtime)
        os.utime(self._lock_path)  # so that all times are by the clock of whoever keeps the files
        return os.stat(self._lock_path).st_mtime - max(signs)

    def _open_lock(self) -> int:
        return os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, f"{name}.owner")

    def _beat_path(self, owner: Owner) -> str:
        return os.path.join(self._directory, "owners", owner.id)


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
