"""One process of an agent: what it costs to fail to start it, and how its end is noticed."""

import os
import resource
import signal
import sys
from pathlib import Path

import anyio
import pytest

from connector import AgentExited, AgentNotFound, Client, Command, Limits, launch
from connector.process import spawn

AGENTS = Path(__file__).parents[2] / "fixtures" / "agents"
LINUX = sys.platform.startswith("linux")


def agent(name: str) -> Command:
    return Command(name, [sys.executable, "-S", str(AGENTS / f"{name}.py")])


async def test_an_agent_that_cannot_be_started_for_want_of_descriptors_leaves_none_behind() -> None:
    await spawn(agent("echo"), cwd="/").stop()  # the guardian has its own from here on
    begin, (soft, hard) = len(os.listdir("/dev/fd")), resource.getrlimit(resource.RLIMIT_NOFILE)
    free = sorted(set(range(1000)) - {int(name) for name in os.listdir("/dev/fd")})
    refused = 0
    for more in range(16):
        resource.setrlimit(resource.RLIMIT_NOFILE, (free[more], hard))
        try:
            process = spawn(agent("echo"), cwd="/")
        except AgentNotFound as why:
            refused += "Too many open files" in str(why)
        else:
            await process.stop()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert len(os.listdir("/dev/fd")) == begin
    assert 4 <= refused < 16


async def test_stopping_twice_and_at_once_gives_everything_back_once(tmp_path: Path) -> None:
    begin = len(os.listdir("/dev/fd"))
    process = spawn(agent("echo"), cwd=str(tmp_path))
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process.stop)
            tasks.start_soon(process.stop)
        ended = await process.stop()
    assert ended is not None
    assert ended.code == 0
    assert len(os.listdir("/dev/fd")) == begin


@pytest.mark.skipif(not LINUX, reason="what has left its group is found by Linux only")
async def test_an_agent_that_has_ended_is_dead_though_what_it_started_holds_its_stdout(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with launch(agent("stubborn"), Client(), cwd=str(tmp_path), limits=Limits(late=0)) as connector:
            session = await connector.new_session(str(tmp_path))
            await session.prompt("who")
            turn = session.start("and now?")
            os.kill(connector.pid, signal.SIGKILL)
            with pytest.raises(AgentExited, match="killed by SIGKILL") as why:
                await turn.result()
            assert why.value.exit is not None
