"""Store: where logs are kept, by name; and STORES, which ones there are, by the scheme of their URL."""

import re
from collections.abc import Iterator
from importlib import import_module
from typing import Protocol, cast

from event_log.errors import LogNameInvalid, StoreInvalid
from event_log.log import Log

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

# Loaded when a URL asks for it: later ones bring clients that are slow to import.
STORES = {
    "memory": "event_log.stores.memory:MemoryStore",
    "jsonl": "event_log.stores.jsonl:JsonlStore",
}


class Store(Protocol):
    """Logs by name: 1 to 64 of A-Z a-z 0-9 _ and -, anything else raises LogNameInvalid."""

    def create(self, name: str) -> Log:
        """A new, empty log. Raises LogExists, LogStorageFailed."""

    def open(self, name: str) -> Log:
        """The log of that name; the same object as long as it is open, so closing it closes it for all who have it.

        Raises LogNotFound, LogDamaged, LogStorageFailed.
        """

    def names(self) -> Iterator[str]:
        """The names of all logs, in no particular order. Raises LogStorageFailed."""

    def recent(self) -> list[tuple[int, str]]:
        """When each log was last written, in nanoseconds of Unix time, and its name; newest first.

        Raises LogStorageFailed.
        """

    def delete(self, name: str) -> None:
        """Close the log and remove it with all it holds. Raises LogNotFound, LogStorageFailed."""


def open_store(url: str) -> Store:
    """The store that a URL names: `memory:` or `jsonl:/an/absolute/directory`. Raises StoreInvalid."""
    scheme, colon, rest = url.partition(":")
    if not colon or scheme not in STORES:
        known = ", ".join(f"{name}:" for name in STORES)
        raise StoreInvalid(f"a store is named by a URL that starts with one of {known}")
    module, _, kind = STORES[scheme].partition(":")
    return cast(Store, getattr(import_module(module), kind)(rest))


def check_name(name: str) -> None:
    """Raises LogNameInvalid unless the name is one; what is left cannot be a path or a pattern."""
    if not NAME.fullmatch(name):
        raise LogNameInvalid
