"""What both servers keep by themselves, without the local files in front of them."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from event_log import LogStorageFailed, StoreInvalid, StoreUnreachable
from event_log.owner import new_owner
from event_log.stores.address import parse
from event_log.stores.server import Fenced, Holder, Lease, Server
from tests.support.servers import everything, made, ordinary, space

HERE = Holder(new_owner(), "here")
THERE = Holder(replace(new_owner(), host="another"), "there")
LINES = b"".join(b'{"n":%d,"text":"h\xc3\xa9 %d"}\n' % (n, n) for n in range(1, 1301))


def first(count: int, after: int = 0) -> bytes:
    return b"".join(LINES.splitlines(True)[after : after + count])


@pytest.fixture(params=["redis", "postgresql"])
async def url(request) -> AsyncIterator[str]:
    async with space(ordinary(request.param)) as url:
        yield url


@pytest.fixture
async def server(url) -> AsyncIterator[Server]:
    server = made(url)
    yield server
    await server.aclose()


async def test_a_log_that_was_never_there_has_no_lease_and_no_lines(server: Server):
    assert await server.lease("s-1") is None
    assert await server.read("s-1", 0) == b""
    assert await server.recent() == []


async def test_who_takes_a_log_has_its_lease_until_it_is_released_and_is_known_afterwards(server: Server):
    await server.take("s-1", HERE, 0, 7)
    assert await server.lease("s-1") == Lease(HERE, True, 7, 0, False)
    await server.release("s-1", THERE, 7)
    await server.release("s-1", HERE, 6)
    assert (await server.lease("s-1")).held
    await server.release("s-1", HERE, 7)
    assert await server.lease("s-1") == Lease(HERE, False, 7, 0, False)


async def test_of_two_who_want_a_log_one_wins(server: Server):
    await server.take("s-1", HERE, 0, 7)
    with pytest.raises(Fenced):
        await server.take("s-1", THERE, 0, 8)
    await server.take("s-1", THERE, 7, 8)
    with pytest.raises(Fenced):
        await server.take("s-1", HERE, 7, 9)
    assert await server.lease("s-1") == Lease(THERE, True, 8, 0, False)


async def test_lines_are_read_as_they_were_appended_from_any_number_on(server: Server):
    await server.take("s-1", HERE, 0, 7)
    await server.append("s-1", HERE, 7, 1, first(1))
    await server.append("s-1", HERE, 7, 2, first(1299, after=1))
    assert await everything(server) == LINES
    assert (await server.read("s-1", 1298)).splitlines() == LINES.splitlines()[1298:]
    assert await server.read("s-1", 1300) == b""
    assert (await server.lease("s-1")).last == 1300


async def test_lines_that_come_again_are_there_once(server: Server):
    await server.take("s-1", HERE, 0, 7)
    for number, lines in ((1, first(3)), (1, first(3)), (2, first(4, after=1)), (1, first(2))):
        await server.append("s-1", HERE, 7, number, lines)
    assert await everything(server) == first(5)


async def test_a_gap_is_refused(server: Server):
    await server.take("s-1", HERE, 0, 7)
    with pytest.raises(Fenced):
        await server.append("s-1", HERE, 7, 2, first(1, after=1))
    assert await everything(server) == b""


async def test_who_has_lost_the_lease_adds_nothing(server: Server):
    with pytest.raises(Fenced):
        await server.append("s-1", HERE, 7, 1, first(1))
    await server.take("s-1", HERE, 0, 7)
    await server.append("s-1", HERE, 7, 1, first(1))
    await server.take("s-1", THERE, 7, 8)
    for holder, fence in ((HERE, 7), (HERE, 8), (THERE, 7)):
        with pytest.raises(Fenced):
            await server.append("s-1", holder, fence, 2, first(1, after=1))
    await server.append("s-1", THERE, 8, 2, first(1, after=1))
    assert await everything(server) == first(2)


async def test_a_deleted_log_is_empty_and_nobody_brings_it_back_but_by_beginning_it_anew(server: Server):
    await server.take("s-1", HERE, 0, 7)
    await server.append("s-1", HERE, 7, 1, first(3))
    await server.delete("s-1")
    lease = await server.lease("s-1")
    assert (lease.deleted, lease.held, lease.last) == (True, False, 0)
    assert lease.fence > 7
    assert await everything(server) == b""
    assert await server.recent() == []
    with pytest.raises(Fenced):
        await server.append("s-1", HERE, 7, 4, first(1, after=3))
    await server.take("s-1", THERE, lease.fence, 20)
    assert await server.lease("s-1") == Lease(THERE, True, 20, 0, False)
    await server.append("s-1", THERE, 20, 1, first(2))
    assert await everything(server) == first(2)


async def test_deleting_what_is_not_there_leaves_nothing(server: Server):
    await server.delete("s-1")
    assert await server.lease("s-1") is None


async def test_logs_are_listed_with_the_time_of_their_last_line(server: Server):
    for name in ("a", "b"):
        await server.take(name, HERE, 0, 7)
    listed = {name: at for at, name in await server.recent()}
    await server.append("a", HERE, 7, 1, first(1))
    later = {name: at for at, name in await server.recent()}
    assert later["a"] >= listed["a"]
    assert later["b"] == listed["b"]
    assert sorted(later) == ["a", "b"]


async def test_an_owner_lives_from_its_beat_until_it_leaves(server: Server):
    assert not await server.alive(HERE)
    await server.beat(HERE)
    await server.beat(HERE)
    assert await server.alive(HERE)
    assert not await server.alive(THERE)
    await server.leave(HERE)
    assert not await server.alive(HERE)


async def test_a_name_and_a_line_are_data_whatever_is_in_them(server: Server):
    line = b'{"n":1,"t":"\'; drop table ars_logs; -- \\u0000 %s {} \\n"}\n'
    await server.take("-_-", HERE, 0, 7)
    await server.append("-_-", HERE, 7, 1, line)
    assert await everything(server, "-_-") == line


async def test_it_connects_again_after_it_was_closed(server: Server):
    await server.take("s-1", HERE, 0, 7)
    await server.aclose()
    assert (await server.lease("s-1")).fence == 7


@pytest.mark.parametrize("scheme", ["redis", "rediss", "postgresql"])
async def test_a_server_that_is_not_there_is_told_in_one_line_without_the_password(scheme: str):
    server = made(f"{scheme}://someone:hunter2hunter2@127.0.0.1:1/base")
    with pytest.raises(StoreUnreachable) as failure:
        await server.lease("s-1")
    await server.aclose()
    assert isinstance(failure.value, LogStorageFailed)
    assert str(failure.value).startswith(f"the store at {scheme}://127.0.0.1:1/base cannot be reached now: ")
    assert "\n" not in str(failure.value)
    assert "hunter2" not in str(failure.value)
    assert "someone" not in str(failure.value)


async def test_a_wrong_password_is_told_without_it(url: str):
    server = made(url.replace("postgres@", "nobody-of-this-name@").replace("redis://", "redis://x:hunter2hunter2@"))
    with pytest.raises(StoreUnreachable) as failure:
        await server.lease("s-1")
    await server.aclose()
    assert "hunter2" not in str(failure.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://x:hunter2hunter2/1@localhost",
        "redis://x:hunter2#hunter2@localhost",
        "redis://x:hunter2 hunter2@localhost",
        "redis://[x:hunter2hunter2@localhost",
        "postgresql://x:hunter2hunter2@localhost:99999/base",
        "postgresql:hunter2hunter2",
    ],
)
def test_a_url_that_is_none_is_refused_without_repeating_it(url: str):
    with pytest.raises(StoreInvalid) as refusal:
        parse(url)
    assert "hunter2" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_address_shows_no_secret_and_its_directory_does_not_depend_on_it():
    one = parse("postgresql://me:hunter2hunter2@h:1/base?sslmode=require&password=hunter3hunter3")
    other = parse("postgresql://me:changed@h:1/base")
    assert "hunter" not in repr(one)
    assert one.shown == "postgresql://h:1/base"
    assert one.directory == other.directory
    assert one.directory != parse("postgresql://me:changed@h:2/base").directory
    assert parse("redis://h/1?prefix=a:").directory != parse("redis://h/1").directory
