"""A child process with everything that it started: waited for by its pid, stopped as a group, reaped last.

An exited child stays a zombie until `finish`, so its pid, which is also its group's, cannot become somebody else's
while we may still signal it. Nothing here waits for a pipe: a grandchild may hold one for ever.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import anyio

from connector import environment

KILLED_SECONDS = 0.8


@dataclass(frozen=True)
class Exit:
    """How a process ended: by itself with `code` (0 to 255), or by the signal of that name."""

    code: int | None
    signal: str | None

    def __str__(self) -> str:
        return f"exit status {self.code}" if self.signal is None else f"killed by {self.signal}"


class Child:
    """One running command. Must be given to `finish` in the end."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: str | None,
        env: Mapping[str, str],
        stdin: int,
        stdout: int,
        stderr: int,
    ) -> None:
        """Starts `argv` (no shell) in a session of its own. Raises OSError and ValueError like `subprocess.Popen`."""
        self._mark = secrets.token_hex(8)
        self._popen = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=environment.marked(env, self._mark),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        self.pid = self._popen.pid
        self.exit: Exit | None = None
        self._exited = anyio.Event()
        self._loop = asyncio.get_running_loop()
        self._pidfd = _pidfd(self.pid)
        if self._pidfd is not None:
            self._loop.add_reader(self._pidfd, self._on_exit)
        else:
            threading.Thread(target=self._wait_in_thread, name=f"wait-{self.pid}", daemon=True).start()

    async def wait(self) -> Exit:
        """Waits until the process itself has ended, whatever its children do."""
        await self._exited.wait()
        assert self.exit is not None
        return self.exit

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process's whole group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def kill(self) -> None:
        """Kills the group and whatever else it has started, and waits until the process has ended."""
        self.signal(signal.SIGKILL)
        await anyio.to_thread.run_sync(kill_marked, self._mark)
        with anyio.move_on_after(KILLED_SECONDS):
            await self.wait()

    async def finish(self) -> None:
        """Kills what is left and reaps. The pid is free afterwards; calling it again does nothing."""
        with anyio.CancelScope(shield=True):
            if self._popen.returncode is None:
                await self.kill()
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        self._popen.poll()

    def _on_exit(self) -> None:
        assert self._pidfd is not None
        self._loop.remove_reader(self._pidfd)
        status = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if status is None:
            return
        self._ended(status.si_status if status.si_code == os.CLD_EXITED else -status.si_status)

    def _wait_in_thread(self) -> None:
        code = self._popen.wait()
        with contextlib.suppress(RuntimeError):  # the loop may be closed by now
            self._loop.call_soon_threadsafe(self._ended, code)

    def _ended(self, code: int) -> None:
        self.exit = Exit(code, None) if code >= 0 else Exit(None, _signal_name(-code))
        self._exited.set()


def kill_marked(mark: str) -> int:
    """Kills every process of ours that carries `mark` until there is none, and returns how many; Linux only.

    Finds what a signal to the group cannot reach: daemons that made a session of their own.
    """
    if not sys.platform.startswith("linux"):
        return 0
    killed: set[int] = set()
    while found := {pid for pid in _processes() if mark in _marks(pid)} - killed:
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        killed |= found
    return len(killed)


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _marks(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            entries = file.read().split(b"\0")
    except OSError:
        return []  # another user's, or gone
    prefix = f"{environment.MARK}=".encode()
    return next((entry[len(prefix) :].decode().split(":") for entry in entries if entry.startswith(prefix)), [])


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None  # not Linux, or an old kernel: a thread waits instead


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
