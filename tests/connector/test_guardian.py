"""The guardian and its keepers: whoever of them is killed, and when the supervisor is, nothing is left running."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from connector import guarded
from connector.child import Child, Exit
from connector.direct import Direct
from tests.support.trees import ended, killed_supervisor, parent_of, watched

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a guardian needs Linux")
# A child in the group, one in a session of its own, and a daemon without an environment whose parent has ended.
TREE = "sleep 60 & a=$!; setsid sleep 60 & b=$!; (env -i setsid sleep 60 & echo $a $b $!); exec sleep 60"


@asynccontextmanager
async def tree() -> AsyncIterator[tuple[Child, list[int]]]:
    """A running command with descendants of all sorts, and the pidfds of all of them."""
    directory, nothing, (ours, theirs) = os.open("/", os.O_RDONLY), os.open(os.devnull, os.O_RDWR), os.pipe()
    env = {"PATH": os.environ["PATH"]}
    child = guarded.start(
        ["sh", "-c", TREE], env=env, directory=directory, stdin=nothing, stdout=theirs, stderr=nothing
    )
    with anyio.fail_after(20):
        await anyio.wait_readable(ours)
    with watched([child.pid, *map(int, os.read(ours, 100).split())]) as pidfds:
        yield child, pidfds
        await child.finish()
        await ended(pidfds)
    for fd in (directory, nothing, ours, theirs):
        os.close(fd)


async def test_whatever_a_command_has_started_is_gone_when_its_kill_returns() -> None:
    async with tree() as (child, pidfds):
        await child.kill()
        assert select.select(pidfds, [], [], 0)[0] == pidfds


async def test_one_command_s_end_is_nothing_to_another() -> None:
    async with tree() as (one, _), tree() as (other, _):
        await one.finish()
        assert os.getpgid(other.pid) == other.pid
        assert other.exit is None


async def test_when_its_keeper_is_killed_the_guardian_ends_what_it_kept() -> None:
    async with tree() as (other, _):
        async with tree() as (child, pidfds):
            os.kill(parent_of(child.pid), signal.SIGKILL)
            with anyio.fail_after(20):
                assert await child.wait() == Exit(None, "SIGKILL")
            await ended(pidfds)
        assert other.exit is None


async def test_a_guardian_that_does_not_answer_in_time_costs_the_command_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with tree() as (before, _):
        guardian = parent_of(parent_of(before.pid))
        os.kill(guardian, signal.SIGSTOP)
        monkeypatch.setattr(guarded, "ANSWER_SECONDS", 0.05)
        with pytest.raises(TimeoutError):
            async with tree():
                pass
        os.kill(guardian, signal.SIGCONT)
        monkeypatch.undo()
        async with tree() as (after, _):
            assert parent_of(parent_of(after.pid)) == guardian
        assert before.exit is None


async def test_when_the_guardian_is_killed_its_keepers_go_on_and_another_takes_over() -> None:
    async with tree() as (before, pidfds):
        guardian = parent_of(parent_of(before.pid))
        os.kill(guardian, signal.SIGKILL)
        async with tree() as (after, _):
            assert parent_of(parent_of(after.pid)) != guardian
            assert not os.path.exists(f"/proc/{guardian}")
            assert before.exit is None
            await before.kill()
            await ended(pidfds)


def environ_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


async def test_neither_guardian_nor_keeper_holds_our_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """S11: what an agent can read of its parents."""
    monkeypatch.setenv("SECRET_TOKEN", "canary")
    monkeypatch.setattr(guarded, "_running", None)
    async with tree() as (child, _):
        keeper = parent_of(child.pid)
        for pid in (child.pid, keeper, parent_of(keeper)):
            assert b"canary" not in environ_of(pid)
    if guarded._running is not None:
        guarded._running.close()


async def test_where_no_guardian_starts_commands_are_started_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarded, "_running", None)
    monkeypatch.setattr(guarded, "_to_be_had", True)
    monkeypatch.setattr(guarded.guardian, "__file__", str(tmp_path / "not there"))
    nothing = os.open(os.devnull, os.O_RDWR)
    directory = os.open("/", os.O_RDONLY)
    for _ in range(2):
        child = guarded.start(["true"], env={}, directory=directory, stdin=nothing, stdout=nothing, stderr=nothing)
        assert isinstance(child, Direct)
        with anyio.fail_after(20):
            assert await child.wait() == Exit(0, None)
        await child.finish()
    os.close(nothing)
    os.close(directory)


@pytest.mark.parametrize(
    "first",
    [{}, {"guardian": signal.SIGKILL}, {"keeper": signal.SIGKILL}, {"keeper": signal.SIGSTOP}],
    ids=["alone", "after its guardian", "after the keeper", "with the keeper stopped"],
)
def test_nothing_outlives_a_killed_supervisor(first: dict[str, signal.Signals]) -> None:
    killed_supervisor(first)


def test_a_worker_that_was_forked_from_the_supervisor_keeps_nothing_alive() -> None:
    killed_supervisor(forks=True)


FORKS = """
import asyncio, os
from connector import guarded

async def guardian_of_a_command():
    directory, nothing = os.open("/", os.O_RDONLY), os.open(os.devnull, os.O_RDWR)
    child = guarded.start(["true"], env={}, directory=directory, stdin=nothing, stdout=nothing, stderr=nothing)
    await child.wait()
    await child.finish()
    return guarded._running.pid

ours = asyncio.run(guardian_of_a_command())
forked = os.fork()
if forked == 0:
    os._exit(asyncio.run(guardian_of_a_command()) == ours)
assert os.waitpid(forked, 0)[1] == 0
assert asyncio.run(guardian_of_a_command()) == ours
"""


def test_a_process_that_was_forked_has_a_guardian_of_its_own() -> None:
    subprocess.run([sys.executable, "-c", FORKS], check=True, timeout=20)
