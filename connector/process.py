"""An agent's process: raw pipes, stderr always drained, an environment built from nothing, the ladder that stops it."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import anyio

from acp_wire.streams import Stream, fd_stream
from connector import environment, guarded
from connector.beneath import DIRECTORY
from connector.child import Child, Exit
from connector.errors import AgentNotFound

STDERR_BYTES = 64 * 1024
TAIL_BYTES = 8 * 1024
CHUNK = 256 * 1024
# The ladder: how long each step is given before the next one.
EOF_SECONDS = 0.5
TERM_SECONDS = 1.5


@dataclass(frozen=True)
class Command:
    """How an agent is started.

    `name` is for people. `passed_on` names variables of our own environment that it needs besides the usual ones, its
    credentials for instance; `env` is set on top of that.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    passed_on: Sequence[str] = ()


class AgentProcess:
    """A running agent. `stop` must be called in the end."""

    def __init__(
        self, child: Child, stream: Stream, stdout_fd: int, stderr_fd: int, on_stderr: Callable[[bytes], None]
    ):
        self.child = child
        self.stream = stream
        self._stdout_fd = stdout_fd
        self._stderr_fd = stderr_fd
        self.on_stderr = on_stderr
        self._stderr = bytearray()
        self._stopped: anyio.Event | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(stderr_fd, self._read_stderr)

    def stderr_tail(self, size: int = TAIL_BYTES) -> str:
        """The last `size` bytes, 64 KiB at most, that it has written on stderr."""
        self._read_stderr()
        return bytes(self._stderr[-size:]).decode(errors="replace").strip()

    async def stop(self) -> Exit | None:
        """Closes stdin, then SIGTERM and in the end SIGKILL to the whole group; 3 s at most. Nothing of it is left.

        Waits on the process, never on its pipes. Returns how it ended, None only where it could not be killed.
        """
        with anyio.CancelScope(shield=True):
            if self._stopped is not None:
                await self._stopped.wait()
                return self.child.exit
            self._stopped = anyio.Event()
            self._loop.add_reader(self._stdout_fd, self._discard_stdout)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.stream.aclose)
                with anyio.move_on_after(EOF_SECONDS):
                    await self.child.wait()
                if self.child.exit is None:
                    self.child.signal(signal.SIGTERM)
                    with anyio.move_on_after(TERM_SECONDS):
                        await self.child.wait()
                await self.child.finish()
            self._read_stderr()
            for fd in (self._stdout_fd, self._stderr_fd):
                self._loop.remove_reader(fd)
                os.close(fd)
            self._stopped.set()
        return self.child.exit

    def _read_stderr(self) -> None:
        if self._stopped is not None and self._stopped.is_set():
            return
        try:
            data = os.read(self._stderr_fd, CHUNK)
        except (BlockingIOError, OSError):
            return
        if not data:
            self._loop.remove_reader(self._stderr_fd)
            return
        self._stderr += data
        del self._stderr[:-STDERR_BYTES]
        self.on_stderr(data)

    def _discard_stdout(self) -> None:
        """An agent that still has something to say while it stops must not hang on a full pipe."""
        try:
            if not os.read(self._stdout_fd, CHUNK):
                self._loop.remove_reader(self._stdout_fd)
        except BlockingIOError:
            return


def spawn(command: Command, *, cwd: str, on_stderr: Callable[[bytes], None] = lambda data: None) -> AgentProcess:
    """Starts the agent in `cwd`, with a session and a process group of its own. Raises `AgentNotFound`."""
    try:
        directory = os.open(cwd, DIRECTORY)
    except OSError as why:
        raise AgentNotFound(command.name, command.argv, why) from None
    ours = contextlib.ExitStack()  # given back where it does not start
    with contextlib.ExitStack() as theirs:
        theirs.callback(os.close, directory)
        try:
            theirs_in, our_out = _pipe(theirs, ours, our_end=1)
            our_in, theirs_out = _pipe(theirs, ours, our_end=0)
            our_err, theirs_err = _pipe(theirs, ours, our_end=0)
            # The stream closes what it owns; a second descriptor keeps stdout open until the process has ended.
            stream_in = os.dup(our_in)
            ours.callback(os.close, stream_in)
            child = guarded.start(
                command.argv,
                env={**environment.inherited(command.passed_on), **command.env},
                directory=directory,
                stdin=theirs_in,
                stdout=theirs_out,
                stderr=theirs_err,
            )
        except (OSError, ValueError) as why:
            ours.close()
            raise AgentNotFound(command.name, command.argv, why) from None
    for fd in (our_in, our_err):
        os.set_blocking(fd, False)
    return AgentProcess(child, fd_stream(stream_in, our_out), our_in, our_err, on_stderr)


def _pipe(theirs: contextlib.ExitStack, ours: contextlib.ExitStack, *, our_end: int) -> tuple[int, int]:
    """The ends to read from and to write to. Each stack closes its own."""
    fds = os.pipe()
    ours.callback(os.close, fds[our_end])
    theirs.callback(os.close, fds[1 - our_end])
    return fds
