import errno
import inspect
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from event_log import Log, LogDamaged, LogExists, LogLost, LogNotFound, LogNotHeld, LogStorageFailed
from event_log.stores import jsonl_file
from event_log.stores.jsonl import JsonlStore
from event_log.stores.jsonl_file import JsonlFile
from tests.support.unprivileged import as_nobody


@pytest.fixture
async def store(tmp_path) -> AsyncIterator[JsonlStore]:
    store = JsonlStore(str(tmp_path / "logs"))
    yield store
    await store.close()


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "logs" / "s-1.jsonl"


async def fill(store: JsonlStore, count: int) -> None:
    log = await store.create("s-1")
    log.append([{"i": i} for i in range(1, count + 1)])
    log.close()


async def taken(store: JsonlStore) -> Log:
    log = await store.open("s-1")
    await store.claim(log)
    return log


def lines(file: Path) -> list[dict]:
    content = file.read_bytes()
    assert content.endswith(b"\n") or not content
    return [json.loads(line) for line in content.splitlines()]


@contextmanager
def no_file_longer_than(size: int):
    """A disk that is full after `size` bytes, as far as this process can tell."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


async def test_a_log_is_a_file_of_numbered_lines(store, file):
    log = await store.create("s-1")
    log.append([{"kind": "text", "text": "hé"}, {}])
    log.append([{"kind": "end"}])
    log.close()
    assert file.read_text() == '{"n":1,"kind":"text","text":"hé"}\n{"n":2}\n{"n":3,"kind":"end"}\n'


async def test_only_the_owner_can_read_it_whatever_the_umask_says(store, file):
    old = os.umask(0)
    try:
        (await store.create("s-1")).close()
    finally:
        os.umask(old)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="this system does not count a process's writes")
async def test_an_append_is_one_write(store):
    def writes() -> int:
        counters = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        return int(counters["syscw"])

    log = await store.create("s-1")
    before = writes()
    log.append([{"i": i} for i in range(1000)])
    assert writes() - before == 1
    log.close()


async def test_a_second_store_sees_the_entries_as_soon_as_they_are_appended(store):
    log = await store.create("s-1")
    log.append([{"i": 1}])
    other = await JsonlStore(store.directory).open("s-1")
    assert list(other.read()) == [(1, {"i": 1})]
    log.close()


async def test_every_cut_of_the_last_three_entries_opens_with_the_whole_ones_and_goes_on(store, file):
    await fill(store, 200)
    whole = file.read_bytes()
    start = whole.index(b'{"n":198,')
    assert len(whole) - start > 30
    for cut in range(start, len(whole)):
        file.write_bytes(whole[:cut])
        entries = whole[:cut].count(b"\n")
        log = await taken(store)
        assert log.last == entries
        assert log.append([{"after": cut}]) == entries + 1
        log.close()
        assert [line["n"] for line in lines(file)] == list(range(1, entries + 2))


async def test_opening_and_reading_leaves_a_torn_line_to_its_writer(store, file):
    await fill(store, 3)
    torn = file.read_bytes()[:-4]
    file.write_bytes(torn)
    log = await store.open("s-1")
    assert [n for n, _ in log.read()] == [1, 2]
    log.close()
    assert file.read_bytes() == torn


@pytest.mark.parametrize("garbage", [b"\0\0\0\0\n", b"\n", b"not json\n", b"[]\n", b'{"n":9}\n', b"\xff\n"])
async def test_damage_in_the_middle_is_told_with_its_place_when_it_is_read(store, file, garbage):
    await fill(store, 5)
    good = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*good[:2], garbage, *good[3:]]))
    log = await store.open("s-1")
    assert log.last == 5
    reading = log.read()
    assert [next(reading)[0], next(reading)[0]] == [1, 2]
    with pytest.raises(LogDamaged, match="s-1 is damaged") as damage:
        next(reading)
    assert damage.value.number == 3
    assert damage.value.offset == len(b"".join(good[:2]))


@pytest.mark.parametrize("missing", [0, 2])
async def test_a_line_that_is_missing_is_told_at_the_claim_and_when_it_is_read(store, file, missing):
    await fill(store, 5)
    good = file.read_bytes().splitlines(keepends=True)
    del good[missing]
    file.write_bytes(b"".join(good))
    with pytest.raises(LogDamaged, match=f"has the number {missing + 2}"):
        await taken(store)
    reading = (await store.open("s-1")).read()
    assert [next(reading)[0] for _ in range(missing)] == [1, 2][:missing]
    with pytest.raises(LogDamaged):
        next(reading)


async def test_a_last_line_that_was_whole_and_is_garbage_is_damage_not_a_torn_line(store, file):
    await fill(store, 2)
    file.write_bytes(file.read_bytes() + b"something else\n")
    with pytest.raises(LogDamaged) as damage:
        await taken(store)
    assert damage.value.number == 3


async def test_a_damaged_log_is_not_written_and_the_next_process_may_look_at_it_too(store, file):
    await fill(store, 3)
    damaged = file.read_bytes().replace(b'"i":2', b'"i":,')
    file.write_bytes(damaged)
    for one in (store, JsonlStore(store.directory)):
        with pytest.raises(LogDamaged):
            await taken(one)
        with pytest.raises(LogNotHeld):
            (await one.open("s-1")).append([{"i": 4}])
    assert file.read_bytes() == damaged


async def test_damage_that_comes_later_ends_the_writing(store, file):
    log = await store.create("s-1")
    log.append([{"i": 1}, {"i": 2}])
    damaged = file.read_bytes().replace(b'"i":1', b'"i":,')
    file.write_bytes(damaged)
    for _ in range(2):
        with pytest.raises(LogDamaged):
            list(log.read())
        with pytest.raises(LogDamaged):
            log.append([{"i": 3}])
    assert file.read_bytes() == damaged


async def test_a_file_that_has_become_shorter_is_damage(store, file):
    await fill(store, 3)
    log = await store.open("s-1")
    os.truncate(file, file.read_bytes().index(b'{"n":3'))
    with pytest.raises(LogDamaged, match="shorter"):
        list(log.read())


@pytest.mark.parametrize("room", [0, 1, 20, 100])
async def test_a_full_disk_leaves_nothing_half_written_and_the_log_usable(store, file, room):
    log = await store.create("s-1")
    log.append([{"i": 1}])
    before = file.read_bytes()
    with no_file_longer_than(len(before) + room), pytest.raises(LogStorageFailed, match="cannot write"):
        log.append([{"i": i, "text": "x" * 50} for i in range(10)])
    assert file.read_bytes() == before
    assert log.last == 1
    assert log.append([{"i": 2}]) == 2
    log.close()
    assert lines(file) == [{"n": 1, "i": 1}, {"n": 2, "i": 2}]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
async def test_an_append_that_cannot_be_taken_back_is_taken_back_before_the_next_one(store, file):
    await fill(store, 1)
    log = await taken(store)
    kept = file.rename(file.with_suffix(".kept"))
    file.symlink_to("/dev/full")
    for _ in range(2):
        with pytest.raises(LogStorageFailed):
            log.append([{"i": 2}])
    log.close()
    kept.rename(file)
    again = await taken(store)
    assert again.append([{"i": 2}]) == 2
    again.close()
    assert lines(file) == [{"n": 1, "i": 1}, {"n": 2, "i": 2}]


async def test_a_log_whose_directory_has_gone_says_so(store, file):
    await fill(store, 1)
    log = await taken(store)
    file.unlink()
    with pytest.raises(LogStorageFailed, match="No such file"):
        log.append([{"i": 2}])
    with pytest.raises(LogNotFound):
        list(log.read())


async def test_a_place_that_is_not_a_directory_is_one_clear_error(tmp_path):
    (tmp_path / "logs").write_text("")
    store = JsonlStore(str(tmp_path / "logs"))
    with pytest.raises(LogStorageFailed, match=f"cannot make the log's directory {tmp_path}"):
        await store.create("s-1")
    with pytest.raises(LogStorageFailed, match="cannot read"):
        await store.open("s-1")
    with pytest.raises(LogStorageFailed, match="cannot list"):
        await store.names()
    with pytest.raises(LogStorageFailed, match="cannot delete"):
        await store.delete("s-1")
    with pytest.raises(LogStorageFailed, match=f"cannot make the log's directory {tmp_path}/logs/under"):
        await JsonlStore(str(tmp_path / "logs" / "under")).create("s-1")


async def test_a_link_put_in_the_place_of_a_new_log_is_not_followed(store, file, tmp_path):
    (await store.create("other")).close()
    file.symlink_to(tmp_path / "target")
    with pytest.raises(LogExists):
        await store.create("s-1")
    assert not (tmp_path / "target").exists()


async def test_a_log_that_rests_holds_no_descriptor(store, file):
    log = await store.create("s-1")
    log.append([{"a": 1}])
    held = set(os.listdir("/dev/fd"))
    log.rest()
    assert set(os.listdir("/dev/fd")) < held


async def test_a_log_that_rests_while_the_disk_takes_it_gives_its_descriptor_back_afterwards(store, monkeypatch):
    began, goes_on = threading.Barrier(3), threading.Event()
    synced: list[os.stat_result] = []

    def slowly(fd: int) -> None:
        began.wait(10)
        assert goes_on.wait(10)
        synced.append(os.fstat(fd))

    monkeypatch.setattr(jsonl_file, "_sync", slowly)
    log = await store.create("s-1")
    log.append([{"i": 1}])
    path = log.records.file.path
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for _ in range(2):  # the store's own, and that of its end
                tasks.start_soon(anyio.to_thread.run_sync, log.records.sync)
            await anyio.to_thread.run_sync(began.wait, 10)
            log.rest()
            log.append([{"i": 2}])  # by a descriptor of its own
            goes_on.set()
    assert [it.st_ino for it in synced] == [os.stat(path).st_ino] * 2
    assert len(descriptors_of(path)) == 1
    log.rest()
    assert not descriptors_of(path)


def descriptors_of(path: str) -> list[str]:
    return [fd for fd in os.listdir("/proc/self/fd") if os.path.realpath(f"/proc/self/fd/{fd}") == path]


async def test_other_files_in_the_directory_are_not_logs(store, file):
    await fill(store, 1)
    for name in ("note.txt", "a b.jsonl", ".jsonl", "s-1.jsonl.bak"):
        (file.parent / name).touch()
    assert list(await store.names()) == ["s-1"]


WRITER = """
import sys, anyio
from event_log import open_store
log = anyio.run(open_store("jsonl:" + sys.argv[1]).create, "s-1")
while True:
    print(log.append([{"text": "x" * 100}] * 3) + 2, flush=True)
