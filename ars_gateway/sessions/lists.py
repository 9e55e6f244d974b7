"""Lists of sessions that were made already: as JSON, until something changes."""

from typing import Any

import orjson

from ars_gateway.protocol.frames import encoded

Json = dict[str, Any]
MOST_LISTS, MOST_BYTES = 256, 16 * 1024 * 1024


class Lists:
    """Lists that were made already, as JSON; none of them outlives a change."""

    def __init__(self) -> None:
        self._made: dict[bytes, tuple[int, orjson.Fragment]] = {}
        self._size = 0

    def forget(self) -> None:
        """Something has changed."""
        self._made.clear()
        self._size = 0

    def get(self, key: bytes) -> tuple[int, orjson.Fragment] | None:
        """How many rows that list has, and the list."""
        return self._made.get(key)

    def put(self, key: bytes, rows: list[Json]) -> tuple[int, orjson.Fragment]:
        """Keeps a list."""
        text = encoded(rows)
        size = len(key) + len(text)
        if len(self._made) >= MOST_LISTS or self._size + size > MOST_BYTES:
            self.forget()
        made = len(rows), orjson.Fragment(text)
        if size <= MOST_BYTES:
            self._made[key] = made
            self._size += size
        return made
