"""Who may write a log of the jsonl store, as the files beside it say."""

import fcntl
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import orjson
import pytest

from event_log import LogHeld, LogStorageFailed, Owner
from event_log.owner import new_owner
from event_log.stores import LEASE_SECONDS
from event_log.stores.jsonl import JsonlStore


@pytest.fixture
async def store(tmp_path) -> AsyncIterator[JsonlStore]:
    store = JsonlStore(str(tmp_path))
    yield store
    await store.close()


async def left_by(store: JsonlStore, owner: Owner | bytes, seconds_ago: float = 0) -> Path:
    """The record of another owner's claim, under a log with one entry."""
    log = await store.create("s-1")
    log.append([{"i": 1}])
    log.close()
    record = Path(store.directory, "s-1.owner")
    record.write_bytes(owner if isinstance(owner, bytes) else orjson.dumps({"fence": 5, "owner": owner, "later": 1}))
    at = time.time() - seconds_ago
    os.utime(record, (at, at))
    return record


async def claim(store: JsonlStore) -> int:
    log = await store.open("s-1")
    await store.claim(log)
    assert log.append([{"i": 2}]) == 2
    return log.fence


@contextmanager
def locked(store: JsonlStore) -> Iterator[Callable[[], None]]:
    """As if another process were claiming something, all the time, or until told not to."""
    with open(Path(store.directory, ".lock")) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lambda: fcntl.flock(lock, fcntl.LOCK_UN)


ME = new_owner()
ELSEWHERE = replace(ME, id="far", host="elsewhere")


@pytest.mark.parametrize(
    "dead",
    [replace(ME, pid=2**22 + 1), replace(ME, started="1"), b"", b"\0" * 100, b"{}", b'{"fence":1,"owner":7}'],
    ids=["no such process", "the number of a later process", "nothing", "zeros", "nobody", "no owner"],
)
async def test_an_owner_that_is_known_dead_is_followed_at_once(store, dead):
    await left_by(store, dead)
    assert await claim(store) > 5


async def test_an_owner_that_lives_is_not_followed_however_long_it_says_nothing(store):
    await left_by(store, ME, seconds_ago=3600)
    with pytest.raises(LogHeld, match=f"pid {ME.pid} on {ME.host}"):
        await claim(store)


@pytest.mark.parametrize("other", [ELSEWHERE, replace(ME, id="far", boot="another")], ids=["host", "boot"])
async def test_an_owner_that_cannot_be_seen_is_followed_when_its_lease_has_run_out(store, other):
    record = await left_by(store, other, seconds_ago=LEASE_SECONDS - 3)
    with pytest.raises(LogHeld):
        await claim(store)
    at = time.time() - LEASE_SECONDS - 1
    os.utime(record, (at, at))
    sign = Path(store.directory, "owners", "far")
    sign.parent.mkdir()
    sign.touch()
    with pytest.raises(LogHeld):
        await claim(store)
    os.utime(sign, (at, at))
    assert await claim(store) > 5
    assert not sign.exists()


@pytest.mark.parametrize("named", ["far", f"elsewhere:{ME.pid}"], ids=["by its id", "as host and process"])
async def test_an_owner_that_our_supervisor_knows_to_be_dead_is_followed_at_once(store, named):
    await left_by(store, ELSEWHERE)
    told = JsonlStore(store.directory, takes_over=["somebody", named])
    assert await claim(told) > 5
    await told.close()


async def test_signs_of_life_are_given_while_something_is_held_and_taken_back_at_the_end(store):
    signs = Path(store.directory, "owners")
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.run)
            await store.create("s-1")
            while not signs.exists() or not list(signs.iterdir()):
                with anyio.move_on_after(0.05):
                    await anyio.sleep_forever()
            await store.close()
    assert list(signs.iterdir()) == []


async def test_a_log_that_is_closed_leaves_one_file(store):
    log = await store.create("s-1")
    log.append([{"i": 1}])
    assert sorted(os.listdir(store.directory)) == [".lock", "s-1.jsonl", "s-1.owner"]
    assert all(Path(store.directory, name).stat().st_mode & 0o777 == 0o600 for name in os.listdir(store.directory))
    log.close()
    assert sorted(os.listdir(store.directory)) == [".lock", "s-1.jsonl"]


async def test_a_claim_waits_while_another_is_being_made_but_not_for_ever(store):
    await left_by(store, b"")
    log = await store.open("s-1")
    with locked(store) as unlock, anyio.fail_after(20):
        with pytest.raises(LogStorageFailed, match="another process keeps it locked"):
            await store.claim(log)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.claim, log)
            await anyio.wait_all_tasks_blocked()
            unlock()
    assert log.fence


async def test_what_is_closed_while_another_claims_is_given_up_right_after(store):
    log = await store.create("s-1")
    with locked(store):
        log.close()
        assert Path(store.directory, "s-1.owner").exists()
    await store.close()
    assert not Path(store.directory, "s-1.owner").exists()
