"""Store: where logs are kept, by name; and STORES, which ones there are, by the scheme of their URL."""

import os
import re
from collections.abc import Callable, Collection
from importlib import import_module
from typing import Any, Protocol, cast

from event_log.errors import LogNameInvalid, StoreInvalid
from event_log.log import Log

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
LEASE_SECONDS = 10.0  # an owner whose process we cannot see, and who gave no sign for so long, is dead
BEAT_SECONDS = 3.0  # how often an owner gives one

# Loaded when a URL asks for it: later ones bring clients that are slow to import.
STORES = {
    "memory": "event_log.stores.memory:MemoryStore",
    "jsonl": "event_log.stores.jsonl:JsonlStore",
}


# Those on a server, which are written ahead to local files.
SERVERS = {
    "redis": "event_log.stores.redis:RedisServer",
    "rediss": "event_log.stores.redis:RedisServer",
    "postgresql": "event_log.stores.postgres:PostgresServer",
}


class Store(Protocol):
    """Logs by name: 1 to 64 of A-Z a-z 0-9 _ and -, anything else raises LogNameInvalid.

    A log has one writer: an Owner, which holds it under a fence, a number that is higher with each claim. What this
    store creates or claims is ours until the log is closed or the store is; everybody may read it meanwhile. An owner
    known to be dead is followed at once: a process of this host that has ended, or one that whoever started us says
    has. Others are dead when they gave no sign of life for `LEASE_SECONDS`.

    All methods are for the event loop's thread. Each may raise LogStorageFailed.

    `directory` is where, on this machine, something about the logs can be kept beside them, None: nowhere. It may not
    be there yet.
    """

    @property
    def directory(self) -> str | None: ...

    async def run(self) -> None:
        """What the store does beside: a task for the program to start once, before the first claim. It ends when it is
        cancelled or the store is closed. Without it nothing is lost to a kill, but owners give no signs of life."""

    async def create(self, name: str) -> Log:
        """A new, empty log, which is ours to write. Raises LogExists."""

    async def open(self, name: str) -> Log:
        """The log of that name, to be read and followed, with what others have written until now.

        The same object as long as it is open, so closing it closes it for all who have it, and it is ours to write
        where it was claimed before. Raises LogNotFound.
        """

    async def claim(self, log: Log) -> None:
        """Make an open log of this store ours to write; `log.last` is then what its owners before us have left.

        One that is ours already stays so. Raises LogHeld, LogNotFound, LogClosed; LogDamaged and LogNewer for what can
        be read only: nothing in it is changed, then or later.
        """

    def confirmed(self, name: str) -> int:
        """The number up to which a log that is ours to write is where this store keeps logs: its last one, but for a
        store on a server, which is brought what was written soon after. 0 for a log that is not ours."""

    async def names(self) -> list[str]:
        """The names of all logs, in no particular order."""

    async def recent(self) -> list[tuple[int, str]]:
        """When each log was last written, in nanoseconds of Unix time, and its name; newest first."""

    async def delete(self, name: str) -> None:
        """Close the log and remove it with all it holds. Raises LogNotFound, LogHeld."""

    async def close(self) -> None:
        """Close all logs that are ours, so that others can claim them at once, and let `run` end."""


def open_store(
    url: str, takes_over: Collection[str] = (), beside: str = "", tell: Callable[[str], None] = lambda line: None
) -> Store:
    """The store that a URL names. Raises StoreInvalid.

    It is `memory:`, `jsonl:/an/absolute/directory`, or a server's: `redis://`, `rediss://` or `postgresql://`, then
    `user:password@host:port/database`. A server's has local files in a directory of its own in `beside`.
    `takes_over` names owners whom whoever started us knows to be dead, by id or as `host:pid`. `tell` gets what a
    person should know of the store in the course of time, a line each.
    """
    scheme, colon, rest = url.partition(":")
    if colon and scheme in SERVERS:
        if not os.path.isabs(beside):
            raise StoreInvalid("a store on a server wants an absolute directory for its local files")
        from event_log.stores.address import parse
        from event_log.stores.mirrored import MirroredStore

        address = parse(url)
        directory = os.path.join(beside, address.directory)
        return MirroredStore(_load(SERVERS[scheme])(address), directory, takes_over, tell)
    if not colon or scheme not in STORES:
        known = ", ".join([*(f"{name}:" for name in STORES), *(f"{name}://" for name in SERVERS)])
        raise StoreInvalid(f"a store is named by a URL that starts with one of {known}")
    return cast(Store, _load(STORES[scheme])(rest, takes_over))


def _load(named: str) -> Any:
    module, _, kind = named.partition(":")
    return getattr(import_module(module), kind)


def check_name(name: str) -> None:
    """Raises LogNameInvalid unless the name is one; what is left cannot be a path or a pattern."""
    if not NAME.fullmatch(name):
        raise LogNameInvalid
