"""Spares: ready before they are needed, bounded, let go when nobody needs them, replaced when they end."""

import os
import signal
from pathlib import Path

import anyio

from connector import Client, Supervisor
from tests.support.supervised import QUICK, Mortal, command, mortal
from tests.support.waiting import until


def newest(it: Mortal) -> int:
    """The process that was started last, beside the one that works."""
    return [pid for pid, _ in it.starts() if pid != it.agent.status().pid][-1]


async def test_a_spare_takes_over_and_another_takes_its_place(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path, spares=1) as it:
            session = await it.agent.new_session(str(tmp_path))
            await session.prompt("say one")
            await it.agent.prepared()
            spare = newest(it)
            it.kill()
            await it.agent.reached("starting")
            await it.agent.reached("ready")
            assert it.agent.status().pid == spare
            assert [event["spare"] for event in it.told("agent.up")] == [False, True]
            assert (await session.prompt("two")).text == "say one | two"
            await it.agent.prepared()
            assert it.agent.status().spares == 1
            left = newest(it)
        assert not os.path.exists(f"/proc/{left}")


async def test_agents_that_are_started_alike_share_their_spares_and_there_are_only_so_many(tmp_path: Path) -> None:
    what = command(tmp_path)
    with anyio.fail_after(20):
        async with Supervisor(most_spares=2) as supervisor:
            first = supervisor.add("a", what, Client(), cwd=str(tmp_path), limits=QUICK, spares=5)
            await first.prepared()
            assert first.status().spares == 2
            second = supervisor.add("b", what, Client(), cwd=str(tmp_path), limits=QUICK)
            session = await second.new_session(str(tmp_path))
            assert (await session.prompt("say hello")).text == "hello"
            assert first.status().spares == 1
            # Another directory is another program.
            other = supervisor.add("c", what, Client(), cwd="/", limits=QUICK, spares=1)
            await other.prepared()
            assert other.status().spares == 0


async def test_a_spare_that_nobody_needs_is_let_go_and_comes_back_with_the_next_prompt(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path, spares=1, spare_idle=0.3) as it:
            session = await it.agent.new_session(str(tmp_path))
            await it.agent.prepared()
            # One that was ready before the session was is let go earlier.
            released = len(it.told("spare.released"))
            await until(lambda: len(it.told("spare.released")) > released)
            assert it.agent.status().spares == 0
            started = len(it.starts())
            await session.prompt("say hello")
            await until(lambda: len(it.starts()) > started)


async def test_a_spare_that_ends_is_replaced_and_one_that_always_does_is_not(tmp_path: Path) -> None:
    with anyio.fail_after(30):
        async with mortal(tmp_path, spares=1, told={"dies": {"initialize": [4, 5, 6, 7, 8, 9]}}) as it:
            session = await it.agent.new_session(str(tmp_path))
            await it.agent.prepared()
            for ready in (True, False):
                spare = newest(it)
                os.kill(spare, signal.SIGKILL)
                await until(lambda spare=spare: newest(it) != spare)  # type: ignore[misc]
                if ready:
                    await it.agent.prepared()
            await until(lambda: any(event["given_up"] for event in it.told("spare.failed")))
            assert (await session.prompt("say on")).text == "on"
            assert it.agent.state == "ready"


async def test_a_spare_that_has_just_ended_is_not_taken(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path, spares=1) as it:
            session = await it.agent.new_session(str(tmp_path))
            await it.agent.prepared()
            spare, pid = newest(it), it.agent.status().pid
            assert pid is not None
            os.kill(spare, signal.SIGKILL)
            os.kill(pid, signal.SIGKILL)
            assert (await session.prompt("say on")).text == "on"
