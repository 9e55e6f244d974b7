"""The store of a server: every log is written ahead to a local file, and the server is filled from it.

Appending touches the local file only, so nobody who streams waits for a server. One task brings the lines of all logs
to it, in the order of their numbers, and goes on from where the server stands when it was away. Who may write is agreed
twice: among the processes of this host by the local store's claims, among hosts by the server's leases. As long as this
host has the lease, its file is the server's log gone further; once another host took the lease, the server's log is the
log, and what only we have is kept aside in `<name>.orphaned`.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from typing import cast
from weakref import WeakValueDictionary

import anyio

from event_log.errors import LogClosed, LogError, LogHeld, LogLost, LogNotFound, StoreUnreachable
from event_log.log import Log
from event_log.owner import Owner
from event_log.stores import BEAT_SECONDS, check_name
from event_log.stores.agreement import follow
from event_log.stores.jsonl import JsonlStore
from event_log.stores.jsonl_file import failed
from event_log.stores.leases import Leases
from event_log.stores.mirror import Mirror, MirrorRecords
from event_log.stores.server import REACH_SECONDS, Fenced, Lease, Server, too_slow
from event_log.stores.tail import Tail

_GROUP_SECONDS = 0.05  # what is written this long after the first new line goes to the server with it
_PAUSE_SECONDS = (0.05, 0.25)  # the first and the longest one before the server is tried again
_END_SECONDS = 0.1  # how long the end of the program waits for the server to take what it lacks


class MirroredStore:
    """A Store. Written means: write(2) to a local file has taken it; the server has it soon after.

    `tell` gets one line about what somebody should know. `owner` is who we are to other hosts, for tests to be others.
    """

    def __init__(
        self,
        server: Server,
        directory: str,
        takes_over: Collection[str] = (),
        tell: Callable[[str], None] = lambda line: None,
        owner: Owner | None = None,
    ) -> None:
        self._server = server
        self._tell = tell
        self._files = JsonlStore(directory, takes_over, owner)
        self.directory = directory
        self._leases = Leases(server, self._files, takes_over)
        self.owner = self._files.owner
        self._open: WeakValueDictionary[str, Log] = WeakValueDictionary()
        self._mirrors: dict[str, Mirror] = {}
        self._changed: dict[Mirror, None] = {}  # those that something may have to be done about, in order
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._wanted = anyio.Event()
        self._ended = anyio.Event()
        self._away = False  # the server, when it was last tried
        self._missed = False  # a beat, so that others may have taken what is ours

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            for task in (self._files.run, self._beat, self._fill, self._sweep):
                tasks.start_soon(task)
            await self._ended.wait()
            tasks.cancel_scope.cancel()

    async def create(self, name: str) -> Log:
        local = await self._files.create(name)
        log = self._keep(local)
        self._hold(log, local, new=True)
        log.stands(0, local.fence)
        return log

    async def open(self, name: str) -> Log:
        check_name(name)
        log = self._open.get(name)
        if log is not None and log.fence:
            return log
        async with self._alone(name):
            local = await self._up_to_date(name)
            log = self._open.get(name)
            if log is None or log.closed:
                log = self._keep(local)
            elif not log.fence:
                _records(log).local = local
            log.stands(local.last, log.fence)
            return log

    async def claim(self, log: Log) -> None:
        if log.closed:
            raise LogLost(log.name) if log.lost else LogClosed(log.name)
        async with self._alone(log.name):
            if log.fence:
                return
            records = _records(log)
            if records.local.closed:
                records.local = await self._files.open(log.name)
            await self._files.claim(records.local)
            try:
                lease, fence = await self._leases.take(log.name, records.local.fence)
                ours = await self._leases.is_ours(lease, records.local)
                if not ours:
                    records.local = await follow(self._server, self._files, records.local, self._tell)
            except BaseException:
                records.local.close()
                raise
            mirror = self._hold(log, records.local)
            mirror.fence, mirror.registered = fence, True
            mirror.tail.seek(mirror.last if not ours else lease.last if lease else 0)
            log.stands(mirror.last, fence)

    async def names(self) -> list[str]:
        return [name for _, name in await self.recent()]

    async def recent(self) -> list[tuple[int, str]]:
        found = {name: at for at, name in await self._server.recent()}
        with suppress(FileNotFoundError):
            for name in os.listdir(self._marks):
                # Its file is the first to know, and the only one of what the server was not told yet. Others are
                # copies: when one was made says nothing.
                with suppress(FileNotFoundError):
                    found[name] = max(os.stat(self._files.path(name)).st_mtime_ns, found.get(name, 0))
        return sorted(((at, name) for name, at in found.items()), reverse=True)

    async def delete(self, name: str) -> None:
        check_name(name)
        async with self._alone(name):
            lease = await self._server.lease(name)
            there = lease is not None and not lease.deleted
            if lease is not None and there:
                await self._leases.check_free(name, lease)
            with suppress(*[LogNotFound] * there):
                await self._files.delete(name)
            if there:
                await self._server.delete(name)
            if name in self._mirrors:
                self._drop(self._mirrors[name])
            self._unmark(name)
        log = self._open.pop(name, None)
        if log is not None:
            log.discard()

    async def close(self) -> None:
        mirrors = list(self._mirrors.values())
        if not self._away:
            with anyio.move_on_after(_END_SECONDS, shield=True), suppress(StoreUnreachable):
                for mirror in mirrors:
                    if mirror.behind:
                        await self._push(mirror)
                if self._leases.known and not any(mirror.behind for mirror in mirrors):
                    await self._server.leave(self._leases.me)
        self._ended.set()
        for mirror in mirrors:
            if not mirror.behind:
                self._unmark(mirror.name)
            self._drop(mirror)
            if mirror.log is not None:
                mirror.log.close()
        await self._files.close()
        await self._server.aclose()

    def confirmed(self, name: str) -> int:
        mirror = self._mirrors.get(name)
        return mirror.tail.number if mirror else 0

    # What goes on beside

    async def _fill(self) -> None:
        """Bring to the server what it lacks, whenever that is something, for as long as it takes."""
        shortest, longest = _PAUSE_SECONDS
        pause = shortest
        while True:
            await self._wanted.wait()
            await anyio.sleep(_GROUP_SECONDS)
            self._wanted = anyio.Event()
            try:
                await self.push()
                if self._away:
                    self._tell(f"the store at {self._server.shown} is reached again")
                self._away, pause = False, shortest
            except StoreUnreachable as error:
                if not self._away:
                    self._tell(
                        f"the store at {self._server.shown} cannot be reached: {error.reason}; writing local files only"
                    )
                self._away = True
                await anyio.sleep(pause)
                pause = min(2 * pause, longest)

    async def push(self) -> None:
        """Bring to the server what it lacks by now. Raises StoreUnreachable."""
        changed, self._changed = list(self._changed), {}
        while changed:
            try:
                await self._push(changed[-1])
            except StoreUnreachable:
                for mirror in changed:
                    self._want(mirror)
                raise
            except LogError as error:
                self._tell_stuck(error)
            changed.pop()

    async def _beat(self) -> None:
        async with anyio.create_task_group() as beats:
            while True:
                if self._mirrors:
                    # Each by itself: a server that takes seconds for an answer gets them often enough all the same.
                    beats.start_soon(self._beat_once)
                await anyio.sleep(BEAT_SECONDS)

    async def _beat_once(self) -> None:
        try:
            await self._server.beat(self._leases.me)
        except StoreUnreachable:
            self._missed = True
            return
        if self._missed:
            self._missed = False
            for mirror in self._mirrors.values():
                mirror.doubtful = True
                self._want(mirror)

    async def _sweep(self) -> None:
        """Take up what processes of this host that have ended could not bring to the server."""
        with suppress(FileNotFoundError):
            for name in os.listdir(self._marks):
                try:
                    await self._take_up(name)
                except LogNotFound:
                    self._unmark(name)
                except LogHeld:
                    pass
                except LogError as error:
                    self._tell_stuck(error)

    async def _take_up(self, name: str) -> None:
        async with self._lock(name):
            if name not in self._mirrors and name not in self._open:
                local = await self._files.open(name)
                await self._files.claim(local)
                self._want(self._mirror(local))

    def _tell_stuck(self, error: LogError) -> None:
        self._tell(f"what the store at {self._server.shown} lacks stays here: {error}")

    async def _push(self, mirror: Mirror) -> None:
        async with self._lock(mirror.name):
            refused = 0
            last = mirror.last  # what comes meanwhile goes with the next group
            while not mirror.gone and (mirror.doubtful or not mirror.registered or mirror.tail.number < last):
                if mirror.doubtful or not mirror.registered:
                    await self._register(mirror)
                    continue
                lines = mirror.tail.next(last)
                try:
                    await self._server.append(mirror.name, self._leases.me, mirror.fence, mirror.tail.number + 1, lines)
                    mirror.tail.take(lines)
                    refused = 0
                except Fenced:
                    mirror.doubtful = True
                    refused += 1
                    if refused > 2:
                        raise StoreUnreachable(self._server.shown, "it refuses what it has granted") from None
            if mirror.log is None and not mirror.gone and not mirror.behind:
                await self._server.release(mirror.name, self._leases.me, mirror.fence)
                self._unmark(mirror.name)
                self._drop(mirror)
                if mirror.local is not None:
                    mirror.local.close()

    # Whose a log is

    async def _register(self, mirror: Mirror) -> None:
        """See that the lease is still ours, or take it where it is ours to take; else the mirror has ended."""
        lease = await self._server.lease(mirror.name)
        if lease is None or lease.holder.id != self._leases.me.id or lease.fence != mirror.fence or not lease.held:
            if lease is not None and not await self._may_go_on(mirror, lease):
                await self._lose(mirror, lease)
                return
            fence = max(lease.fence + 1, mirror.fence) if lease else mirror.fence
            try:
                await self._leases.grant(mirror.name, lease, fence)
            except Fenced:  # by one who was quicker: the next look shows whom
                mirror.doubtful = True
                return
            mirror.fence = fence
            if mirror.log is not None:
                mirror.log.stands(mirror.last, fence)
        mirror.tail.seek(min(lease.last, mirror.last) if lease else 0)
        mirror.registered, mirror.doubtful = True, False

    async def _may_go_on(self, mirror: Mirror, lease: Lease) -> bool:
        """Whether a log whose lease is not as we knew it is ours to write all the same."""
        if lease.deleted:
            return mirror.new and not mirror.registered
        if lease.holder.id == self._leases.me.id:
            return True
        if mirror.registered or mirror.local is None:
            return False
        return await self._leases.is_ours(lease, mirror.local)

    async def _lose(self, mirror: Mirror, lease: Lease) -> None:
        """End what another owner has now."""
        self._drop(mirror)
        if mirror.log is not None:
            mirror.log.lose()
        if mirror.local is not None:
            mirror.local.close()
        with suppress(LogError):  # what fails here is done at the next opening
            if lease.deleted:
                await self._files.delete(mirror.name)
                self._unmark(mirror.name)
            elif lease.holder.place != self._leases.me.place:
                await self._pull(mirror.name)
                self._unmark(mirror.name)

    # What a log is

    async def _up_to_date(self, name: str) -> Log:
        """The log in its file, which has what the server has. Raises LogNotFound."""
        if name in self._mirrors:
            return await self._files.open(name)
        lease = await self._server.lease(name)
        if lease is not None and lease.deleted:
            raise LogNotFound(name)
        try:
            local = await self._files.open(name)
            if await self._leases.is_ours(lease, local):
                return local
        except LogNotFound:
            if lease is None:
                raise
        with suppress(LogHeld):  # by a process of this host, which does the same, or is about to lose it
            await self._pull(name)
        return await self._files.open(name)

    async def _pull(self, name: str) -> None:
        """Make the local file what the server has."""
        try:
            local = await self._files.open(name)
            await self._files.claim(local)
        except LogNotFound:
            local = await self._files.create(name)
        try:
            local = await follow(self._server, self._files, local, self._tell)
        finally:
            local.close()

    # Small things

    def _lock(self, name: str) -> asyncio.Lock:
        """For whoever changes how a log stands, of the tasks of this process."""
        return self._locks.setdefault(name, asyncio.Lock())

    @asynccontextmanager
    async def _alone(self, name: str) -> AsyncIterator[None]:
        """The lock, for those whom somebody waits for: another may have it as long as a slow server takes."""
        lock = self._lock(name)
        try:
            with anyio.fail_after(REACH_SECONDS):
                await lock.acquire()
        except TimeoutError:
            raise too_slow(self._server) from None
        try:
            yield
        finally:
            lock.release()

    def _keep(self, local: Log) -> Log:
        log = self._open[local.name] = Log(local.name, MirrorRecords(local, self._want), local.last)
        return log

    def _hold(self, log: Log, local: Log, *, new: bool = False) -> Mirror:
        mirror = self._mirror(local, new=new)
        mirror.log = log
        _records(log).mirror = mirror
        self._want(mirror)
        return mirror

    def _mirror(self, local: Log, *, new: bool = False) -> Mirror:
        """A mirror of a log that we hold, marked so that who comes after us looks whether the server has all of it."""
        try:
            os.makedirs(self._marks, mode=0o700, exist_ok=True)
            os.close(os.open(self._mark(local.name), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise failed("cannot claim the log", error) from error
        before = self._mirrors.get(local.name)
        if before is not None:
            self._drop(before)
        mirror = self._mirrors[local.name] = Mirror(local, Tail(self._files.path(local.name)), new=new)
        return mirror

    def _drop(self, mirror: Mirror) -> None:
        mirror.gone = True
        if self._mirrors.get(mirror.name) is mirror:
            del self._mirrors[mirror.name]

    def _want(self, mirror: Mirror) -> None:
        self._changed[mirror] = None
        self._wanted.set()

    @property
    def _marks(self) -> str:
        return os.path.join(self._files.directory, "unsettled")

    def _mark(self, name: str) -> str:
        return os.path.join(self._marks, name)

    def _unmark(self, name: str) -> None:
        with suppress(OSError):
            os.unlink(self._mark(name))


def _records(log: Log) -> MirrorRecords:
    return cast(MirrorRecords, log.records)
