"""D4-D7, D11: how the supervisor takes ends, crash loops, standstills and shortages; and what it costs when idle."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from connector import AgentInterrupted, AgentUnavailable, Client, Command, Supervised, Supervisor, guarded
from tests.faults.test_d_ends import ENDS
from tests.support.supervised import QUICK, Mortal, command, mortal
from tests.support.waiting import until

Record = Callable[[str, str, str, bool], None]
LINUX = sys.platform.startswith("linux")
MOMENTS = ("initialize", "session/new", "session/prompt", "idle")


@pytest.mark.faults("D4")
async def test_an_agent_that_ends_at_any_moment_is_back_and_its_end_told(tmp_path: Path, record: Record) -> None:
    right, times = 0, []
    for status, told in ENDS.items():
        for moment in MOMENTS:
            home = tmp_path / f"{status} {moment.replace('/', ' ')}"
            home.mkdir()
            with anyio.fail_after(60):
                async with mortal(home, told={"dies": {moment: [1]}, "status": status}) as it:
                    session = await it.agent.new_session(str(home))
                    turn = await session.prompt("say on")
                    down = [fields for fields in it.told("agent.state") if fields["state"] == "backoff"]
                    right += [fields["why"] for fields in down] == [f"it ended ({told})"] and turn.text == "on"
                    times.append(it.when("backoff") - float((home / "ended").read_text()))
    slowest = max(times)
    measured = f"{right}/16 exact and back, slowest told {slowest * 1000:.0f} ms after the end"
    record("D4 supervised", "4x4 table exact, the agent back, the next prompt works", measured, right == 16)


@pytest.mark.faults("D5")
async def test_a_crash_loop_is_five_starts_and_then_failed(tmp_path: Path, record: Record, count: Any) -> None:
    used, began = time.process_time(), time.monotonic()
    with anyio.fail_after(60):
        async with mortal(tmp_path, told={"dies": {"initialize": [1, 2, 3, 4, 5]}}) as it:
            with pytest.raises(AgentUnavailable):
                await it.agent.new_session(str(tmp_path))
            took = time.monotonic() - began
            cpu = (time.process_time() - used) / took
            state, starts = it.agent.state, len(it.starts())
            waits = it.waits()
            it.agent.reset()
            session = await it.agent.new_session(str(tmp_path))
            again = (await session.prompt("say on")).text
    planned = (0.0, 0.25, 0.5, 1.0)
    # The loop may be late where the machine does other things.
    late = count(0.1, 1.0)
    kept = all(plan * 0.75 <= wait <= plan * 1.25 + late for wait, plan in zip(waits, planned, strict=True))
    measured = (
        f"{starts} starts, {state}, back-off {', '.join(f'{wait:.2f}' for wait in waits)} s, CPU {cpu:.1%}; "
        f"after a reset it says {again!r}"
    )
    held = starts == 5 and state == "failed" and kept and again == "on"
    record("D5", "exactly 5 starts, then failed; back-off 0, 0.25, 0.5, 1 s within 25 %; CPU < 5 %", measured, held)


async def noticed(it: Mortal, stop: Callable[[], Any]) -> float:
    """Seconds from when it stood still until that was noticed; the process is gone soon after."""
    pid = it.agent.status().pid
    began = time.monotonic()
    stop()
    await it.agent.reached("backoff", "starting")
    took = it.when("backoff") - began
    await until(lambda: not os.path.exists(f"/proc/{pid}"))
    return took


@pytest.mark.faults("D6")
@pytest.mark.skipif(not LINUX, reason="/proc tells that it is gone")
async def test_an_agent_that_stands_still_is_noticed_and_started_again(
    tmp_path: Path, record: Record, count: Any, at_most: Any
) -> None:
    limit = count(10, 2)
    limits = replace(QUICK, probe=float(limit))
    took: dict[str, float] = {}

    async def one(case: str, like: str, told: dict[str, Any], prompt: str = "") -> None:
        home = tmp_path / case.replace(" ", "_")
        home.mkdir()
        async with mortal(home, limits=limits, like=like, told=told) as it:
            session = await it.agent.new_session(str(home))
            if prompt:
                turn = session.start(prompt)
                async for _ in turn:
                    took[case] = await noticed(it, lambda: None)
                    break
                with pytest.raises(AgentInterrupted, match="no sign of life"):
                    await turn.result()
            else:
                took[case] = await noticed(it, (lambda: None) if told else (lambda: it.kill(signal.SIGSTOP)))
            await it.agent.reached("ready")
            assert (await session.prompt("say on")).text == "on"

    with anyio.fail_after(60 + 3 * limit):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one, "SIGSTOP idle", "", {})
            tasks.start_soon(one, "SIGSTOP mid-turn", "ars", {}, "say half;stop")
            tasks.start_soon(one, "answers nothing", "", {"hangs": {"_ars/ping": [1]}})
            tasks.start_soon(one, "reads nothing", "ars", {}, "say half;sleep")
    slowest = max(took.values())
    measured = f"limit {limit} s: " + ", ".join(f"{case} {seconds:.2f} s" for case, seconds in took.items())
    late = at_most(1)
    record(
        "D6", "noticed within the probe's limit + 1 s, killed, its session goes on", measured, slowest <= limit + late
    )


@pytest.mark.faults("D7")
@pytest.mark.skipif(not LINUX, reason="a limit of the address space")
async def test_an_agent_that_eats_all_its_memory_is_back(tmp_path: Path, record: Record) -> None:
    argv = command(tmp_path).argv
    hungry = Command("hungry", ["sh", "-c", 'ulimit -v 300000; exec "$@"', "sh", *argv])
    before = rss()
    with anyio.fail_after(20):
        async with Supervisor() as supervisor:
            agent = supervisor.add("m", hungry, Client(), cwd=str(tmp_path), limits=QUICK)
            session = await agent.new_session(str(tmp_path))
            with pytest.raises(AgentInterrupted, match="exit status 1") as why:
                await session.prompt("say half;eat")
            after = (await session.prompt("say on")).text
    grown = (rss() - before) / 1024
    measured = f"kept {why.value.text!r}, then {after!r}; RSS {grown:+.1f} MiB"
    held = why.value.text == "half" and after == "on" and grown <= 10
    record("D7", "an agent without memory: its text kept, it is back; our RSS +<= 10 MiB", measured, held)


def rss() -> int:
    """KiB of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


