"""When to ask again: back-off with jitter, and what a Retry-After header asks for. Pure."""

import math
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRIED_STATUS = frozenset({408, 409, 425, 429})
JITTER = 0.25


def is_transient(status: int) -> bool:
    """Whether the same request may succeed later, going by the HTTP status."""
    return status in RETRIED_STATUS or status >= 500


def backoff(failures: int, first: float, cap: float) -> float:
    """Seconds to wait after so many failures: `first` doubled each time up to `cap`, less up to a quarter by chance."""
    return min(cap, first * 2.0 ** (failures - 1)) * (1 - JITTER * random.random())


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that the server asks to wait: Retry-After-Ms, else Retry-After as seconds or date (RFC 9110, 10.2.3).

    None when it asks for nothing that makes sense: not a number, negative, a date that has passed, two values.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        seconds = _number(value, unit)
        if seconds is None and unit == 1.0:
            seconds = _until(value, now or datetime.now(UTC))
        if seconds is not None and seconds > 0:
            return seconds
    return None


def _number(value: str, unit: float) -> float | None:
    try:
        number = float(value) * unit
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _until(value: str, now: datetime) -> float | None:
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return (date - now).total_seconds()
