"""A store on a server: what is written here first, what the server has, and who wins when there are two."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from event_log import Log, LogHeld, LogLost, LogNotFound, LogStorageFailed
from event_log.owner import Owner, new_owner
from event_log.stores.mirrored import MirroredStore
from tests.support.servers import OWN, OwnServer, everything, forget, made, ordinary, space
from tests.support.waiting import until

KINDS = ["redis", "postgresql"]


@pytest.fixture(params=KINDS)
async def url(request) -> AsyncIterator[str]:
    async with space(ordinary(request.param)) as url:
        yield url


class Hosts:
    """Stores of one server, each in the directory of a host, that run until the test ends or `dies`."""

    def __init__(self, url: str, place: Path) -> None:
        self.url, self.told = url, list[str]()
        self._place = place
        self._stores: list[MirroredStore] = []
        self._running: list[asyncio.Task[None]] = []

    def start(self, host: str = "here", owner: Owner | None = None, takes_over: list[str] | None = None):
        if owner is None and host != "here":
            owner = replace(new_owner(), host=host, boot=host)
        store = self.store(host, owner, takes_over)
        self._running.append(asyncio.create_task(store.run()))
        return store

    def store(self, host: str = "here", owner: Owner | None = None, takes_over: list[str] | None = None):
        """One that does nothing beside: what it writes stays here until it is closed."""
        store = MirroredStore(made(self.url), str(self._place / host), takes_over or (), self.told.append, owner)
        self._stores.append(store)
        return store

    async def end(self) -> None:
        for store in self._stores:
            await store.close()
        await asyncio.gather(*self._running)

    def file(self, name: str, host: str = "here") -> Path:
        return self._place / host / name


@pytest.fixture
async def hosts(url, tmp_path) -> AsyncIterator[Hosts]:
    hosts = Hosts(url, tmp_path)
    yield hosts
    await hosts.end()


@pytest.fixture
async def server(url):
    server = made(url)
    yield server
    await server.aclose()


def words(*texts: str) -> list[dict]:
    return [{"text": text} for text in texts]


def texts(log: Log) -> list[str]:
    return [entry["text"] for _, entry in log.read()]


async def taken(store: MirroredStore, name: str = "s-1") -> Log:
    log = await store.open(name)
    await store.claim(log)
    return log


async def test_what_is_appended_comes_to_the_server_in_the_order_of_its_numbers(hosts: Hosts, server):
    store = hosts.start()
    log = await store.create("s-1")
    for i in range(50):
        log.append(words(*(f"{i}.{j}" for j in range(i))))
    await until(lambda: store.confirmed("s-1") == log.last)
    assert await everything(server) == hosts.file("s-1.jsonl").read_bytes()


async def test_more_than_goes_in_one_piece_comes_to_the_server(hosts: Hosts, server):
    store = hosts.start()
    log = await store.create("s-1")
    log.append(words("x" * 700_000, *("y" * 1000 for _ in range(2000)), "z" * 300_000))
    await until(lambda: store.confirmed("s-1") == log.last, 30)
    assert await everything(server) == hosts.file("s-1.jsonl").read_bytes()


async def test_another_host_reads_what_the_server_has_while_the_owner_writes(hosts: Hosts):
    here, there = hosts.start(), hosts.start("there")
    log = await here.create("s-1")
    log.append(words("a", "b"))
    await until(lambda: here.confirmed("s-1") == 2)
    reading = await there.open("s-1")
    assert texts(reading) == ["a", "b"]
    log.append(words("c"))
    await until(lambda: here.confirmed("s-1") == 3)
    assert texts(reading) == ["a", "b"]
    assert await there.open("s-1") is reading
    assert texts(reading) == ["a", "b", "c"]


async def test_what_another_host_holds_cannot_be_claimed_or_deleted_and_the_error_names_the_holder(hosts: Hosts):
    here, there = hosts.start(), hosts.start("there")
    log = await here.create("s-1")
    log.append(words("a"))
    await until(lambda: here.confirmed("s-1") == 1)
    reading = await there.open("s-1")
    for refused in (there.claim(reading), there.delete("s-1")):
        with pytest.raises(LogHeld, match=rf"pid {here.owner.pid} on {here.owner.host}"):
            await refused
    assert texts(reading) == ["a"]
    assert log.append(words("b")) == 2


@pytest.mark.parametrize("how", ["log", "store"])
async def test_what_is_given_up_another_host_claims_at_once_with_all_that_is_in_it(hosts: Hosts, how: str):
    here, there = hosts.start(), hosts.start("there")
    log = await here.create("s-1")
    log.append(words("a", "b"))
    await until(lambda: here.confirmed("s-1") == 2)
    if how == "log":
        log.close()
        await until(lambda: not hosts.file("unsettled/s-1").exists())
    else:
        await here.close()
    again = await taken(there)
    assert again.fence > 0
    assert texts(again) == ["a", "b"]
    assert again.append(words("c")) == 3
    await until(lambda: there.confirmed("s-1") == 3)


async def test_a_log_goes_back_and_forth_between_hosts(hosts: Hosts):
    stores = [hosts.start(), hosts.start("there")]
    (await stores[0].create("s-1")).close()
    for i in range(6):
        store = stores[i % 2]
        await until(lambda: not hosts.file("unsettled/s-1").exists())
        await until(lambda: not hosts.file("unsettled/s-1", "there").exists())
        log = await taken(store)
        assert texts(log) == [str(n) for n in range(i)]
        log.append(words(str(i)))
        log.close()
    assert not hosts.told


async def test_what_a_dead_process_could_not_bring_the_next_one_of_its_host_brings(hosts: Hosts, server):
    dead = hosts.store()
    (await dead.create("s-1")).append(words("a", "b"))
    (await dead.create("s-2")).append(words("c"))
    assert await server.lease("s-1") is None
    hosts.start(takes_over=[dead.owner.id])
    await until(lambda: not any(hosts.file("unsettled").iterdir()))
    assert await everything(server) == hosts.file("s-1.jsonl").read_bytes()
    assert await everything(server, "s-2") == hosts.file("s-2.jsonl").read_bytes()
    assert not (await server.lease("s-1")).held


async def test_a_living_process_of_this_host_is_left_alone_by_the_next_one(hosts: Hosts, server):
    alive = hosts.store()
    log = await alive.create("s-1")
    log.append(words("a"))
    other = hosts.start()
    mine = await other.create("s-2")
    mine.append(words("b"))
    await until(lambda: other.confirmed("s-2") == 1)
    assert await server.lease("s-1") is None
    assert log.append(words("b")) == 2
    mine.close()
    await alive.push()
    assert await everything(server) == hosts.file("s-1.jsonl").read_bytes()


async def test_a_take_over_on_the_same_host_goes_on_from_the_file_which_is_ahead(hosts: Hosts, server):
    dead = hosts.store()
    log = await dead.create("s-1")
    log.append(words("a", "b"))
    await dead.push()
    log.append(words("c"))
    assert (await server.lease("s-1")).last == 2
    store = hosts.start(takes_over=[dead.owner.id])
    again = await taken(store)
    assert texts(again) == ["a", "b", "c"]
    again.append(words("d"))
    await until(lambda: store.confirmed("s-1") == 4)
    assert await everything(server) == hosts.file("s-1.jsonl").read_bytes()
    with suppress(LogLost):  # already, when this process stood still for a second before
        log.append(words("never"))
    await dead.push()
    with pytest.raises(LogLost):
        log.append(words("never"))
    assert not hosts.told


async def test_who_was_taken_over_elsewhere_is_fenced_and_what_only_it_has_is_kept_aside(hosts: Hosts, server):
    here = hosts.store()
    log = await here.create("s-1")
    log.append(words("a"))
    await here.push()
    log.append(words("b", "c"))
    there = hosts.start("there", takes_over=[here.owner.id])
    again = await taken(there)
    assert texts(again) == ["a"]
    again.append(words("B"))
    await until(lambda: there.confirmed("s-1") == 2)
    await here.push()
    with pytest.raises(LogLost):
        log.append(words("d"))
    assert hosts.file("s-1.orphaned").read_bytes() == b'{"n":2,"text":"b"}\n{"n":3,"text":"c"}\n'
    assert len(hosts.told) == 1
    assert "2 entries" in hosts.told[0]
    assert str(hosts.file("s-1.orphaned")) in hosts.told[0]
    assert await everything(server) == hosts.file("s-1.jsonl", "there").read_bytes()
    assert texts(await here.open("s-1")) == ["a", "B"]


@pytest.mark.parametrize("other", ["host", "directory"])
async def test_what_a_dead_process_wrote_after_a_take_over_elsewhere_is_kept_aside_by_the_next_one(
    hosts: Hosts, other: str
):
    dead = hosts.store()
    log = await dead.create("s-1")
    log.append(words("a"))
    await dead.push()
    log.append(words("b"))
    there = hosts.start("there", new_owner() if other == "directory" else None, takes_over=[dead.owner.id])
    (await taken(there)).append(words("B"))
    await until(lambda: there.confirmed("s-1") == 2)
    hosts.start(takes_over=[dead.owner.id])
    await until(lambda: not any(hosts.file("unsettled").iterdir()))
    assert hosts.file("s-1.orphaned").read_bytes() == b'{"n":2,"text":"b"}\n'
    assert hosts.file("s-1.jsonl").read_bytes() == hosts.file("s-1.jsonl", "there").read_bytes()


async def test_of_two_hosts_that_claim_at_once_one_wins(hosts: Hosts):
    first = hosts.store()
    (await first.create("s-1")).append(words("a"))
    await first.push()
    await first.close()
    stores = [hosts.start(f"host-{i}") for i in range(4)]
    won: list[MirroredStore] = []

    async def claim(store: MirroredStore) -> None:
        try:
            await taken(store)
            won.append(store)
        except LogHeld:
            pass

    async with anyio.create_task_group() as tasks:
        for store in stores:
            tasks.start_soon(claim, store)
    assert len(won) == 1


async def test_after_a_power_cut_the_file_counts_as_far_as_it_agrees_with_the_server(hosts: Hosts, server):
    before = hosts.store(owner=replace(new_owner(), boot="before"))
    log = await before.create("s-1")
    log.append(words("a", "b", "c"))
    await before.push()
    file = hosts.file("s-1.jsonl")
    file.write_bytes(file.read_bytes()[:-5])
    store = hosts.start(takes_over=[before.owner.id])
    again = await taken(store)
    assert texts(again) == ["a", "b", "c"]
    again.append(words("d"))
    await until(lambda: store.confirmed("s-1") == 4)
    assert await everything(server) == file.read_bytes()


async def test_what_is_in_the_place_of_entries_that_a_power_cut_took_is_kept_aside(hosts: Hosts, server):
    before = hosts.store(owner=replace(new_owner(), boot="before"))
    log = await before.create("s-1")
    log.append(words("a", "b"))
    await before.push()
    file = hosts.file("s-1.jsonl")
    file.write_bytes(file.read_bytes().replace(b'"b"', b'"B"'))
    again = await taken(hosts.start(takes_over=[before.owner.id]))
    assert texts(again) == ["a", "b"]
    assert hosts.file("s-1.orphaned").read_bytes() == b'{"n":2,"text":"B"}\n'


async def test_a_deleted_log_is_gone_for_all_hosts_and_nobody_brings_it_back(hosts: Hosts, server):
    here, there = hosts.store(), hosts.start("there", takes_over=[])
    log = await here.create("s-1")
    log.append(words("a"))
    await here.push()
    deleting = hosts.start("third", takes_over=[here.owner.id])
    await deleting.delete("s-1")
    for store in (there, deleting):
        with pytest.raises(LogNotFound):
            await store.open("s-1")
    log.append(words("b"))
    await here.push()
    with pytest.raises(LogLost):
        log.append(words("c"))
    assert not hosts.file("s-1.jsonl").exists()
    assert (await server.lease("s-1")).deleted
    assert await there.names() == []


async def test_lists_have_what_the_server_has_and_what_it_was_not_told_yet(hosts: Hosts):
    here, there = hosts.store(), hosts.start("there")
    await here.create("mine")
    theirs = await there.create("theirs")
    theirs.append(words("a"))
    await until(lambda: there.confirmed("theirs") == 1)
    assert sorted(await here.names()) == ["mine", "theirs"]
    assert await there.names() == ["theirs"]
    at, name = (await there.recent())[0]
    assert name == "theirs"
    assert at > 0


async def test_a_log_that_was_only_read_here_is_no_newer_for_that(hosts: Hosts):
    here, there = hosts.store(), hosts.start("there")
    theirs = await there.create("theirs")
    theirs.append(words("a"))
    await until(lambda: there.confirmed("theirs") == 1)
    before = await here.recent()
    assert list((await here.open("theirs")).read()) == [(1, {"text": "a"})]
    assert await here.recent() == before


async def test_a_log_that_was_closed_is_claimed_again_while_it_is_still_on_its_way(hosts: Hosts, server):
    store = hosts.start()
    log = await store.create("s-1")
    for i in range(20):
        log.append(words(*map(str, range(i))))
        log.close()
        log = await taken(store)
    await until(lambda: store.confirmed("s-1") == log.last)
    assert await everything(server) == hosts.file("s-1.jsonl").read_bytes()


@pytest.mark.parametrize("scheme", KINDS)
async def test_a_store_that_was_not_used_asks_its_server_nothing_at_its_end(scheme: str, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        hosts = Hosts(f"{scheme}://127.0.0.1:{listening.getsockname()[1]}", tmp_path)
        hosts.start()
        await anyio.wait_all_tasks_blocked()
        await hosts.end()
        with pytest.raises(BlockingIOError):
            listening.accept()


@pytest.fixture(params=KINDS)
def own(request):
    with OWN[request.param]() as server:
        yield server


@pytest.fixture
async def own_hosts(own, tmp_path) -> AsyncIterator[Hosts]:
    hosts = Hosts(own.url, tmp_path)
    yield hosts
    await hosts.end()


async def test_without_a_server_sessions_begin_and_go_on_and_it_is_filled_when_it_is_there(
    own: OwnServer, own_hosts: Hosts
):
    own.kill()
    store = own_hosts.start()
    log = await store.create("s-1")
    log.append(words("a"))
    await until(lambda: len(own_hosts.told) == 1)
    assert f"127.0.0.1:{own.port}" in own_hosts.told[0]
    log.append(words("b"))
    assert await store.open("s-1") is log
    for refused in (store.open("another"), store.delete("another"), store.names()):
        with anyio.fail_after(20), pytest.raises(LogStorageFailed, match="cannot be reached now"):
            await refused
    own.start()
    await until(lambda: store.confirmed("s-1") == 2)
    assert len(own_hosts.told) == 2
    server = made(own.url)
    assert await everything(server) == own_hosts.file("s-1.jsonl").read_bytes()
    await server.aclose()


async def test_a_server_that_forgot_everything_is_filled_again(hosts: Hosts, server):
    store = hosts.start()
    log = await store.create("s-1")
    log.append(words("a", "b"))
    await until(lambda: store.confirmed("s-1") == 2)
    await forget(hosts.url)
    log.append(words("c"))
    await until(lambda: store.confirmed("s-1") == 3)
    assert await everything(server) == hosts.file("s-1.jsonl").read_bytes()
