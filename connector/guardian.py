"""The guardian: a small program that starts what we start, and ends all of it when we are gone. Linux only.

For each command it forks a keeper, which is the command's parent and a child subreaper: whatever the command starts,
daemons in sessions of their own included, stays below its keeper for ever and is found without a mark or a list. A
keeper ends its tree when it is told to, when its channel closes and when the supervisor is gone. The guardian is a
subreaper too: it ends what a killed keeper has left behind, and everything when the supervisor is gone. For anything to
survive a supervisor, the guardian and the keeper must be killed with it.

It is run as `python -IS guardian.py <pid of the supervisor>`, imports next to nothing as its start is waited for, and
knows nothing of our packages. Standard input is a socket; each packet on it brings five descriptors: the command's
channel, directory, stdin, stdout and stderr. `connector.guarded` holds the other end of both:

    to a keeper     the request: its length and the number of arguments in `HEADER_INT` bytes each, then arguments and
                    environment, joined by NUL. After that single bytes: a signal for the command's group, or `SWEEP`.
    from a keeper   records of one letter and `RECORD_INT` bytes: STARTED pid, FAILED errno, ENDED exit code, SWEPT 0.
"""

import ctypes
import errno
import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Container

HEADER_INT = 4
RECORD_INT = 4
STARTED, FAILED, ENDED, SWEPT = b"P", b"E", b"X", b"K"
SWEEP = 0

_LIBC = ctypes.CDLL(None)  # once: what a keeper makes anew is memory of its own
PR_SET_CHILD_SUBREAPER = 36
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
RESTORED = (*IGNORED, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD)
SWEEP_SECONDS = 10.0  # then what is left cannot be killed: root's, or stuck in the kernel
PAUSE_MS = 50
STOPPING_PASSES = 30


class Children:
    """The children of this process, as they end."""

    def __init__(self) -> None:
        """Makes this process the parent of all its descendants whose own parent has ended."""
        if _LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise OSError("this kernel has no child subreapers")
        self.wakes, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self.on_end: Callable[[int, int], None] = lambda pid, status: None

    def reap(self) -> bool:
        """Takes note of who has ended; False when there is no child any more, and so no descendant either."""
        try:
            while os.read(self.wakes, 512):
                pass
        except BlockingIOError:
            pass
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return True
                self.on_end(pid, status)
        except ChildProcessError:
            return False

    def sweep(self, spared: Container[int] = ()) -> None:
        """Kills the descendants, those below `spared` aside, until there is none.

        All are stopped before any is killed: what is stopped starts no other.
        """
        until = time.monotonic() + SWEEP_SECONDS
        while self.reap() and time.monotonic() < until:
            found: set[int] = set()
            for _ in range(STOPPING_PASSES):
                new = descendants(spared) - found
                _signal_all(new, signal.SIGSTOP)
                found |= new
                if not new:
                    break
            if not found:
                return
            _signal_all(found, signal.SIGKILL)
            ready = select.poll()
            ready.register(self.wakes, select.POLLIN)
            ready.poll(PAUSE_MS)


