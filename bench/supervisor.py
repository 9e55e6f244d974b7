"""What a supervised ars-acp costs: a session on a spare, a recovery, and 50 agents that are at nothing."""

import asyncio
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.harness import ROOT, Bench, Figure
from connector import VENDORS, AgentInterrupted, Client, Command, Restarts, Supervised, Supervisor

KILLS = 15
AGENTS = 50
IDLE_SECONDS = 20
OFTEN = Restarts(most=10_000, stable=0)
ECHO = Command("echo", [sys.executable, str(ROOT / "fixtures" / "agents" / "echo.py")])


def supervisor(bench: Bench) -> Iterator[Figure]:
    yield Figure("supervisor: new session of ars-acp, from a spare", statistics.median(_run(sessions(bench))), 30, "ms")
    for spares, limit in ((0, 1000), (1, 200)):
        took = sorted(_run(recoveries(bench, spares)))
        name = f"supervisor: SIGKILL in mid-stream → settled, {'from a spare' if spares else 'cold'}"
        yield Figure(f"{name}, median", statistics.median(took), None, "ms")
        yield Figure(f"{name}, p95 of {KILLS}", took[int(len(took) * 0.95)], limit, "ms")
    yield Figure(f"supervisor: {AGENTS} idle agents, our processor", _run(idle()) * 100, 1, "%")


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def started(bench: Bench, running: Supervisor, name: str, home: str, spares: int) -> Supervised:
    """One more ars-acp, at the model server of the benchmarks."""
    row = VENDORS["ars"]
    argv = (str(Path(sys.executable).parent / "ars-acp"),)
    agent = replace(row, argv=argv, env=bench.environment("mode:rate500x60000"), credentials=(), settings=())
    return running.add(name, agent, Client(), cwd=home, spares=spares, restarts=OFTEN)


async def sessions(bench: Bench) -> list[float]:
    """Milliseconds from wanting an agent to having a session of it."""
    took = []
    with tempfile.TemporaryDirectory() as home:
        async with Supervisor() as running:
            first = started(bench, running, "first", home, 1)
            for number in range(bench.runs):
                await first.prepared()
                # A spare that is left alone has loaded what a turn needs, as it would have.
                await asyncio.sleep(2)
                began = time.perf_counter()
                agent = started(bench, running, f"agent {number}", home, 0)
                await agent.new_session(home)
                took.append((time.perf_counter() - began) * 1000)
                await running.remove(agent.name)
    return took


async def recoveries(bench: Bench, spares: int) -> list[float]:
    """Milliseconds from the kill until the session is ready again and the turn has its end."""
    took = []
    with tempfile.TemporaryDirectory() as home:
        async with Supervisor() as running:
            agent = started(bench, running, "ars", home, spares)
            for _ in range(KILLS):
                await agent.prepared()
                await asyncio.sleep(2 * spares)
                session = await agent.new_session(home)
                turn = session.start("go")
                async for update in turn:
                    if update.session_update == "agent_message_chunk":
                        break
                began = time.perf_counter()
                os.kill(agent.status().pid or 0, signal.SIGKILL)
                try:
                    await turn.result()
                except AgentInterrupted:
                    took.append((time.perf_counter() - began) * 1000)
                assert agent.state == "ready"
                await session.close()
    return took


async def idle() -> float:
    """The part of a processor that we use while every agent is only asked whether it lives."""
    async with Supervisor() as running:
        agents = [running.add(str(number), ECHO, Client(), cwd="/") for number in range(AGENTS)]
        for agent in agents:
            await agent.reached("ready")
        used, began = time.process_time(), time.perf_counter()
        await asyncio.sleep(IDLE_SECONDS)
        return (time.process_time() - used) / (time.perf_counter() - began)
