"""What sessions cost: in memory, in the store, to load and to list."""

import tempfile
import time
from collections.abc import Iterator

import anyio

from ars_acp.session import new_session_id, opening_entry
from ars_acp.sessions import PAGE
from bench.harness import Bench, Figure, warmed
from event_log.stores import open_store

ENTRIES = 10_000  # of one session
STORED = 10_000  # sessions
OF_ONE_PROJECT = 20  # of them
IDLE = 1_000  # sessions


def memory(bench: Bench) -> Iterator[Figure]:
    with bench.agent("mode:ok20") as peer:
        time.sleep(2)
        yield Figure("initialized, idle 2 s", peer.pss(), 65, "MB PSS")
    with bench.agent("mode:ok20") as peer:
        warmed(peer)
        idle, files = peer.pss(), peer.descriptors()
        yield Figure("idle, everything loaded", idle, 65, "MB PSS")
        for _ in range(50):
            peer.new_session()
        after = peer.pss()
        yield Figure("each further session, of 50", (after - idle) * 1000 / 50, 50, "KB")
        for _ in range(IDLE - 51):
            peer.prompt(peer.new_session())
        yield Figure(f"{IDLE:,} idle sessions, above the first", peer.pss() - idle, 100, "MB PSS")
        yield Figure("descriptors that they hold", peer.descriptors() - files, 10, "")


def listing(bench: Bench) -> Iterator[Figure]:
    """How long the first page of `session/list` takes in a process that has done nothing else yet."""
    with tempfile.TemporaryDirectory() as place:
        anyio.run(fill, f"jsonl:{place}")

        def listed(**of: str) -> float:
            with bench.agent("mode:ok20", "--store", f"jsonl:{place}") as peer:
                began = time.perf_counter()
                page, _ = peer.call("session/list", of)
                assert len(page["sessions"]) == (OF_ONE_PROJECT if of else PAGE)
                return (time.perf_counter() - began) * 1000

        def of_one() -> float:
            return listed(cwd="/project/7")

        yield Figure(f"list of {STORED:,} sessions, ever the first of one project", of_one(), None, "ms")
        yield Figure("the same in the next process", bench.median(of_one), 100, "ms")
        yield Figure("first page of all, in a new process", bench.median(listed), 100, "ms")


async def fill(url: str) -> None:
    """Stores many sessions of many projects."""
    store = open_store(url)
    for number in range(STORED):
        log = await store.create(new_session_id())
        log.append([opening_entry(f"/project/{number // OF_ONE_PROJECT}", (), "ask")])
        log.append([{"type": "text", "text": " token"}] * 50)
        log.append([{"type": "title", "title": f"What was asked in session {number}"}])
        log.close()
    await store.close()


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
