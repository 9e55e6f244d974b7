"""What a store costs: an entry on its way into a file, and tokens a second where sessions are kept on a server."""

import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import anyio
from anyio.from_thread import start_blocking_portal
from anyio.lowlevel import checkpoint

from bench.harness import FAST, TOKENS, Bench, Figure, warmed
from event_log.stores import open_store
from tests.support.servers import ORDINARY, space

ENTRIES = 10_000


def append(bench: Bench) -> Iterator[Figure]:
    """What one piece of a reply costs on its way into the store's file, alone and among those that came with it."""

    def once(together: int) -> float:
        with tempfile.TemporaryDirectory() as place:
            return anyio.run(append_time, f"jsonl:{place}", together)

    yield Figure("append to jsonl, an entry at a time", bench.median(lambda: once(1)), 10, "µs")
    yield Figure("append to jsonl, an entry among 32", bench.median(lambda: once(32)), None, "µs")


async def append_time(url: str, together: int) -> float:
    """Microseconds that an entry takes, while the store has the disk take what was written as it does in the agent."""
    store = open_store(url)
    entries = [{"type": "text", "text": " token"}] * together
    async with anyio.create_task_group() as beside:
        beside.start_soon(store.run)
        log = await store.create("bench")
        began = time.perf_counter()
        for count in range(ENTRIES // together):
            log.append(entries)
            if count % 32 == 0:
                await checkpoint()
        took = time.perf_counter() - began
        await store.close()
        beside.cancel_scope.cancel()
    return took * 1e6 / ENTRIES


def servers(bench: Bench) -> Iterator[Figure]:
    """Tokens a second with each server beside those with jsonl, in turns, so that all have the same moments."""
    rates: dict[str, list[float]] = {}
    with start_blocking_portal() as portal, ExitStack() as open_now:
        stores = {"jsonl": "jsonl:" + open_now.enter_context(tempfile.TemporaryDirectory())}
        for name in filter(answers, ORDINARY):
            stores[name] = open_now.enter_context(portal.wrap_async_context_manager(space(ORDINARY[name])))
        peers = {name: open_now.enter_context(bench.agent(FAST, "--store", url)) for name, url in stores.items()}
        sessions = {name: warmed(peer) for name, peer in peers.items()}
        for _ in range(2 * bench.runs + 1):
            for name, peer in peers.items():
                began = time.perf_counter()
                rates.setdefault(name, []).append(TOKENS / (peer.prompt(sessions[name])[-1][0] - began))
    for name in stores:
        if name == "jsonl":
            continue
        share = statistics.median(kept / file for kept, file in zip(rates[name], rates["jsonl"], strict=True))
        yield Figure(f"tokens/s kept in {name}, of those in jsonl", share * 100, 90, "%", at_least=True)


def answers(name: str) -> bool:
    """Whether that server runs here; who reads the figures is told where it does not."""
    address = urlsplit(ORDINARY[name])
    try:
        socket.create_connection((address.hostname or "", address.port or 0), 2).close()
    except OSError:
        print(f"*** no {name} server at {address.hostname}:{address.port}: NOT MEASURED ***", file=sys.stderr)
        return False
    return True
