"""The agent's process as the kit sees it: raw pipes, all of stderr's end, and what it has started besides."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

import anyio

from connector import guarded
from connector.child import Exit

CHUNK = 1 << 20
STDERR_BYTES = 64 << 10
TERM_SECONDS = 1.0


class Process:
    """A running agent, started in our own directory. `stop` must be called in the end; nothing of it is left then.

    `on_bytes` gets what it writes on stdout, and b"" when that has ended. Raises OSError and ValueError where the
    command cannot be started.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], on_bytes: Callable[[bytes], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_bytes = on_bytes
        self._outbox: list[memoryview] = []
        self._sent = anyio.Event()
        self.stderr = bytearray()
        self.stderr_bytes = 0
        self.deaf = False
        self.ending = False  # by us: a signal, or the end of a pipe
        fds = [*os.pipe(), *os.pipe(), *os.pipe()]
        theirs_in, self._in, self._out, theirs_out, self._err, theirs_err = fds
        directory = -1
        try:
            directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
            self.child = guarded.start(
                argv, env=env, directory=directory, stdin=theirs_in, stdout=theirs_out, stderr=theirs_err
            )
        except (OSError, ValueError):
            for fd in (self._in, self._out, self._err):
                os.close(fd)
            raise
        finally:
            for fd in (theirs_in, theirs_out, theirs_err, directory):
                if fd >= 0:
                    os.close(fd)
        for fd in (self._in, self._out, self._err):
            os.set_blocking(fd, False)
        self._loop.add_reader(self._out, self._read)
        self._loop.add_reader(self._err, self._read_stderr)
        self._keeper = _parent(self.child.pid)

    @property
    def exit(self) -> Exit | None:
        """How it ended, None while it runs."""
        return self.child.exit

    def write(self, data: bytes) -> None:
        """Queues bytes for its stdin; what it does not take any more is dropped."""
        if self._in >= 0 and not self.deaf:
            self._outbox.append(memoryview(data))
            self._flush()

    async def written(self) -> None:
        """Waits until the pipe has taken everything, or will take nothing more."""
        while self._outbox and self._in >= 0 and not self.deaf and self.exit is None:
            self._sent = anyio.Event()
            with anyio.move_on_after(0.1):
                await self._sent.wait()

    def close_stdin(self) -> None:
        """Ends its stdin."""
        self.ending = True
        if self._in >= 0:
            self._loop.remove_writer(self._in)
            os.close(self._in)
            self._in = -1

    def close_stdout(self) -> None:
        """Closes the reading end of its stdout: what it writes from here on fails."""
        if self._out >= 0:
            self._loop.remove_reader(self._out)
            os.close(self._out)
            self._out = -1

    def terminate(self) -> None:
        """SIGTERM to the process itself, not to its group: what a supervisor that knows one pid does."""
        self.ending = True
        if self.exit is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.child.pid, signal.SIGTERM)

    async def ended(self, within: float) -> Exit | None:
        """Waits for its end, None where that does not come in time."""
        with anyio.move_on_after(within):
            return await self.child.wait()
        return None

    def left_over(self) -> list[str] | None:
        """The commands that it has started and that still run once it has ended; None where that cannot be told."""
        if self._keeper is None:
            return None
        return [_command(pid) for pid in _below(self._keeper) if pid != self.child.pid]

    def resident(self) -> int | None:
        """The bytes that the process holds in memory; None where that cannot be told."""
        try:
            with open(f"/proc/{self.child.pid}/statm", "rb") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            return None

    async def stop(self) -> None:
        """Ends it with everything that it has started."""
        with anyio.CancelScope(shield=True):
            self.close_stdin()
            if self.child.exit is None:
                self.child.signal(signal.SIGTERM)
                await self.ended(TERM_SECONDS)
            await self.child.finish()
            self._read_stderr()
            self.close_stdout()
            if self._err >= 0:
                self._loop.remove_reader(self._err)
                os.close(self._err)
                self._err = -1

    def _flush(self) -> None:
        while self._outbox:
            try:
                sent = os.write(self._in, self._outbox[0][:CHUNK])
            except BlockingIOError:
                self._loop.add_writer(self._in, self._flush)
                return
            except OSError:
                self.deaf = True
                self._outbox.clear()
                break
            self._outbox[0] = self._outbox[0][sent:]
            if not self._outbox[0]:
                self._outbox.pop(0)
        self._loop.remove_writer(self._in)
        self._sent.set()

    def _read(self) -> None:
        try:
            data = os.read(self._out, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._out)
        self._on_bytes(data)

    def _read_stderr(self) -> None:
        try:
            data = os.read(self._err, CHUNK) if self._err >= 0 else b""
        except (BlockingIOError, OSError):
            return
        if not data:
            self._loop.remove_reader(self._err)
            return
        self.stderr_bytes += len(data)
        self.stderr += data
        del self.stderr[:-STDERR_BYTES]


def _parent(pid: int) -> int | None:
    """The keeper that holds it; None where there is none, or where it has gone already."""
    stat = _stat(pid) if sys.platform.startswith("linux") else None
    return None if stat is None or stat[1] == os.getpid() else stat[1]


def _stat(pid: int) -> tuple[str, int] | None:
    """The state and the parent of a process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state, parent = file.read().rpartition(b")")[2].split()[:2]
    except OSError:
        return None
    return state.decode(), int(parent)


def _below(keeper: int) -> list[int]:
    """The processes that run below the keeper."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (stat := _stat(int(name))) is not None and stat[0] not in "ZX":
            children.setdefault(stat[1], []).append(int(name))
    found: list[int] = []
    todo = [keeper]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return str(pid)
