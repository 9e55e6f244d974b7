"""What lists show of stored sessions, and the cache that saves reading them again."""

import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from ars_acp.listing import FILE, Listing
from event_log import Log, Store, open_store

Json = dict[str, Any]
LONG_AGO = time.time_ns() - 60_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"jsonl:{tmp_path}/logs")


def opened(cwd: str) -> Json:
    return {"type": "session", "version": 1, "cwd": cwd, "directories": ["/more"], "mode": "ask"}


async def session(store: Store, name: str, title: str, *, cwd: str = "/project", age: int = 0) -> None:
    """A stored session, last written a minute and `age` seconds ago."""
    log: Log = await store.create(name)
    log.append([opened(cwd), {"type": "text", "text": "a"}, {"type": "title", "title": title}])
    log.close()
    written(store, name, LONG_AGO - age * 1_000_000_000)


def written(store: Store, name: str, at: int) -> None:
    os.utime(file(store, f"{name}.jsonl"), ns=(at, at))


def file(store: Store, name: str) -> Path:
    assert store.directory is not None
    return Path(store.directory) / name


def retitle(store: Store, name: str, old: str, new: str, at: int = LONG_AGO) -> None:
    """Changes a log behind everybody's back."""
    path = file(store, f"{name}.jsonl")
    path.write_bytes(path.read_bytes().replace(old.encode(), new.encode()))
    written(store, name, at)


async def titles(store: Store, **which: Any) -> list[str | None]:
    found, _ = await Listing(store).page(**which)
    return [listed.title for listed in found]


async def test_a_page_holds_as_many_as_asked_for_and_says_whether_there_are_more(store: Store) -> None:
    for age in range(5):
        await session(store, f"s{age}", f"title {age}", age=age)
    listing = Listing(store)
    first, more = await listing.page(2)
    assert ([listed.title for listed in first], more) == (["title 0", "title 1"], True)
    second, more = await listing.page(2, after=first[-1].place)
    assert ([listed.title for listed in second], more) == (["title 2", "title 3"], True)
    third, more = await listing.page(2, after=second[-1].place)
    assert ([listed.title for listed in third], more) == (["title 4"], False)
    assert await listing.page(0, after=third[-1].place) == ([], False)


async def test_of_one_directory_only_its_sessions_count(store: Store) -> None:
    for age in range(6):
        await session(store, f"s{age}", f"title {age}", age=age, cwd=f"/{age % 2}")
    found, more = await Listing(store).page(3, cwd="/1")
    assert ([listed.title for listed in found], more) == (["title 1", "title 3", "title 5"], False)
    assert await titles(store, cwd="/elsewhere") == []


async def test_the_directories_are_those_of_the_last_opening_and_the_title_stays(store: Store) -> None:
    await session(store, "s", "title")
    log = await store.open("s")
    await store.claim(log)
    log.append([{**opened("/moved"), "directories": []}])
    log.close()
    [listed], _ = await Listing(store).page()
    assert (listed.cwd, listed.directories, listed.title) == ("/moved", (), "title")


async def test_a_log_that_has_not_changed_is_not_read_again(store: Store) -> None:
    await session(store, "s", "old")
    assert await titles(store) == ["old"]
    retitle(store, "s", "old", "new")
    assert await titles(store) == ["old"]
    written(store, "s", LONG_AGO + 1)
    assert await titles(store) == ["new"]


async def test_what_was_written_a_moment_ago_is_read_again_as_it_may_be_written_again(store: Store) -> None:
    await session(store, "s", "old")
    now = time.time_ns()
    written(store, "s", now)
    assert await titles(store) == ["old"]
    retitle(store, "s", "old", "new", now)
    assert await titles(store) == ["new"]


@pytest.mark.parametrize("damage", [lambda it: b"", lambda it: it[:-1], lambda it: it.replace(b"old", b"odd")])
async def test_a_lost_or_damaged_cache_is_made_anew(store: Store, damage: Any) -> None:
    await session(store, "s", "old")
    assert await titles(store) == ["old"]
    cache = file(store, FILE)
    whole = cache.read_bytes()
    cache.write_bytes(damage(whole))
    assert await titles(store) == ["old"]
    assert cache.read_bytes() == whole
    cache.unlink()
    assert await titles(store) == ["old"]
    assert cache.read_bytes() == whole


async def test_the_cache_is_for_its_owner_s_eyes_and_leaves_nothing_beside_it(store: Store) -> None:
    await session(store, "s", "title")
    await titles(store)
    assert stat.S_IMODE(file(store, FILE).stat().st_mode) == 0o600
    assert [path.name for path in file(store, "").iterdir() if path.name.startswith(FILE)] == [FILE]


async def test_a_cache_that_cannot_be_written_is_done_without(store: Store) -> None:
    await session(store, "s", "title")
    file(store, FILE).mkdir()
    assert await titles(store) == ["title"]
    assert await titles(store) == ["title"]
    assert [path.name for path in file(store, "").iterdir() if path.name.startswith(FILE)] == [FILE]


async def test_a_deleted_session_leaves_the_cache(store: Store) -> None:
    await session(store, "s", "secret plans")
    await session(store, "t", "harmless")
    listing = Listing(store)
    await listing.page()
    await store.delete("s")
    await listing.forget("s")
    assert b"secret plans" not in file(store, FILE).read_bytes()
    assert await titles(store) == ["harmless"]


async def test_logs_that_are_no_sessions_or_cannot_be_read_are_left_out(store: Store) -> None:
    await session(store, "s", "title")
    log = await store.create("empty")
    log.close()
    log = await store.create("other")
    log.append([{"type": "weather"}])
    log.close()
    log = await store.create("half")
    log.append([{"type": "session"}])
    log.close()
    file(store, "damaged.jsonl").write_bytes(b"\0\0\0\n")
    for _ in range(2):
        assert await titles(store) == ["title"]


async def test_a_store_without_a_directory_is_listed_without_a_cache() -> None:
    store = open_store("memory:")
    log = await store.create("s")
    log.append([opened("/project"), {"type": "title", "title": "title"}])
    assert await titles(store) == ["title"]
