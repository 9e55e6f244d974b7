"""Signs of life: whatever an agent says is one. A silent one is asked for one, and given up where none comes."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import anyio

from connector.generation import Generation

# No agent knows it; an error is as good an answer as any.
PING = "_ars/ping"
# Where we ourselves stood still for so long, the agent's answer may be waiting to be read.
LATE_SECONDS = 1.0


@dataclass
class Pulse:
    """What to do next about an agent that must not be silent for `limit` seconds. Pure: it is told the time."""

    limit: float
    asked: float | None = None

    def next(self, now: float, heard: float, *, answers: bool) -> tuple[str, float]:
        """`wait`, `ask` or `wedged`, and until when to wait.

        `heard` is when it last said something, `answers` whether it is expected to answer now.
        """
        if self.asked is not None and heard >= self.asked:
            self.asked = None
        if self.asked is None:
            if now < heard + self.limit / 2:
                return "wait", heard + self.limit / 2
            if not answers:
                return "wait", now + self.limit / 2
            self.asked = now
            return "ask", self._patience(heard)
        if now < self._patience(heard):
            return "wait", self._patience(heard)
        return "wedged", math.inf

    def stood_still(self, now: float) -> None:
        """We have read nothing for a while, whatever it said: it gets the whole time for the answer once more."""
        if self.asked is not None:
            self.asked = now

    def _patience(self, heard: float) -> float:
        assert self.asked is not None
        return max(heard + self.limit, self.asked + self.limit / 2)


async def watch(generation: Generation, limit: float, expected: Callable[[], bool]) -> None:
    """Gives the process up when it shows no life for `limit` seconds. `expected` says whether it answers now.

    Returns when it was given up; to be cancelled when it has ended by itself.
    """
    pulse = Pulse(limit)
    while True:
        now = anyio.current_time()
        what, until = pulse.next(now, generation.heard, answers=expected())
        if what == "wedged":
            await generation.give_up(f"it showed no sign of life for {limit:g} s and was killed")
            return
        if what == "ask":
            generation.knock(PING)
        await anyio.sleep_until(until)
        if anyio.current_time() - until > LATE_SECONDS:
            pulse.stood_still(anyio.current_time())