"""


def killed(directory: str) -> int:
    """The number of the last entry that a writer has told of before it was killed."""
    last = 0
    with subprocess.Popen([sys.executable, "-c", WRITER, directory], stdout=subprocess.PIPE) as writer:
        for line in writer.stdout or ():
            if line.endswith(b"\n"):
                last = int(line)
            if last >= 300:
                writer.kill()
    return last


@pytest.mark.e2e
async def test_a_killed_writer_loses_nothing_that_it_has_told(store, file):
    last = killed(store.directory)
    assert last >= 300
    log = await taken(store)
    assert log.last >= last
    assert [n for n, _ in log.read()] == list(range(1, log.last + 1))
    log.append([{"text": "and on"}])
    log.close()
    assert [line["n"] for line in lines(file)] == list(range(1, log.last + 1))


class Unsyncable(JsonlFile):
    def sync(self) -> None:
        raise OSError(errno.EIO, "Input/output error")


async def test_a_disk_that_does_not_take_what_was_written_is_told_at_the_next_append(store):
    async def goes_on() -> None:
        while True:
            await checkpoint()
            log.append([{"i": 2}])

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.run)
            log = await store.create("s-1")
            log.rest()
            log.records.file = Unsyncable("s-1", log.records.file.path)
            log.append([{"i": 1}])
            with pytest.raises(LogStorageFailed, match="have the disk take the log: Input/output error"):
                await goes_on()
            await store.close()


async def test_a_writer_that_was_taken_over_learns_it_with_the_next_sync(store):
    log = await store.create("s-1")
    log.append([{"i": 1}])
    following = log.follow(1)
    third = JsonlStore(store.directory, takes_over=[store.owner.id])
    await taken(third)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.run)
            with pytest.raises(StopAsyncIteration):
                await anext(following)
            assert log.lost
            await store.close()
    with pytest.raises(LogLost):
        log.append([{"i": 2}])
    await third.close()


def refusals(directory: str) -> list[str]:
    """What an ordinary user is told who may not do one thing after the other in a store."""

    async def ask() -> list[str]:
        store = JsonlStore(directory)
        log = await store.create("s-1")
        log.append([{"i": 1}])
        log.rest()
        (await store.create("s-9")).close()
        told = []

        async def refused(mode: int, path: str, what: Callable[[], Any]) -> None:
            before = os.stat(path).st_mode & 0o777
            os.chmod(path, mode)
            try:
                if inspect.isawaitable(found := what()):
                    await found
                told.append("it was allowed")
            except LogStorageFailed as error:
                told.append(str(error))
            os.chmod(path, before)

        file = f"{directory}/s-1.jsonl"
        await refused(0o400, file, lambda: log.append([{"i": 2}]))
        await refused(0o000, file, lambda: list(log.read()))
        await refused(0o500, directory, lambda: store.create("s-2"))
        await refused(0o500, directory, lambda: store.delete("s-9"))
        await refused(0o000, directory, store.names)
        log.append([{"i": 3}])
        log.close()
        log = await store.open("s-1")
        await refused(0o500, directory, lambda: store.claim(log))
        await store.claim(log)
        log.append([{"i": 4}])
        await store.close()
        return [*told, *(str(entry["i"]) for _, entry in (await JsonlStore(directory).open("s-1")).read())]

    return anyio.run(ask)


def test_what_is_not_permitted_is_told_and_works_when_it_is_permitted_again():
    in_a_place_of_its_own(refusals)  # as whoever we are, so that all is imported that an ordinary user could not read
    denied = "Permission denied"
    told = as_nobody(lambda: in_a_place_of_its_own(refusals))
    assert told == [
        f"cannot write to the log: {denied}",
        f"cannot read the log: {denied}",
        *(f"cannot make the log in PLACE: {denied}", f"cannot delete the log: {denied}"),
        f"cannot list the logs: {denied}",
        f"cannot claim the log: {denied}",
        *"134",
    ]


def in_a_place_of_its_own(work: Callable[[str], list[str]]) -> list[str]:
    with tempfile.TemporaryDirectory() as place:
        return [line.replace(place, "PLACE") for line in work(place)]