def descendants(spared: Container[int]) -> set[int]:
    """The processes below this one, without `spared` and those below them."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except OSError:
                continue  # gone meanwhile
            children.setdefault(parent, []).append(int(name))
    found: set[int] = set()
    todo = [os.getpid()]
    while todo:
        below = [pid for pid in children.get(todo.pop(), ()) if pid not in spared and pid not in found]
        found.update(below)
        todo += below
    return found


def _signal_all(pids: set[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except OSError:
            continue  # gone meanwhile, or root's


def guard(requests: socket.socket, supervisor: int) -> None:
    """Forks a keeper for each request until the supervisor is gone, then ends everything."""
    children = Children()
    keepers: set[int] = set()
    ended: list[int] = []

    def on_end(pid: int, status: int) -> None:
        if pid in keepers:
            keepers.discard(pid)
            ended.append(status)

    children.on_end = on_end
    ready = select.poll()
    for fd in (requests.fileno(), supervisor, children.wakes):
        ready.register(fd, select.POLLIN)
    while True:
        events = dict(ready.poll())
        children.reap()
        if any(ended):  # a keeper that did not end by itself has left its tree to us
            children.sweep(spared=keepers)
        ended.clear()
        if supervisor in events:
            break
        if requests.fileno() in events:
            request, fds, _, _ = socket.recv_fds(requests, 1, 5)
            for fd in fds:
                os.set_inheritable(fd, False)  # recv_fds does not hand the kernel its flags
            if not request:
                break
            if len(fds) == 5 and (keeper := _fork_keeper(requests, supervisor, fds)):
                keepers.add(keeper)
            for fd in fds:
                os.close(fd)
    children.on_end = lambda pid, status: None
    children.sweep()


def _fork_keeper(requests: socket.socket, supervisor: int, fds: list[int]) -> int | None:
    channel = socket.socket(fileno=os.dup(fds[0]))
    try:
        pid = os.fork()
    except OSError as why:
        _report(channel, FAILED, why.errno or errno.EAGAIN)
        channel.close()
        return None
    if pid == 0:
        try:
            requests.close()
            keep(channel, supervisor, fds)
        finally:
            os._exit(1)
    channel.close()
    return pid


def keep(channel: socket.socket, supervisor: int, fds: list[int]) -> None:
    """A keeper's whole life: starts the command and ends its tree. Does not return."""
    children = Children()
    os.close(fds[0])
    try:
        command = _start(*_request(channel), fds[1], fds[2:])
    except (OSError, ValueError) as why:
        _report(channel, FAILED, getattr(why, "errno", None) or errno.EINVAL)
        os._exit(0)
    for fd in fds[1:]:
        os.close(fd)
    _report(channel, STARTED, command)
    running = True

    def on_end(pid: int, status: int) -> None:
        nonlocal running
        if pid == command:
            running = False
            _report(channel, ENDED, os.waitstatus_to_exitcode(status))

    children.on_end = on_end
    ready = select.poll()
    for fd in (channel.fileno(), supervisor, children.wakes):
        ready.register(fd, select.POLLIN)
    while True:
        events = dict(ready.poll())
        children.reap()
        told = _told(channel) if channel.fileno() in events else None
        if supervisor in events or told == b"":
            break
        for number in told or b"":
            if number == SWEEP:
                children.sweep()
                _report(channel, SWEPT, 0)
            elif running:
                _signal_all({-command}, number)
    children.sweep()
    os._exit(0)


def _request(channel: socket.socket) -> tuple[list[bytes], dict[bytes, bytes]]:
    size, count = (int.from_bytes(_exactly(channel, HEADER_INT), "little") for _ in range(2))
    words = _exactly(channel, size).split(b"\0")
    return words[:count], dict(word.split(b"=", 1) for word in words[count:] if word)


def _exactly(channel: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = channel.recv(size - len(data))
        if not more:
            os._exit(0)  # nobody wants the command any more
        data += more
    return data


def _told(channel: socket.socket) -> bytes:
    try:
        return channel.recv(64)
    except OSError:
        return b""


def _start(argv: list[bytes], env: dict[bytes, bytes], directory: int, fds: list[int]) -> int:
    """Starts the command in a session of its own. The program is looked for where its own PATH says."""
    os.fchdir(directory)
    path = env.get(b"PATH", os.defpath.encode()).split(b":")
    places = [b""] if b"/" in argv[0] else [place + b"/" if place else b"" for place in path]
    failure: OSError = FileNotFoundError(errno.ENOENT, "")
    for place in places:
        try:
            return os.posix_spawn(
                place + argv[0],
                argv,
                env,
                file_actions=[(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(fds)],
                setsid=True,
                setsigmask=(),
                setsigdef=RESTORED,
            )
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as why:
            failure = why  # another place may have one that can be run
    raise failure


def _report(channel: socket.socket, letter: bytes, value: int) -> None:
    try:
        channel.sendall(letter + value.to_bytes(RECORD_INT, "little", signed=True))
    except OSError:
        return  # nobody listens any more


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        return  # that of the listing itself


def main() -> None:
    """Guards until the supervisor is gone. What a terminal or a service manager sends to everybody does not count."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    os.chdir("/")
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            _close(int(name))  # what the supervisor has forgotten to keep to itself
    supervisor = int(sys.argv[1])
    lifeline = os.pidfd_open(supervisor)
    if os.getppid() == supervisor:  # it may be gone already, and the number another's
        gc.disable()
        gc.freeze()  # what is looked through is copied for each keeper
        guard(socket.socket(fileno=0), lifeline)
    os._exit(0)


if __name__ == "__main__":
    main()
