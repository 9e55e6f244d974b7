"""Whole trees of processes: who is above whom, and whether all of them have ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import anyio

SUPERVISOR = Path(__file__).parents[2] / "fixtures" / "supervisor.py"


def parent_of(pid: int) -> int:
    """The process id of its parent."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@contextmanager
def watched(pids: list[int]) -> Iterator[list[int]]:
    """Pidfds of these processes."""
    pidfds = [os.pidfd_open(pid) for pid in pids]
    yield pidfds
    for fd in pidfds:
        os.close(fd)


async def ended(pidfds: list[int]) -> None:
    """Waits until these processes, whose children they ever were, have ended."""
    with anyio.fail_after(20):
        for fd in pidfds:
            await anyio.wait_readable(fd)


def killed_supervisor(first: Mapping[str, signal.Signals] | None = None, *, forks: bool = False) -> float:
    """Kills a supervisor whose agent has a tree, after `first` to others; the seconds until all are gone."""
    command = [sys.executable, str(SUPERVISOR), "stubborn", *(["fork"] if forks else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as supervisor:
        assert supervisor.stdout is not None
        agent, *descendants = map(int, supervisor.stdout.readline().split())
        worker = descendants.pop() if forks else None
        keeper = parent_of(agent)
        found = {"keeper": keeper, "guardian": parent_of(keeper)}
        with watched([agent, *descendants, *found.values()]) as pidfds:
            for name, number in (first or {}).items():
                os.kill(found[name], number)
            began = time.monotonic()
            supervisor.kill()
            anyio.run(ended, pidfds)
            took = time.monotonic() - began
        if worker:
            os.kill(worker, signal.SIGKILL)
        return took
