"""What has happened since the start, as numbers that only grow: plain ones, as few ask for metrics, and the library
that tells them takes a tenth of a second to load."""

from bisect import bisect_left
from collections import Counter

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
OTHER = "other"
FIRST_WORDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
TURNS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)


class Histogram:
    """How many were at most so many seconds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """Each bound, as metrics write it, with how many were at most that."""
        found, total = [], 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


class Counts:
    """All of them."""

    def __init__(self) -> None:
        self.runs: Counter[tuple[str, str]] = Counter()  # by agent and how they ended
        self.answers: Counter[tuple[str, str, int]] = Counter()  # by method, route and status
        # From the prompt's way to its agent to the first word or thought, and to the end.
        self.first_words = Histogram(FIRST_WORDS)
        self.turns = Histogram(TURNS)

    def ended(self, agent: str, state: str, seconds: float | None) -> None:
        """A run has its end; None where it never came to its agent."""
        self.runs[agent, state] += 1
        if seconds is not None:
            self.turns.add(seconds)

    def answered(self, method: str, route: str | None, status: int) -> None:
        """An HTTP request has its status. What a client makes up is counted together."""
        self.answers[method if method in METHODS else OTHER, route or OTHER, status] += 1
