"""Where bytes come from and go to: raw descriptors on the event loop, and pairs in memory.

Nothing here knows what the bytes mean. Writing never waits: bytes are queued, joined and written once per turn of the
event loop, and `drain` is how a writer of much learns that the other end keeps up.
"""

import asyncio
import contextlib
import fcntl
import os
import select
import stat
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import anyio
import anyio.lowlevel

from acp_wire.errors import ConnectionClosed

CHUNK = 256 * 1024
F_SETPIPE_SZ = getattr(fcntl, "F_SETPIPE_SZ", None)
PIPE_BYTES = 1024 * 1024
FLUSH_SECONDS = 1.0


class Stream(Protocol):
    """Both directions of one connection."""

    @property
    def buffered(self) -> int:
        """Bytes written here that the other end, or the operating system for it, has not taken yet."""

    async def receive(self) -> bytes:
        """What has arrived, at least one byte; `b""` once the other end will send nothing more."""

    def write(self, data: bytes) -> None:
        """Queues `data`, in order. Raises `ConnectionClosed` when nobody can receive it any more."""

    async def drain(self, below: int = 0) -> None:
        """Waits until at most `below` bytes are buffered. Raises `ConnectionClosed` when they never will be."""

    def when_drained(self, fn: Callable[[], None]) -> None:
        """Calls `fn` once, from the event loop, as soon as nothing is buffered; never, if the other end goes first."""

    async def aclose(self) -> None:
        """Flushes for a second at most, then closes both directions."""


class FdStream:
    """Two raw descriptors, non-blocking where the kernel can wait for them, direct where it cannot (regular files)."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd, self._write_fd = read_fd, write_fd
        self._loop = asyncio.get_running_loop()
        # One buffer, not a queue of messages: the shortest that orjson returns takes 4 KiB.
        self._unsent = bytearray()
        self._scheduled = False
        self._waiting_to_write = False
        self._when_drained: list[Callable[[], None]] = []
        self._other_end_gone = anyio.Event()
        # Of whoever waits for something to be written, or to be readable.
        self._written: anyio.Event | None = None
        self._readable: asyncio.Future[None] | None = None
        self._listening = False
        self._read_waits = _set_nonblocking(read_fd)
        self._write_waits = _set_nonblocking(write_fd)
        if F_SETPIPE_SZ is not None and stat.S_ISFIFO(os.fstat(write_fd).st_mode):
            with contextlib.suppress(OSError):
                fcntl.fcntl(write_fd, F_SETPIPE_SZ, PIPE_BYTES)
        if self._write_waits and _hangs_up(write_fd):
            self._loop.add_reader(write_fd, self._reader_of_ours_moved)

    @property
    def buffered(self) -> int:
        return len(self._unsent)

    async def receive(self) -> bytes:
        await asyncio.sleep(0)  # a peer that floods us must not starve the tasks that answer it
        while True:
            try:
                return os.read(self._read_fd, CHUNK)
            except BlockingIOError:
                if self._other_end_gone.is_set():
                    return b""
                await self._readable_or_gone()
            except OSError:
                return b""

    async def _readable_or_gone(self) -> None:
        """A client that closed only its reading side is as gone as one that closed both."""
        self._readable = self._loop.create_future()
        if not self._listening:
            self._listening = True
            self._loop.add_reader(self._read_fd, self._settle)
        try:
            await self._readable
        finally:
            self._readable = None

    def _settle(self) -> None:
        """Something is to be read. Where nobody waits for it, it is not told again until somebody does: to begin and to
        end that for each piece would cost more than the reading."""
        if self._readable is not None and not self._readable.done():
            self._readable.set_result(None)
        elif self._readable is None:
            self._listen_no_more()

    def _listen_no_more(self) -> None:
        if self._listening:
            self._listening = False
            self._loop.remove_reader(self._read_fd)

    def write(self, data: bytes) -> None:
        if self._other_end_gone.is_set():
            raise ConnectionClosed("the other end does not read any more")
        self._unsent += data
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if self._other_end_gone.is_set():
            return
        while self._unsent:
            try:
                sent = os.write(self._write_fd, self._unsent)
            except BlockingIOError:
                break
            except OSError:
                self._gone()
                return
            del self._unsent[:sent]
        self._wait_to_write(bool(self._unsent))
        self._tell_written()
        if not self._unsent:
            _call_all(self._when_drained)

    def _wait_to_write(self, wanted: bool) -> None:
        if wanted and not self._waiting_to_write:
            self._loop.add_writer(self._write_fd, self._flush)
        elif self._waiting_to_write and not wanted:
            self._loop.remove_writer(self._write_fd)
        self._waiting_to_write = wanted

    def _reader_of_ours_moved(self) -> None:
        poll = select.poll()
        poll.register(self._write_fd, 0)
        if poll.poll(0):
            self._gone()
        else:
            self._loop.remove_reader(self._write_fd)

    def _gone(self) -> None:
        if self._other_end_gone.is_set():
            return
        self._other_end_gone.set()
        self._unsent.clear()
        self._loop.remove_reader(self._write_fd)
        self._wait_to_write(False)
        self._tell_written()
        if self._readable is not None and not self._readable.done():
            self._readable.set_result(None)

    def _tell_written(self) -> None:
        if self._written is not None:
            self._written.set()
            self._written = None

    def when_drained(self, fn: Callable[[], None]) -> None:
        self._when_drained.append(fn)
        if not self._scheduled and not self._waiting_to_write:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    async def drain(self, below: int = 0) -> None:
        while len(self._unsent) > below:
            if self._written is None:
                self._written = anyio.Event()
            await self._written.wait()
        if self._other_end_gone.is_set():
            raise ConnectionClosed("the other end does not read any more")

    async def aclose(self) -> None:
        with anyio.move_on_after(FLUSH_SECONDS, shield=True), contextlib.suppress(ConnectionClosed):
            await self.drain()
        self._gone()
        fds = {self._read_fd, self._write_fd} - {-1}
        self._listening = False
        # Whoever still reads or closes us again must not meet a file that has got the same number since.
        self._read_fd = self._write_fd = -1
        for fd in fds:
            self._loop.remove_reader(fd)
            with contextlib.suppress(OSError):
                os.close(fd)


def _call_all(callbacks: list[Callable[[], None]]) -> None:
    taken = callbacks[:]
    callbacks.clear()
    for fn in taken:
        fn()


def _set_nonblocking(fd: int) -> bool:
    """True where the event loop can wait for `fd`; regular files and most devices are always ready instead."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd):
        os.set_blocking(fd, False)
        return True
    return False


