"""How long a start takes, beside what bare Python programs take on the same machine at the same time."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from bench.harness import Bench, Figure
from bench.peer import Peer


def bare_start(program: str) -> Callable[[], float]:
    """Milliseconds that a bare interpreter takes for `program`."""

    def once() -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], check=True)
        return (time.perf_counter() - began) * 1000

    return once


def start(bench: Bench) -> Iterator[Figure]:
    yield Figure("bare python -c pass", bench.median(bare_start("pass")), None, "ms")
    yield Figure("bare python -c 'import asyncio, json'", bench.median(bare_start("import asyncio, json")), None, "ms")
    ours, bare = [], []
    for _ in range(2 * bench.runs + 1):  # in turns, so that both have the machine's same moments
        ours.append(start_times(bench.spawn()))
        bare.append(start_times(Peer({}, command=[sys.executable, "-m", "bench.bare_agent"])))
    initialized, created = (statistics.median(times) for times in zip(*ours, strict=True))
    least = statistics.median(time for _, time in bare)
    yield Figure("bare asyncio agent: spawn → session/new", least, None, "ms")
    yield Figure("spawn → initialize", initialized, None, "ms")
    yield Figure("spawn → session/new", created, 180, "ms")
    yield Figure("the same, in starts of the bare agent", created / least, round(180 / 57, 2), "×")


def start_times(peer: Peer) -> tuple[float, float]:
    """Milliseconds from the spawn to the answers to `initialize` and `session/new`."""
    initialized = peer.initialize()
    peer.new_session()
    created = time.perf_counter()
    peer.process.kill()
    peer.process.wait()
    return (initialized - peer.began) * 1000, (created - peer.began) * 1000
