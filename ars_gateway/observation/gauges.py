"""How the gateway fares: a few numbers every five seconds, of the last ten minutes. Metrics are elsewhere."""

import os
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import anyio

from ars_gateway.observation.counts import Histogram

Json = dict[str, Any]

SECONDS = 5.0
KEPT = 120
# How often it is looked whether the event loop is late.
LOOK_SECONDS = 0.25
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Gauges:
    """The series. What is `noted` meanwhile counts by its largest value. `clock` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float], first_words: Histogram) -> None:
        self._clock = clock
        self._first_words = first_words
        self._words = (0, 0.0)
        self._worst: dict[str, float] = {}
        self._cpu = (clock(), time.process_time())
        self.series: dict[str, deque[float | None]] = {
            name: deque(maxlen=KEPT) for name in ("loopLagMs", "firstTokenMs", "deliverMs", "rssBytes", "cpuPercent")
        }

    def noted(self, name: str, seconds: float) -> None:
        """Something has taken so long."""
        self._worst[name] = max(self._worst.get(name, 0.0), seconds * 1000)

    async def run(self) -> None:
        """Measures until it is cancelled."""
        while True:
            due = self._clock() + SECONDS
            while (now := self._clock()) < due:
                await anyio.sleep(LOOK_SECONDS)
                self.noted("loopLagMs", max(0.0, self._clock() - now - LOOK_SECONDS))
            self.sample()

    def sample(self) -> None:
        """Ends an interval."""
        worst, self._worst = self._worst, {}
        self.series["firstTokenMs"].append(self._first_token())
        for name in ("loopLagMs", "deliverMs"):
            self.series[name].append(round(worst[name], 2) if name in worst else None)
        self.series["rssBytes"].append(rss())
        self.series["cpuPercent"].append(self.cpu_percent())

    def _first_token(self) -> float | None:
        """The mean of the runs whose agent has said its first word meanwhile."""
        (count, total), self._words = self._words, (sum(self._first_words.counts), self._first_words.sum)
        runs = self._words[0] - count
        return round((self._words[1] - total) / runs * 1000, 2) if runs else None

    def cpu_percent(self) -> float:
        """Of one processor, since it was last asked."""
        (at, used), self._cpu = self._cpu, (self._clock(), time.process_time())
        passed = self._cpu[0] - at
        return round((self._cpu[1] - used) / passed * 100, 1) if passed > 0 else 0.0


def rss(pid: int | None = None) -> int | None:
    """The bytes in memory of this process, or another one's; None where it is gone or the system does not tell."""
    try:
        with open(f"/proc/{'self' if pid is None else pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return None


def rss_of_groups(leaders: list[int]) -> dict[int, int]:
    """The bytes in memory of the process groups that these processes are in, by their pids; ours is no such group."""
    if not sys.platform.startswith("linux") or not leaders:
        return {}
    wanted: dict[int, list[int]] = {}
    for pid in leaders:
        try:
            wanted.setdefault(os.getpgid(pid), []).append(pid)
        except ProcessLookupError:
            continue
    wanted.pop(os.getpgrp(), None)
    found: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            group = os.getpgid(int(name))
        except (ProcessLookupError, PermissionError):
            continue
        for pid in wanted.get(group, ()):
            found[pid] = found.get(pid, 0) + (rss(int(name)) or 0)
    return found
