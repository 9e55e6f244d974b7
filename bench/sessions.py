"""What sessions cost: in memory, in the store, to load and to list."""

import time
from collections.abc import Iterator

import anyio

from bench.harness import Bench, Figure, warmed
from event_log.stores import open_store

ENTRIES = 10_000


def memory(bench: Bench) -> Iterator[Figure]:
    with bench.agent("mode:ok20") as peer:
        warmed(peer)
        idle = peer.pss()
        for _ in range(50):
            peer.new_session()
        after = peer.pss()
    yield Figure("idle, everything loaded", idle, 65, "MB PSS")
    yield Figure("each further session, of 50", (after - idle) * 1000 / 50, 50, "KB")


async def repeat_turn(url: str, name: str) -> int:
    """Makes a log of one turn long; returns how many entries that has."""
    store = open_store(url)
    log = await store.open(name)
    await store.claim(log)
    turn = [entry for _, entry in log.read(1)]
    for _ in range(ENTRIES // len(turn)):
        log.append(turn)
    await store.close()
    return len(turn)


def load(bench: Bench) -> Iterator[Figure]:
    """How long `session/load` takes in a process that has done nothing else yet."""

    def stored(tokens: int) -> str:
        with bench.agent(f"mode:ok{tokens}") as peer:
            return warmed(peer)

    def loaded(session: str) -> float:
        with bench.agent("mode:ok20") as peer:
            began = time.perf_counter()
            peer.call("session/load", {"sessionId": session, "cwd": "/", "mcpServers": []})
            return (time.perf_counter() - began) * 1000

    long = stored(ENTRIES)
    yield Figure(f"session/load, {ENTRIES:,} entries in one turn", bench.median(lambda: loaded(long)), 300, "ms")
    many = stored(2)
    turn = anyio.run(repeat_turn, f"jsonl:{bench.sessions}", many)
    name = f"session/load, {ENTRIES:,} entries in {ENTRIES // turn:,} turns"
    yield Figure(name, bench.median(lambda: loaded(many)), 300, "ms")