LAST_PID = Path("/proc/sys/kernel/ns_last_pid")


def at_pid(pid: int) -> subprocess.Popen[bytes] | None:
    """A process of somebody else with that very number; None where the number could not be had."""
    for _ in range(100):
        LAST_PID.write_text(str(pid - 1))
        other = subprocess.Popen(["sleep", "60"], start_new_session=True)
        if other.pid == pid:
            return other
        other.kill()
        other.wait()
    return None


@pytest.mark.faults("D11")
@pytest.mark.skipif(not os.access(LAST_PID, os.W_OK), reason="no process can be given a number here")
async def test_what_has_an_agents_number_after_it_is_not_killed(record: Record, count: Any) -> None:
    times, spared, met = count(1000, 5), 0, 0
    directory, nothing = os.open("/", os.O_RDONLY), os.open(os.devnull, os.O_RDWR)
    for _ in range(times):
        child = guarded.start(
            ["sleep", "60"], env={}, directory=directory, stdin=nothing, stdout=nothing, stderr=nothing
        )
        keeper = int(Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(keeper, signal.SIGSTOP)
        os.kill(child.pid, signal.SIGKILL)
        os.kill(keeper, signal.SIGKILL)
        # Without giving way: we learn that the keeper is gone when its command's number is another's already.
        while os.path.exists(f"/proc/{child.pid}"):
            pass
        other = at_pid(child.pid)
        if other is not None:
            met += 1
            with anyio.fail_after(20):
                await child.wait()
            await child.finish()
            other.terminate()
            spared += other.wait() == -signal.SIGTERM
        else:
            await child.finish()
    os.close(directory)
    os.close(nothing)
    measured = f"{met} numbers used again, {met - spared} foreign kills"
    record("D11 numbers", "0 foreign kills in 1,000", measured, spared == met and met >= times * count(0.9, 0.2))


def cpu_of(pid: int) -> float:
    """Seconds of processor that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.faults("D6")
@pytest.mark.skipif(not LINUX, reason="/proc tells what a process has used")
async def test_idle_agents_cost_nothing(tmp_path: Path, record: Record, count: Any) -> None:
    # Fewer agents are asked more often in the sample: as many questions a second.
    agents, seconds, limit = count(50, 10), count(30, 3), count(10, 2)
    limits = replace(QUICK, initialize=60, probe=float(limit))
    with anyio.fail_after(120 + seconds):
        async with Supervisor() as supervisor:
            kept: list[Supervised] = []
            for number in range(agents):
                home = tmp_path / str(number)
                home.mkdir()
                kept.append(supervisor.add(home.name, command(home), Client(), cwd=str(home), limits=limits))
            for agent in kept:
                await agent.reached("ready")
            pids = [agent.status().pid or 0 for agent in kept]
            began, used, theirs = time.monotonic(), time.process_time(), sum(map(cpu_of, pids))
            with anyio.move_on_after(seconds):
                await kept[0].reached("failed")
            took = time.monotonic() - began
            ours = (time.process_time() - used) / took
            all_of_it = ours + (sum(map(cpu_of, pids)) - theirs) / took
            assert [agent.status().pid for agent in kept] == pids
    measured = f"{agents} agents, {took:.0f} s: {ours:.2%} of a processor, with the agents {all_of_it:.2%}"
    record("D6 idle", "50 agents supervised at once: idle CPU < 1 %", measured, ours < count(0.01, 0.03))


@pytest.mark.faults("F11")
async def test_a_clock_that_is_set_changes_nothing(
    tmp_path: Path, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an hour, forth and back, whenever somebody looks at it: in turns, in waiting, in a restart."""
    looked, real = 0, time.time

    def set_again() -> float:
        nonlocal looked
        looked += 1
        return real() + (3600 if looked % 2 else -3600)

    monkeypatch.setattr("time.time", set_again)
    with anyio.fail_after(20):
        async with mortal(tmp_path, limits=replace(QUICK, probe=2.0, idle=5, turn=5, late=0.05), spares=1) as it:
            session = await it.agent.new_session(str(tmp_path))
            texts = [(await session.prompt(f"say {number}")).text for number in range(3)]
            await it.agent.prepared()
            with anyio.move_on_after(1.5):
                await it.agent.reached("failed")
            quiet = it.states().count("backoff") == 0 and it.agent.status().spares == 1
            it.kill()
            await it.agent.reached("starting")
            await it.agent.reached("ready")
            texts.append((await session.prompt("say on")).text)
            waits = it.waits()
    times = [entry["at"] for _, entry in session.record.read() if "at" in entry]
    went_back = any(later < earlier for earlier, later in itertools.pairwise(times))
    measured = f"set {looked} times: {len(waits)} restart, back-off {waits[0]:.2f} s, {len(texts)} turns"
    held = quiet and len(waits) == 1 and waits[0] < 10 and texts == ["0", "1", "2", "on"] and went_back
    record("F11 connector", "the clock set +-1 h: 0 spurious limits, restarts as ever", measured, held)