def _hangs_up(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


@contextlib.asynccontextmanager
async def stdio() -> AsyncIterator[Stream]:
    """The process's own stdin and stdout as a stream, with fd 1 turned into fd 2 for as long as it lasts.

    So a stray print, a warning, a C library or a child process writes to stderr and cannot break the wire, and a child
    that reads stdin gets an end of file instead of our messages. On the way out the descriptors are blocking again:
    they may be shared with a shell.
    """
    read_fd, write_fd = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    os.dup2(2, 1)
    blocking = {fd: os.get_blocking(fd) for fd in (read_fd, write_fd)}
    kept = {fd: os.dup(fd) for fd in blocking}
    stream = FdStream(read_fd, write_fd)
    try:
        yield stream
    finally:
        await stream.aclose()
        for fd, was in blocking.items():
            with contextlib.suppress(OSError):
                os.set_blocking(kept[fd], was)
            os.close(kept[fd])


def fd_stream(read_fd: int, write_fd: int) -> Stream:
    """A stream over a child's pipes, which it owns from here on. Needs a running event loop."""
    return FdStream(read_fd, write_fd)


class MemoryStream:
    """One end of a pair in memory. What one end writes is buffered until the other has received it."""

    def __init__(self) -> None:
        self._inbox: deque[bytes] = deque()
        self._unread = 0
        self._closed = False
        self._changed = anyio.Event()
        self._when_drained: list[Callable[[], None]] = []
        self.peer: MemoryStream = self

    @property
    def buffered(self) -> int:
        return self.peer._unread

    async def receive(self) -> bytes:
        await asyncio.sleep(0)
        while not self._inbox:
            if self._closed or self.peer._closed:
                return b""
            await self._changed.wait()
        data = b"".join(self._inbox)
        self._inbox.clear()
        self._unread = 0
        self.peer._wake()
        _call_all(self.peer._when_drained)
        return data

    def write(self, data: bytes) -> None:
        if self._closed or self.peer._closed:
            raise ConnectionClosed("the other end is closed")
        self.peer._inbox.append(data)
        self.peer._unread += len(data)
        self.peer._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def when_drained(self, fn: Callable[[], None]) -> None:
        if self.buffered:
            self._when_drained.append(fn)
        else:
            asyncio.get_running_loop().call_soon(fn)

    async def drain(self, below: int = 0) -> None:
        while self.buffered > below:
            if self._closed or self.peer._closed:
                raise ConnectionClosed("the other end is closed")
            await self._changed.wait()

    async def aclose(self) -> None:
        self._closed = True
        self._wake()
        self.peer._wake()


def memory_pair() -> tuple[MemoryStream, MemoryStream]:
    """Two streams, each the other's far end."""
    one, other = MemoryStream(), MemoryStream()
    one.peer, other.peer = other, one
    return one, other
