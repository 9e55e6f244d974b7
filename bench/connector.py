"""What the connector costs between an agent's pipe and the caller, and what it keeps for each agent."""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from bench.harness import Bench, Figure
from connector import Client, Command, Connector, Session, guarded, keeping, launch
from event_log.stores import Store

UPDATES = 20_000
STAMPS = 50
AGENTS = 20
WARMING = 5
AGENT = Command("flood", [sys.executable, str(Path(__file__).parent / "flood_agent.py")])


def connector(bench: Bench) -> Iterator[Figure]:
    costs, rates = zip(*(_run(flood) for _ in range(bench.runs)), strict=True)
    yield Figure("connector: CPU per update", statistics.median(costs), 15, "µs")
    yield Figure("connector: updates of one agent", statistics.median(rates), 30_000, "updates/s", at_least=True)
    recorded = statistics.median(_run(flood_recorded)[1] for _ in range(bench.runs))
    yield Figure("connector: updates recorded in jsonl", recorded, 20_000, "updates/s", at_least=True)
    followed = statistics.median(_run(flood_followed) for _ in range(bench.runs))
    yield Figure("connector: the same, while a reader follows", followed, None, "updates/s")
    yield Figure("connector: update written → seen", statistics.median(_run(stamps)), 1, "ms")
    yield Figure(f"connector: each further agent, of {AGENTS}", _run(memory), 1, "MB PSS")
    first, further = zip(*(_run(starts) for _ in range(bench.runs)), strict=True)
    yield Figure("connector: first command, guardian included", statistics.median(first), None, "ms")
    yield Figure("connector: each further command", statistics.median(further), None, "ms")


def _run(measure: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(measure())


async def agent(stack: AsyncExitStack, store: Store | None = None) -> tuple[Connector, Session]:
    """One more agent, and a session in which it has answered once."""
    running = await stack.enter_async_context(launch(AGENT, Client(), cwd="/", store=store))
    session = await running.new_session("/")
    await session.prompt("flood 10")
    return running, session


async def flood(url: str = "memory:") -> tuple[float, float]:
    """Microseconds of our processor per update, and updates per second."""
    async with AsyncExitStack() as stack:
        _, session = await agent(stack, await stack.enter_async_context(keeping(url)))
        used, began, seen = time.process_time(), time.perf_counter(), 0
        async for _ in session.stream(f"flood {UPDATES}"):
            seen += 1
        assert seen == UPDATES
        took = time.perf_counter() - began
        return (time.process_time() - used) / UPDATES * 1e6, UPDATES / took


async def flood_recorded() -> tuple[float, float]:
    """As `flood`, with the record in files."""
    with tempfile.TemporaryDirectory() as place:
        return await flood(f"jsonl:{place}")


async def flood_followed() -> float:
    """Updates per second until a reader who follows the record in a file has all of them."""
    with tempfile.TemporaryDirectory() as place:
        async with AsyncExitStack() as stack:
            _, session = await agent(stack, await stack.enter_async_context(keeping(f"jsonl:{place}")))
            began, seen = time.perf_counter(), 0
            session.start(f"flood {UPDATES}")
            async for _, entry in session.record.follow(session.record.last):
                seen += entry["type"] == "update"
                if seen == UPDATES:
                    break
            return UPDATES / (time.perf_counter() - began)


async def stamps() -> list[float]:
    """Milliseconds between the writing of each update and the caller's getting it."""
    async with AsyncExitStack() as stack:
        _, session = await agent(stack)
        return [
            (time.perf_counter_ns() - int(update.content.text)) / 1e6
            async for update in session.stream(f"stamp {STAMPS}")
        ]


async def memory() -> float:
    """MB that we, the guardian and its keepers grow by for one more agent."""
    async with AsyncExitStack() as stack:
        running = [(await agent(stack))[0] for _ in range(WARMING)]
        before = _pss(running)
        running += [(await agent(stack))[0] for _ in range(AGENTS)]
        return (_pss(running) - before) / AGENTS


def _pss(running: list[Connector]) -> float:
    keepers = {_parent(connector.pid) for connector in running}
    found = 0.0
    for pid in {os.getpid(), *keepers, *map(_parent, keepers)}:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                found += int(line.split()[1]) / 1000
    return found


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def starts() -> tuple[float, float]:
    """Milliseconds that the first command of a process keeps the event loop, and a further one."""
    program = ("import asyncio, sys, bench.connector as it; print(*asyncio.run(it.timed_starts()))",)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", *program, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    first, further = map(float, said.split())
    return first, further


async def timed_starts() -> tuple[float, float]:
    """`starts`, in a process of its own."""
    directory, nothing = os.open("/", os.O_RDONLY), os.open(os.devnull, os.O_RDWR)
    took = []
    for _ in range(6):
        began = time.perf_counter()
        child = guarded.start(["/bin/true"], env={}, directory=directory, stdin=nothing, stdout=nothing, stderr=nothing)
        took.append((time.perf_counter() - began) * 1000)
        await child.finish()
    return took[0], statistics.median(took[1:])
