"""Append-only, numbered streams of plain dicts, and the stores that hold them. Knows nothing of ACP."""

from event_log.errors import (
    LogClosed,
    LogDamaged,
    LogError,
    LogExists,
    LogHeld,
    LogLost,
    LogNameInvalid,
    LogNewer,
    LogNotFound,
    LogNotHeld,
    LogStorageFailed,
    StoreInvalid,
    StoreUnreachable,
)
from event_log.log import Entry, Log
from event_log.owner import Owner
from event_log.stores import STORES, Store, open_store

__all__ = [
    "STORES",
    "Entry",
    "Log",
    "LogClosed",
    "LogDamaged",
    "LogError",
    "LogExists",
    "LogHeld",
    "LogLost",
    "LogNameInvalid",
    "LogNewer",
    "LogNotFound",
    "LogNotHeld",
    "LogStorageFailed",
    "Owner",
    "Store",
    "StoreInvalid",
    "StoreUnreachable",
    "open_store",
]
