"""When an agent that has ended may be started again, and when it has failed. Pure: who asks says what time it is."""

import random
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Restarts:
    """How often and how soon, in seconds of a clock that nobody sets.

    The first restart is immediate, the next come `delay`, `delay * factor`, … after the end, `longest` at most, each
    up to `jitter` of itself earlier or later. After `stable` seconds of work the next one is a first one again.
    `most` restarts within `within` are all there are.
    """

    most: int = 4
    within: float = 180.0
    delay: float = 0.25
    factor: float = 2.0
    longest: float = 30.0
    jitter: float = 0.25
    stable: float = 10.0


DEFAULT = Restarts()


class Backoff:
    """The restarts of one agent so far."""

    def __init__(self, restarts: Restarts = DEFAULT, chance: random.Random | None = None) -> None:
        self.restarts = restarts
        self._chance = chance or random.Random()
        self._at: deque[float] = deque()
        self._in_a_row = 0
        self._ready_since: float | None = None

    @property
    def used(self) -> int:
        """How many restarts still count, as of the last question."""
        return len(self._at)

    def ready(self, now: float) -> None:
        """It works."""
        self._ready_since = now

    def after_end(self, now: float) -> float | None:
        """How long to wait before the restart, which is counted; None where there is none any more."""
        rules = self.restarts
        if self._ready_since is not None and now - self._ready_since >= rules.stable:
            self._in_a_row = 0
        self._ready_since = None
        while self._at and now - self._at[0] >= rules.within:
            self._at.popleft()
        if len(self._at) >= rules.most:
            return None
        delay = self._delay()
        self._in_a_row += 1
        self._at.append(now + delay)
        return delay

    def reset(self) -> None:
        """Nothing counts any more."""
        self._at.clear()
        self._in_a_row = 0

    def _delay(self) -> float:
        rules = self.restarts
        if self._in_a_row == 0:
            return 0.0
        # The exponent is bounded: a float is not.
        whole = min(rules.delay * rules.factor ** min(self._in_a_row - 1, 64), rules.longest)
        return whole * (1 + self._chance.uniform(-rules.jitter, rules.jitter))
