"""Lists of sessions that were made already: as JSON, until something changes."""

from typing import Any

import orjson

Json = dict[str, Any]
MOST_LISTS = 256


class Lists:
    """Lists that were made already, as JSON; none of them outlives a change."""

    def __init__(self) -> None:
        self._made: dict[bytes, tuple[int, orjson.Fragment]] = {}

    def forget(self) -> None:
        """Something has changed."""
        self._made.clear()

    def get(self, key: bytes) -> tuple[int, orjson.Fragment] | None:
        """How many rows that list has, and the list."""
        return self._made.get(key)

    def put(self, key: bytes, rows: list[Json]) -> tuple[int, orjson.Fragment]:
        """Keeps a list."""
        if len(self._made) >= MOST_LISTS:
            self._made.clear()
        made = self._made[key] = (len(rows), orjson.Fragment(orjson.dumps(rows)))
        return made
