"""Leases: what is agreed with other hosts about who writes which log of a server."""

import os
from collections.abc import Collection
from contextlib import suppress
from functools import cached_property

import anyio

from event_log.errors import LogHeld, LogNotFound
from event_log.log import Log
from event_log.stores.agreement import agreeing
from event_log.stores.jsonl import JsonlStore
from event_log.stores.jsonl_file import failed
from event_log.stores.server import REACH_SECONDS, Fenced, Holder, Lease, Server, too_slow


class Leases:
    """Those of one store, whose local files are `files`."""

    def __init__(self, server: Server, files: JsonlStore, takes_over: Collection[str]) -> None:
        self._server = server
        self._files = files
        self._takes_over = takes_over
        self.known = False  # whether the server may know of us

    @cached_property
    def me(self) -> Holder:
        """Who we are on the server. Raises LogStorageFailed where our directory cannot be used."""
        return Holder(self._files.owner, self._place())

    def _place(self) -> str:
        """What tells our directory from all others, made with it."""
        path = os.path.join(self._files.directory, ".place")
        try:
            os.makedirs(self._files.directory, mode=0o700, exist_ok=True)
            with suppress(FileExistsError):
                made = f"{path}.{self._files.owner.id}"
                with open(made, "x") as file:
                    file.write(os.urandom(8).hex())
                try:
                    os.link(made, path)
                finally:
                    os.unlink(made)
            with open(path) as file:
                return file.read()
        except OSError as error:
            raise failed(f"cannot use {self._files.directory}", error) from error

    async def take(self, name: str, fence: int) -> tuple[Lease | None, int]:
        """Take the lease, under this fence or a higher one. Returns what it was before, and the fence.

        Raises LogHeld where its holder may live, LogNotFound where the log was deleted; StoreUnreachable in 2 seconds.
        """
        try:
            with anyio.fail_after(REACH_SECONDS):
                while True:
                    lease = await self._server.lease(name)
                    if lease is not None:
                        if lease.deleted:
                            raise LogNotFound(name)
                        await self.check_free(name, lease)
                        fence = max(lease.fence + 1, fence)
                    with suppress(Fenced):
                        await self.grant(name, lease, fence)
                        return lease, fence
        except TimeoutError:
            raise too_slow(self._server) from None

    async def grant(self, name: str, lease: Lease | None, fence: int) -> None:
        """Take a log that has this lease, in whatever way it is free. Raises Fenced where it has another by now."""
        self.known = True
        await self._server.beat(self.me)  # or the lease would be anybody's
        await self._server.take(name, self.me, lease.fence if lease else 0, fence)

    async def check_free(self, name: str, lease: Lease) -> None:
        """Raises LogHeld where another host's owner has the log and may live; those of this host have claims."""
        owner = lease.holder.owner
        if not lease.held or lease.holder.place == self.me.place:
            return
        if not {owner.id, f"{owner.host}:{owner.pid}"}.isdisjoint(self._takes_over):
            return
        if not owner.is_known_dead_to(self._files.owner) and await self._server.alive(lease.holder):
            raise LogHeld(name, owner)

    async def is_ours(self, lease: Lease | None, local: Log) -> bool:
        """Whether the local file is the server's log, or that gone further."""
        if lease is None:
            return True
        if lease.holder.place != self.me.place or lease.last > local.last:
            return False
        # A file that was not written since this machine started may have lost what the disk did not have yet.
        if lease.holder.owner.boot == self._files.owner.boot:
            return True
        return await agreeing(self._server, self._files, local, lease.last) == lease.last
