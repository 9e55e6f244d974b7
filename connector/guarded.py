"""Starting children under the guardian (`connector.guardian`), the program that ends them when we cannot any more.

One guardian serves the whole process. It starts with the first child, stays, and is replaced when somebody has killed
it: what its keepers hold already is theirs until they or we end.
"""

import asyncio
import contextlib
import errno
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence

import anyio

from connector import environment, guardian
from connector.child import KILLED_SECONDS, Child, End
from connector.direct import Direct, pidfd_of

ANSWER_SECONDS = 10.0
RECORD = 1 + guardian.RECORD_INT


class GuardianLost(Exception):
    """No answer from a keeper: it was killed, or the guardian was, or they take too long."""


def start(
    argv: Sequence[str], *, env: Mapping[str, str], directory: int, stdin: int, stdout: int, stderr: int
) -> Child:
    """Starts `argv` (no shell) in the open `directory`, in a session of its own, and returns once it runs.

    Raises `OSError` where it cannot be started and `ValueError` for what cannot be an argument. The descriptors stay
    the caller's. Needs a running event loop.
    """
    if not argv or not argv[0]:
        raise ValueError("no command")
    if any("\0" in word for word in (*argv, *env, *env.values())) or any("=" in name for name in env):
        raise ValueError("a null byte, or a variable with `=` in its name")
    fds = (directory, stdin, stdout, stderr)
    while (found := _guardian()) is not None:
        try:
            return Guarded(found, argv, env, fds)
        except GuardianLost:
            if not found.is_gone():
                raise OSError(errno.ETIMEDOUT, "the guardian did not start it") from None
            _forget(found)
    return Direct(argv, env, *fds)


class Guardian:
    """A running guardian. Raises `OSError` where it cannot be started; that it does not run shows when it is asked."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.answered = False
        self.requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.requests.settimeout(ANSWER_SECONDS)
        with contextlib.ExitStack() as on_failure, theirs:
            on_failure.callback(self.requests.close)
            self.pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-IS", guardian.__file__, str(self.owner)],
                environment.inherited(("LD_LIBRARY_PATH",)),
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), 0),
                    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_RDWR, 0),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,
                setsigmask=(),
            )
            on_failure.pop_all()

    def is_gone(self) -> bool:
        """Whether it has ended: it says nothing on its socket, so there is nothing to read until then."""
        return _readable(self.requests.fileno())

    def close(self) -> None:
        """Gives back what is left of one that is gone, or that is another process's."""
        self.requests.close()
        if self.owner == os.getpid():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)


class Guarded(End):
    """A `Child` whose parent is a keeper of the guardian's."""

    def __init__(self, owner: Guardian, argv: Sequence[str], env: Mapping[str, str], fds: Sequence[int]) -> None:
        """Raises `GuardianLost`, and `OSError` where the command cannot be started."""
        super().__init__()
        self._channel, theirs = socket.socketpair()
        try:
            with theirs:
                letter, value = self._ask(owner.requests, theirs, fds, _request(argv, env))
            owner.answered = True
            if letter == guardian.FAILED:
                raise OSError(value, os.strerror(value))
        except BaseException:
            self._channel.close()
            raise
        self.pid = value
        # A number alone may be another's by the time that we use it.
        self._pidfd = pidfd_of(value)
        self._records = b""
        self._swept = anyio.Event()
        self._channel.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._channel, self._listen)

    def signal(self, number: signal.Signals) -> None:
        """See `Child.signal`."""
        self._tell(number)

    async def kill(self) -> None:
        """Kills whatever it has started, wherever that has gone."""
        self._tell(guardian.SWEEP)
        with anyio.move_on_after(KILLED_SECONDS):
            await self._swept.wait()
            await self.wait()

    async def finish(self) -> None:
        """See `Child.finish`."""
        with anyio.CancelScope(shield=True):
            await self.kill()
        if self._channel.fileno() >= 0:
            self._loop.remove_reader(self._channel)
            self._channel.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    def _ask(
        self, requests: socket.socket, theirs: socket.socket, fds: Sequence[int], request: bytes
    ) -> tuple[bytes, int]:
        """The keeper's first record: the command runs, or it does not."""
        self._channel.settimeout(ANSWER_SECONDS)
        record = b""
        try:
            socket.send_fds(requests, [b"\0"], [theirs.fileno(), *fds])
            theirs.close()
            self._channel.sendall(request)
            while len(record) < RECORD:
                if not (more := self._channel.recv(RECORD - len(record))):
                    raise GuardianLost
                record += more
        except (TimeoutError, ConnectionError):
            raise GuardianLost from None
        return _read(record)

    def _tell(self, byte: int) -> None:
        with contextlib.suppress(OSError):  # the keeper is gone, and what it kept with it
            self._channel.send(bytes([byte]))

    def _listen(self) -> None:
        try:
            data = self._channel.recv(1024)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._records += data
        while len(self._records) >= RECORD:
            letter, value = _read(self._records[:RECORD])
            self._records = self._records[RECORD:]
            if letter == guardian.ENDED:
                self._ended(value)
            else:
                self._swept.set()
        if not data:
            self._keeper_lost()

    def _keeper_lost(self) -> None:
        """Somebody has killed the keeper. The guardian ends what it kept; this is for when that is gone too."""
        self._loop.remove_reader(self._channel)
        if self.exit is None:
            if self._pidfd is not None and not _readable(self._pidfd):
                with contextlib.suppress(OSError):
                    os.killpg(self.pid, signal.SIGKILL)
            self._ended(-signal.SIGKILL)
        self._swept.set()


def _readable(fd: int) -> bool:
    """Whether something can be read there; of a pidfd, whether its process has ended."""
    ready = select.poll()
    ready.register(fd, select.POLLIN)
    return bool(ready.poll(0))


def _request(argv: Sequence[str], env: Mapping[str, str]) -> bytes:
    words = [*argv, *(f"{name}={value}" for name, value in env.items())]
    body = b"\0".join(map(os.fsencode, words))
    header = (number.to_bytes(guardian.HEADER_INT, "little") for number in (len(body), len(argv)))
    return b"".join(header) + body


def _read(record: bytes) -> tuple[bytes, int]:
    return record[:1], int.from_bytes(record[1:], "little", signed=True)


# ── the guardian of this process ──────────────────────────────────────────────────────────────────────────────────────

_lock = threading.Lock()
_running: Guardian | None = None
_to_be_had = sys.platform.startswith("linux") and bool(sys.executable) and not hasattr(sys, "frozen")


def _guardian() -> Guardian | None:
    """The one that runs, or a new one; None where there can be none."""
    global _running, _to_be_had
    with _lock:
        if _running is not None and _running.owner != os.getpid():
            _running.close()  # that of the process which we were forked from; its own end of the socket stays open
            _running = None
        if _running is None and _to_be_had:
            try:
                _running = Guardian()
            except (OSError, NotImplementedError):
                _to_be_had = False
        return _running


def _forget(lost: Guardian) -> None:
    """Lets another one start, unless this one has never answered: the next would not either."""
    global _running, _to_be_had
    with _lock:
        if lost is _running:
            _to_be_had = lost.answered
            _running.close()
            _running = None
