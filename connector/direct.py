"""A child of this very process, where there is no guardian: on macOS, and where Linux does not let one start.

An exited child stays a zombie until `finish`, so its pid, which is also its group's, cannot become somebody else's
while we may still signal it. What leaves the group is not found, and outlives it.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence

import anyio

from connector.beneath import name_of
from connector.child import KILLED_SECONDS, End


class Direct(End):
    """A `Child` that we have started ourselves."""

    def __init__(
        self, argv: Sequence[str], env: Mapping[str, str], directory: int, stdin: int, stdout: int, stderr: int
    ) -> None:
        """Starts `argv` in the open `directory`. Raises OSError and ValueError like `subprocess.Popen`."""
        super().__init__()
        self._popen = subprocess.Popen(
            list(argv),
            cwd=_path_of(directory),
            env=env,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        self.pid = self._popen.pid
        self._loop = asyncio.get_running_loop()
        self._pidfd = pidfd_of(self.pid)
        if self._pidfd is not None:
            self._loop.add_reader(self._pidfd, self._on_exit)
        else:
            threading.Thread(target=self._wait_in_thread, name=f"wait-{self.pid}", daemon=True).start()

    def signal(self, number: signal.Signals) -> None:
        """See `Child.signal`."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def kill(self) -> None:
        """Kills the group."""
        self.signal(signal.SIGKILL)
        with anyio.move_on_after(KILLED_SECONDS):
            await self.wait()

    async def finish(self) -> None:
        """See `Child.finish`. The pid is free afterwards."""
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


def pidfd_of(pid: int) -> int | None:
    """A descriptor of the process itself, not of its number; None where there is none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None  # not Linux, or an old kernel: a thread waits instead


def _path_of(directory: int) -> str:
    """A path that leads to the open directory, whatever has become of its name meanwhile."""
    if os.path.isdir("/proc/self/fd"):
        return f"/proc/self/fd/{directory}"
    return name_of(directory)  # macOS: it may change before the command starts there
