"""Streams over real descriptors: pipes, sockets, regular files."""

import contextlib
import os
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from acp_wire import framing
from acp_wire.errors import ConnectionClosed
from acp_wire.streams import FdStream, Stream, fd_stream, memory_pair

BIG = bytes(range(256)) * 4096 * 8  # 8 MiB


@contextlib.asynccontextmanager
async def pipes() -> AsyncIterator[tuple[Stream, Stream]]:
    here_in, there_out = os.pipe()
    there_in, here_out = os.pipe()
    async with _closing(fd_stream(here_in, here_out), fd_stream(there_in, there_out)) as pair:
        yield pair


@contextlib.asynccontextmanager
async def sockets() -> AsyncIterator[tuple[Stream, Stream]]:
    one, other = socket.socketpair()
    here, there = one.detach(), other.detach()
    async with _closing(fd_stream(here, here), fd_stream(there, there)) as pair:
        yield pair


@contextlib.asynccontextmanager
async def memory() -> AsyncIterator[tuple[Stream, Stream]]:
    async with _closing(*memory_pair()) as pair:
        yield pair


@contextlib.asynccontextmanager
async def _closing(one: Stream, other: Stream) -> AsyncIterator[tuple[Stream, Stream]]:
    with anyio.fail_after(10):
        yield one, other
        with anyio.move_on_after(2):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(one.aclose)
                tasks.start_soon(other.aclose)


Pair = Callable[[], contextlib.AbstractAsyncContextManager[tuple[Stream, Stream]]]
KINDS = pytest.mark.parametrize("pair", [pipes, sockets, memory])


async def received(stream: Stream, size: int) -> bytes:
    got = bytearray()
    while len(got) < size:
        data = await stream.receive()
        assert data
        got += data
    return bytes(got)


@KINDS
async def test_what_is_written_arrives_in_order_and_nothing_stays_buffered(pair: Pair) -> None:
    async with pair() as (one, other):
        one.write(b"a")
        one.write(b"b" * 1000)
        one.write(b"c")
        assert await received(other, 1002) == b"a" + b"b" * 1000 + b"c"
        await one.drain()
        assert one.buffered == 0


@KINDS
async def test_megabytes_pass_in_both_directions_at_once(pair: Pair) -> None:
    async with pair() as (one, other):
        got: dict[str, bytes] = {}

        async def read(name: str, stream: Stream) -> None:
            got[name] = await received(stream, len(BIG) + 1)

        async with anyio.create_task_group() as tasks:
            for name, stream in (("one", one), ("other", other)):
                stream.write(BIG)
                stream.write(b"!")
                tasks.start_soon(read, name, stream)
        assert got == {"one": BIG + b"!", "other": BIG + b"!"}


@KINDS
async def test_a_reader_that_has_stopped_shows_in_buffered_and_when_drained_tells_of_its_return(pair: Pair) -> None:
    async with pair() as (one, other):
        one.write(BIG)
        one.write(BIG)
        drained = anyio.Event()
        one.when_drained(drained.set)
        await anyio.lowlevel.checkpoint()
        assert one.buffered > len(BIG)
        assert not drained.is_set()
        await received(other, 2 * len(BIG))
        await drained.wait()
        assert one.buffered == 0


@KINDS
async def test_when_drained_is_called_soon_where_nothing_is_buffered(pair: Pair) -> None:
    async with pair() as (one, _):
        drained = anyio.Event()
        one.when_drained(drained.set)
        await drained.wait()


@KINDS
async def test_the_end_of_the_other_side_is_an_empty_read_after_all_that_it_sent(pair: Pair) -> None:
    async with pair() as (one, other):
        other.write(b"last")
        await other.aclose()
        assert await one.receive() == b"last"
        assert await one.receive() == b""


@KINDS
async def test_writing_to_a_side_that_is_gone_raises_and_drain_does_not_wait(pair: Pair) -> None:
    async with pair() as (one, other):
        one.write(b"x")
        await received(other, 1)
        await other.aclose()

        async def write_on() -> None:
            while True:
                one.write(b"y")
                await one.drain()

        with pytest.raises(ConnectionClosed):
            await write_on()


async def test_a_client_that_closes_only_what_it_reads_from_us_ends_our_reading() -> None:
    with anyio.fail_after(5):
        here_in, there_out = os.pipe()
        there_in, here_out = os.pipe()
        stream = fd_stream(here_in, here_out)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_expect_end, stream)
            await anyio.wait_all_tasks_blocked()
            os.close(there_in)
        await stream.aclose()
        os.close(there_out)


async def _expect_end(stream: Stream) -> None:
    assert await stream.receive() == b""


async def test_a_regular_file_can_be_read_and_written(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"line\n" * 100_000)
    read_fd = os.open(tmp_path / "in", os.O_RDONLY)
    write_fd = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    stream = FdStream(read_fd, write_fd)
    with anyio.fail_after(5):
        while data := await stream.receive():
            stream.write(data)
        await stream.drain()
        await stream.aclose()
    assert (tmp_path / "out").read_bytes() == b"line\n" * 100_000


async def test_short_messages_that_nobody_reads_take_their_own_size_and_no_more() -> None:
    async with pipes() as (one, _):
        one.write(BIG)
        await anyio.lowlevel.checkpoint()
        tracemalloc.start()
        for number in range(10_000):
            one.write(framing.encode({"id": number}))
        held, _peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held < 2 * one.buffered


async def test_closing_twice_leaves_alone_what_has_got_the_descriptors_meanwhile(tmp_path: Path) -> None:
    here_in, there_out = os.pipe()
    there_in, here_out = os.pipe()
    stream = fd_stream(here_in, here_out)
    await stream.aclose()
    files = [os.open(tmp_path / name, os.O_WRONLY | os.O_CREAT) for name in ("a", "b")]
    assert files == [here_in, here_out]
    await stream.aclose()
    for fd in (*files, there_in, there_out):
        os.close(fd)


async def test_a_reader_that_is_waiting_when_we_close_reads_from_nothing_that_is_opened_next() -> None:
    with anyio.fail_after(5):
        here_in, there_out = os.pipe()
        there_in, here_out = os.pipe()
        stream = fd_stream(here_in, here_out)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_expect_end, stream)
            await anyio.wait_all_tasks_blocked()
            await stream.aclose()
            theirs, write_end = os.pipe()
            os.write(write_end, b"not for us")
        assert os.read(theirs, 100) == b"not for us"
        for fd in (theirs, write_end, there_in, there_out):
            os.close(fd)
