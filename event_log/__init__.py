"""Append-only, numbered streams of plain dicts, and the stores that hold them. Knows nothing of ACP."""

from event_log.errors import (
    LogClosed,
    LogDamaged,
    LogError,
    LogExists,
    LogNameInvalid,
    LogNotFound,
    LogStorageFailed,
    StoreInvalid,
)
from event_log.log import Entry, Log
from event_log.stores import STORES, Store, open_store

__all__ = [
    "STORES",
    "Entry",
    "Log",
    "LogClosed",
    "LogDamaged",
    "LogError",
    "LogExists",
    "LogNameInvalid",
    "LogNotFound",
    "LogStorageFailed",
    "Store",
    "StoreInvalid",
    "open_store",
]
