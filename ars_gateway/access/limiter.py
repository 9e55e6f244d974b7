"""Failures to sign in, counted: who has guessed too often is not listened to for a while, and nobody else suffers.

Five failures in a minute close a bucket for five minutes. Fifty in a minute over all buckets close every bucket that
has never let anybody in. A bucket is an address with its Origin, so that a page cannot lock out another one; a paired
device that has proved its key has a bucket of its own, so that a stranger beside it cannot lock it out.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

FAILURES, GLOBAL_FAILURES, WINDOW, LOCKED = 5, 50, 60.0, 300.0
MOST_BUCKETS = 10_000
MOST_TRUSTED = 1_000


class Limiter:
    """Times are seconds of `clock`, which never goes back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._locked: OrderedDict[str, float] = OrderedDict()
        self._all: deque[float] = deque(maxlen=GLOBAL_FAILURES)
        self._all_locked = 0.0
        self._trusted: OrderedDict[str, None] = OrderedDict()
        self.failures = 0  # since the start

    def wait(self, bucket: str) -> float:
        """Seconds until a try from `bucket` is looked at again; 0: it is now. Asked before anything is compared."""
        now = self._clock()
        until = self._locked.get(bucket, 0.0)
        if bucket not in self._trusted:
            until = max(until, self._all_locked)
        return max(0.0, until - now)

    def failed(self, bucket: str) -> None:
        """A credential was compared and was wrong. One that was missing is no failure."""
        now = self._clock()
        self.failures += 1
        times = self._failures.pop(bucket, None) or deque(maxlen=FAILURES)
        times.append(now)
        self._failures[bucket] = times
        if len(times) == FAILURES and now - times[0] < WINDOW:
            self._locked[bucket] = now + LOCKED
            self._locked.move_to_end(bucket)
            times.clear()
        self._all.append(now)
        if len(self._all) == GLOBAL_FAILURES and now - self._all[0] < WINDOW:
            self._all_locked = now + LOCKED
            self._all.clear()
        _keep(self._failures, MOST_BUCKETS)
        _keep(self._locked, MOST_BUCKETS)

    def entered(self, bucket: str) -> None:
        """Somebody has signed in from here."""
        self._failures.pop(bucket, None)
        self._trusted.pop(bucket, None)
        self._trusted[bucket] = None
        _keep(self._trusted, MOST_TRUSTED)


class Rate:
    """At most `most` of something in any `seconds`, for each name."""

    def __init__(self, most: int, seconds: float, clock: Callable[[], float]) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def wait(self, name: str) -> float:
        """Counts one and returns 0, or returns the seconds until one more is allowed."""
        now = self._clock()
        times = self._times.pop(name, None) or deque(maxlen=self._most)
        self._times[name] = times
        _keep(self._times, MOST_BUCKETS)
        if len(times) == self._most and now - times[0] < self._seconds:
            return self._seconds - (now - times[0])
        times.append(now)
        return 0.0


def _keep(table: OrderedDict[str, Any], most: int) -> None:
    while len(table) > most:
        table.popitem(last=False)
