"""What the agents have reported of tokens and cost, per day."""

import datetime
from typing import Any

from ars_gateway.index import Index

Json = dict[str, Any]

_TABLE = """CREATE TABLE IF NOT EXISTS usage (
    principal TEXT NOT NULL, day TEXT NOT NULL, agent TEXT NOT NULL,
    input INTEGER NOT NULL DEFAULT 0, output INTEGER NOT NULL DEFAULT 0,
    cache_read INTEGER NOT NULL DEFAULT 0, cache_write INTEGER NOT NULL DEFAULT 0,
    total INTEGER NOT NULL DEFAULT 0, cost REAL NOT NULL DEFAULT 0, missing INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (principal, day, agent)) WITHOUT ROWID"""
_ADD = """INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    input = input + excluded.input, output = output + excluded.output,
    cache_read = cache_read + excluded.cache_read, cache_write = cache_write + excluded.cache_write,
    total = total + excluded.total, cost = cost + excluded.cost, missing = missing + excluded.missing"""
_NAMES = ("input", "output", "cacheRead", "cacheWrite", "totalTokens", "totalCost", "missingCostEntries")


class Spending:
    """Sums per principal, day (in local time) and agent."""

    def __init__(self, index: Index) -> None:
        self._index = index
        index.execute(_TABLE)

    def add(
        self,
        principal: str,
        agent: str,
        *,
        input: int = 0,
        output: int = 0,
        cache_read: int = 0,
        cache_write: int = 0,
        total: int | None = None,
        cost: float | None = None,
    ) -> None:
        """Adds what one run has used; `cost` None: nobody has told what it cost."""
        total = input + output + cache_read + cache_write if total is None else total
        numbers = (input, output, cache_read, cache_write, total, cost or 0.0, int(cost is None))
        self._index.write((_ADD, (principal, today().isoformat(), agent, *numbers)))

    def daily(self, principal: str, days: int) -> list[Json]:
        """A row for each of the last `days` days on which something was used, the oldest first."""
        since = today() - datetime.timedelta(days=days - 1)
        rows = self._index.execute(
            "SELECT day, sum(input), sum(output), sum(cache_read), sum(cache_write), sum(total), sum(cost), "
            "sum(missing) FROM usage WHERE principal = ? AND day >= ? GROUP BY day ORDER BY day",
            (principal, since.isoformat()),
        )
        return [{"date": day, **_named(numbers)} for day, *numbers in rows]


def totals(daily: list[Json]) -> Json:
    """The sums of those rows."""
    return _named([sum(row[name] for row in daily) for name in _NAMES])


def today() -> datetime.date:
    """The day here."""
    return datetime.date.today()


def _named(numbers: list[Any]) -> Json:
    named = dict(zip(_NAMES, numbers, strict=True))
    # A sum of floats that is a whole number is told as one, as 0 is.
    cost = round(named["totalCost"], 9)
    return {**named, "totalCost": int(cost) if cost == int(cost) else cost}
