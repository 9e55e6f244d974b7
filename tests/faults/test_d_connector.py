"""D2, D3, D9, C5: agents that will not end, that end a thousand times, and that speak after their turn."""

import gc
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest

from connector import Client, Command, Limits, launch
from tests.support.trees import killed_supervisor

AGENTS = Path(__file__).parents[2] / "fixtures" / "agents"
AT_ONCE = 4  # their start-up is what takes the processor, not their end
Count = Callable[[int, int], int]
AtMost = Callable[[float], float]
Record = Callable[[str, str, str, bool], None]


def agent(name: str) -> Command:
    return Command(name, [sys.executable, "-S", str(AGENTS / f"{name}.py")])


@pytest.mark.faults("D2")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the guardian needs Linux")
def test_nothing_outlives_a_killed_supervisor(count: Count, record: Record, at_most: AtMost) -> None:
    kills = count(100, 2)
    with ThreadPoolExecutor(2) as threads:  # their start takes far longer than their end
        took = sorted(threads.map(lambda number: killed_supervisor(), range(kills)))
    orphans = kills - len(took)
    measured = (
        f"{kills} kills, {orphans} orphans, p50 {took[kills // 2] * 1000:.0f} ms, slowest {took[-1] * 1000:.0f} ms"
    )
    record(
        "D2",
        "0 orphans in 100 SIGKILLs of the supervisor, <= 0.5 s",
        measured,
        orphans == 0 and took[-1] <= at_most(0.5),
    )


@pytest.mark.faults("D3")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what has left its group is found by Linux only")
async def test_trees_that_ignore_everything_are_gone_within_three_seconds(
    tmp_path: Path, count: Count, record: Record, at_most: AtMost
) -> None:
    trees = count(100, 2)
    slowest, pidfds = 0.0, []
    limit = anyio.CapacityLimiter(AT_ONCE)

    async def one(number: int) -> None:
        nonlocal slowest
        async with limit:
            command = agent("stubborn")
            if number % 2:  # as package runners do: the agent is a child of what was started
                command = Command("wrapped", ["sh", "-c", '"$@"; exit', "sh", *command.argv])
            async with launch(command, Client(), cwd=str(tmp_path)) as connector:
                session = await connector.new_session(str(tmp_path))
                turn = await session.prompt("who")
                pids = {connector.pid, *map(int, turn.text.split())}
                pidfds.extend(map(os.pidfd_open, pids))
                began = time.monotonic()
            slowest = max(slowest, time.monotonic() - began)

    with anyio.fail_after(100):
        async with anyio.create_task_group() as tasks:
            for number in range(trees):
                tasks.start_soon(one, number)
    orphans = 0
    for fd in pidfds:
        with anyio.move_on_after(20) as waiting:
            await anyio.wait_readable(fd)
        orphans += waiting.cancelled_caught
        os.close(fd)
    measured = f"{trees} trees, slowest {slowest:.2f} s, {orphans} orphans of {len(pidfds)} processes"
    record("D3", "100 trees closed in <= 3 s each, 0 orphans", measured, slowest <= at_most(3) and orphans == 0)
    assert len(pidfds) == 4 * trees + trees // 2


def rss() -> int:
    """KiB of this process; 0 where that is not told."""
    gc.collect()
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)


@pytest.mark.faults("D9")
async def test_many_agents_leave_nothing_behind(tmp_path: Path, count: Count, record: Record) -> None:
    cycles = count(1000, 10)

    async def cycle() -> int:
        async with launch(agent("echo"), Client(), cwd=str(tmp_path), limits=Limits(late=0)) as connector:
            session = await connector.new_session(str(tmp_path))
            await session.prompt("x")
            return connector.pid

    for _ in range(count(50, 3)):
        await cycle()
    before, used = len(os.listdir("/dev/fd")), rss()
    pids = [await cycle() for _ in range(cycles)]
    more, grown = len(os.listdir("/dev/fd")) - before, (rss() - used) / 1024
    left = [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
    measured = f"{cycles} cycles, {more:+} descriptors, {len(left)} processes, RSS {grown:+.1f} MiB"
    held = more == 0 and left == [] and grown <= 5
    record("D9", "1,000 spawn and close cycles, +0 descriptors, 0 zombies, RSS +<= 5 MiB", measured, held)


@pytest.mark.faults("C5")
async def test_late_updates_are_kept_and_stay_with_their_turn(tmp_path: Path, count: Count, record: Record) -> None:
    prompts = count(1000, 6)
    sessions, wrong, marked = count(20, 2), 0, 0
    limits = Limits(late=count(250, 1000) / 1000)

    async def one() -> None:
        nonlocal wrong, marked
        async with launch(agent("late"), Client(), cwd=str(tmp_path), limits=limits) as connector:
            session = await connector.new_session(str(tmp_path))
            for number in range(prompts // sessions + 1):
                await session.prompt(str(number))
            for number, turn in enumerate(session.turns[:-1]):
                wrong += turn.text != f"early {number} late {number}"
                marked += len(turn.late)

    with anyio.fail_after(110):
        async with anyio.create_task_group() as tasks:
            for _ in range(sessions):
                tasks.start_soon(one)
    measured = f"{marked} late of {prompts}, {wrong} lost or with another turn"
    # What comes in one read with the answer may still be filed as the turn's own, which it is.
    held = wrong == 0 and marked >= prompts * 0.9
    record("C5", "1,000 updates after the answer, 0 lost, 0 with another turn", measured, held)
