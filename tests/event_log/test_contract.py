"""What every store keeps. A new one joins by a row of `url`, and of `shared` if other processes see it."""

import gc
import os
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from event_log import STORES, Log, Store, open_store
from event_log.errors import LogClosed, LogExists, LogHeld, LogLost, LogNameInvalid, LogNotFound, LogNotHeld
from tests.support.servers import ordinary, space
from tests.support.waiting import until

SERVED = ("redis", "postgresql")  # one of each kind on a server


# For stores that other processes see.
shared = pytest.mark.parametrize("url", ["jsonl", *SERVED], indirect=True)


@pytest.fixture(params=[*STORES, *SERVED])
async def url(request, tmp_path) -> AsyncIterator[str]:
    if request.param in SERVED:
        async with space(ordinary(request.param)) as url:
            yield url
    else:
        yield {"memory": "memory:", "jsonl": f"jsonl:{tmp_path}/logs"}[request.param]


@pytest.fixture
async def store(url, tmp_path) -> AsyncIterator[Store]:
    store = open_store(url, beside=str(tmp_path))
    yield store
    await store.close()


@pytest.fixture
async def other(url, tmp_path, store) -> AsyncIterator[Store]:
    """The same place, as another owner has it."""
    other = open_store(url, beside=str(tmp_path))
    yield other
    await other.close()


@pytest.fixture
async def log(store):
    log = await store.create("s-1")
    yield log
    log.close()


async def taken(store: Store, name: str = "s-1") -> Log:
    """The log, opened and claimed."""
    log = await store.open(name)
    await store.claim(log)
    return log


def words(*texts: str) -> list[dict]:
    return [{"text": text} for text in texts]


async def test_entries_are_numbered_from_one_without_gaps(log: Log):
    assert log.last == 0
    assert log.append(words("a")) == 1
    assert log.append(words("b", "c", "d")) == 2
    assert log.append(words("e")) == 5
    assert log.last == 5
    assert list(log.read()) == list(enumerate(words("a", "b", "c", "d", "e"), 1))


async def test_an_append_of_nothing_writes_nothing_and_names_the_next_number(log: Log):
    log.append(words("a"))
    assert log.append([]) == 2
    assert log.last == 1


@pytest.mark.parametrize("after", range(-1, 302, 7))
async def test_reading_after_a_number_gives_what_comes_after_it(log: Log, after: int):
    for size in (1, 2, 61, 64, 65, 100, 7):
        log.append([{"i": log.last + 1 + i} for i in range(size)])
    assert list(log.read(after)) == [(n, {"i": n}) for n in range(max(after, 0) + 1, 301)]


async def test_reading_after_a_number_works_the_same_once_the_log_was_opened_again(store: Store):
    log = await store.create("s-1")
    log.append([{"i": i} for i in range(1, 201)])
    log.close()
    log = await taken(store)
    log.append([{"i": i} for i in range(201, 301)])
    for after in (0, 1, 63, 64, 65, 127, 128, 199, 200, 299, 300):
        assert list(log.read(after)) == [(n, {"i": n}) for n in range(after + 1, 301)]
    log.close()


async def test_a_read_ends_with_the_entry_that_was_the_last_when_it_was_asked_for(log: Log):
    log.append(words("a", "b"))
    reading = log.read()
    log.append(words("c"))
    assert [n for n, _ in reading] == [1, 2]


async def test_what_is_stored_is_a_copy_and_what_is_read_is_another(log: Log):
    entry = {"parts": ["a"]}
    log.append([entry])
    entry["parts"].append("changed")
    [(_, read)] = log.read()
    read["parts"].append("changed too")
    assert list(log.read()) == [(1, {"parts": ["a"]})]


async def test_values_that_are_rare_in_json_come_back_as_they_were(log: Log):
    rare = [{}, {"s": "\ud800", "t": "\n\u2028"}, {"i": 2**70, "f": 1e300, "z": None}, {"": {"n": 1}}]
    log.append(rare)
    assert [entry for _, entry in log.read()] == rare


@pytest.mark.parametrize("wrong", [{"n": 3}, {"v": object()}])
async def test_one_entry_that_cannot_be_stored_keeps_its_whole_append_out(log: Log, wrong: dict):
    log.append(words("a"))
    with pytest.raises((TypeError, ValueError)):
        log.append([*words("b"), wrong, *words("c")])
    assert log.append(words("d")) == 2
    assert list(log.read()) == list(enumerate(words("a", "d"), 1))


async def test_a_log_goes_on_where_it_was_when_it_is_opened_again(store: Store):
    first = await store.create("s-1")
    first.append(words("a", "b"))
    first.close()
    again = await taken(store)
    assert again.last == 2
    assert again.append(words("c")) == 3
    assert list(again.read()) == list(enumerate(words("a", "b", "c"), 1))
    again.close()


async def test_an_open_log_is_the_same_object_for_all_who_open_it(store: Store):
    log = await store.create("s-1")
    assert await store.open("s-1") is log
    log.close()
    assert await store.open("s-1") is not log


async def test_a_log_that_nobody_holds_any_more_is_still_stored(store: Store):
    log = await store.create("s-1")
    log.append(words("a"))
    log.close()
    del log
    gc.collect()
    assert list((await store.open("s-1")).read()) == [(1, {"text": "a"})]


async def test_an_empty_log_is_there_too(store: Store):
    (await store.create("s-1")).close()
    log = await store.open("s-1")
    assert log.last == 0
    assert list(log.read()) == []


async def test_logs_of_one_store_do_not_mix(store: Store):
    a, b = await store.create("a"), await store.create("b")
    a.append(words("in a"))
    b.append(words("in b", "and on"))
    assert [entry["text"] for _, entry in a.read()] == ["in a"]
    assert [entry["text"] for _, entry in b.read()] == ["in b", "and on"]
    a.close()
    b.close()


async def test_a_store_lists_its_logs(store: Store):
    assert await store.names() == []
    for name in ("a", "B-2", "_"):
        (await store.create(name)).close()
    assert sorted(await store.names()) == ["B-2", "_", "a"]


async def test_a_name_is_given_once(store: Store):
    log = await store.create("s-1")
    log.append(words("a"))
    with pytest.raises(LogExists, match="s-1"):
        await store.create("s-1")
    assert log.last == 1
    log.close()


async def test_a_deleted_log_is_gone_and_its_name_free(store: Store):
    log = await store.create("s-1")
    log.append(words("a"))
    await store.delete("s-1")
    assert await store.names() == []
    with pytest.raises(LogNotFound):
        await store.open("s-1")
    with pytest.raises(LogNotFound):
        await store.delete("s-1")
    with pytest.raises(LogClosed):
        log.append(words("b"))
    new = await store.create("s-1")
    assert new.last == 0
    new.close()


@pytest.mark.parametrize("ask", ["open", "delete"])
async def test_a_log_that_never_was_is_not_found(store: Store, ask: str):
    with pytest.raises(LogNotFound, match="s-2"):
        await getattr(store, ask)("s-2")


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../s", "/etc/passwd", "a/b", "a\\b", "a.b", "a\0", "a\n", "a b", "ä", "x" * 65, "%2e", "~", "*"],
)
@pytest.mark.parametrize("ask", ["create", "open", "delete"])
async def test_a_name_that_could_be_anything_else_is_refused(store: Store, ask: str, name: str):
    with pytest.raises(LogNameInvalid):
        await getattr(store, ask)(name)


async def test_a_closed_log_refuses_and_closing_it_twice_does_nothing(store: Store):
    log = await store.create("s-1")
    log.close()
    log.close()
    with pytest.raises(LogClosed):
        log.append(words("a"))
    with pytest.raises(LogClosed):
        log.read()


async def test_a_log_that_rests_can_be_read_and_followed_and_goes_on_at_the_next_append(log: Log):
    log.append(words("a"))
    log.rest()
    log.rest()
    assert list(log.read()) == [(1, {"text": "a"})]
    following = log.follow()
    assert await anext(following) == (1, {"text": "a"})
    assert log.append(words("b")) == 2
    assert await anext(following) == (2, {"text": "b"})
    await following.aclose()


async def test_a_closed_log_cannot_be_followed(store: Store):
    log = await store.create("s-1")
    log.close()
    with pytest.raises(LogClosed):
        await anext(log.follow())


async def test_a_follower_gets_what_is_there_then_what_comes_and_ends_with_the_log(log: Log):
    log.append(words("a", "b", "c"))
    seen: list[int] = []

    async def follow() -> None:
        async for number, entry in log.follow(1):
            assert entry == {"text": "abcdef"[number - 1]}
            seen.append(number)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            await wait_all_tasks_blocked()
            assert seen == [2, 3]
            log.append(words("d"))
            await wait_all_tasks_blocked()
            assert seen == [2, 3, 4]
            log.append(words("e", "f"))
            log.close()
    assert seen == [2, 3, 4, 5, 6]


async def test_a_follower_with_nothing_to_wait_for_ends_when_the_log_is_closed(log: Log):
    async def follow() -> None:
        async for _ in log.follow():
            pytest.fail("there was nothing to follow")

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            await wait_all_tasks_blocked()
            log.close()


async def test_followers_go_at_their_own_pace(log: Log):
    quick, slow = log.follow(), log.follow()
    log.append(words("a"))
    with anyio.fail_after(20):
        assert (await anext(quick))[0] == 1
        log.append(words("b"))
        assert (await anext(quick))[0] == 2
        assert (await anext(slow))[0] == 1
        assert (await anext(slow))[0] == 2
    await quick.aclose()
    await slow.aclose()


async def test_a_follower_that_is_ahead_waits_for_its_number(log: Log):
    ahead = log.follow(2)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: checkpoint_then(lambda: log.append(words("a"))))
            tasks.start_soon(lambda: checkpoint_then(lambda: log.append(words("b", "c"))))
            assert await anext(ahead) == (3, {"text": "c"})
    await ahead.aclose()


async def test_a_follower_that_catches_up_lets_others_run(log: Log):
    log.append([{"i": i} for i in range(2000)])
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await checkpoint()

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(count)
            async for number, _ in log.follow():
                if number == 2000:
                    break
            tasks.cancel_scope.cancel()
    assert turns >= 5


async def test_a_cancelled_follower_leaves_the_log_as_it_was(log: Log):
    async def follow() -> None:
        async for _ in log.follow():
            pass

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            await wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    assert log.append(words("a")) == 1


async def test_deleting_a_log_ends_its_followers(store: Store):
    log = await store.create("s-1")
    log.append(words("a"))
    following = log.follow()
    with anyio.fail_after(20):
        assert (await anext(following))[0] == 1
        log.append(words("b"))
        await store.delete("s-1")
        with pytest.raises(StopAsyncIteration):
            await anext(following)


async def test_a_log_that_was_opened_is_read_only_until_it_is_claimed(store: Store):
    log = await store.create("s-1")
    log.append(words("a"))
    log.close()
    log = await store.open("s-1")
    assert log.fence == 0
    with pytest.raises(LogNotHeld, match="claim"):
        log.append(words("b"))
    await store.claim(log)
    assert log.append(words("b")) == 2


async def test_claiming_a_log_that_is_ours_changes_nothing(store: Store):
    log = await store.create("s-1")
    fence = log.fence
    await store.claim(log)
    assert log.fence == fence > 0
    assert (await store.open("s-1")).fence == fence


async def test_every_claim_has_a_higher_fence(store: Store):
    log = await store.create("s-1")
    for _ in range(3):
        fence = log.fence
        log.close()
        log = await taken(store)
        assert log.fence > fence


async def test_a_closed_log_cannot_be_claimed(store: Store):
    log = await store.create("s-1")
    log.close()
    with pytest.raises(LogClosed):
        await store.claim(log)


@shared
async def test_what_somebody_holds_others_read_and_cannot_claim_or_delete(store: Store, other: Store):
    log = await store.create("s-1")
    log.append(words("a"))
    reading = await other.open("s-1")
    assert list(reading.read()) == [(1, {"text": "a"})]
    for refused in (other.claim(reading), other.delete("s-1")):
        with pytest.raises(LogHeld, match=f"pid {os.getpid()} on {os.uname().nodename}") as held:
            await refused
        assert held.value.owner.pid == os.getpid()
    with pytest.raises(LogExists):
        await other.create("s-1")
    assert log.append(words("b")) == 2


@shared
async def test_a_reader_sees_what_was_written_meanwhile_when_it_opens_the_log_again(store: Store, other: Store):
    log = await store.create("s-1")
    reading = await other.open("s-1")
    log.append(words("a", "b"))
    assert list(reading.read()) == []
    following = reading.follow()
    assert await other.open("s-1") is reading
    assert list(reading.read()) == list(enumerate(words("a", "b"), 1))
    with anyio.fail_after(20):
        assert await anext(following) == (1, {"text": "a"})
    await following.aclose()


@shared
@pytest.mark.parametrize("give_up", [lambda store, log: log.close(), lambda store, log: store.close()])
async def test_what_is_given_up_another_claims_at_once_with_all_that_is_in_it(store: Store, other: Store, give_up):
    log = await store.create("s-1")
    reading = await other.open("s-1")
    log.append(words("a", "b"))
    given = give_up(store, log)
    if given is not None:
        await given
    await other.claim(reading)
    assert reading.fence > 0
    assert reading.append(words("c")) == 3
    assert list(reading.read()) == list(enumerate(words("a", "b", "c"), 1))
    with pytest.raises(LogClosed):
        log.append(words("d"))


@shared
async def test_a_log_that_rests_is_still_ours(store: Store, other: Store):
    log = await store.create("s-1")
    log.rest()
    with pytest.raises(LogHeld):
        await taken(other)


@shared
async def test_who_was_taken_over_writes_no_more(url: str, tmp_path: Path, store: Store, other: Store):
    log = await store.create("s-1")
    log.append(words("a"))
    log.rest()
    with pytest.raises(LogHeld) as held:
        await taken(other)
    third = open_store(url, takes_over=[held.value.owner.id], beside=str(tmp_path))
    new = await taken(third)
    assert new.append(words("b")) == 2
    with pytest.raises(LogLost, match="another process"):
        log.append(words("never"))
    with pytest.raises(LogLost):
        log.append(words("never"))
    assert log.closed
    assert new.append(words("c")) == 3
    assert list(new.read()) == list(enumerate(words("a", "b", "c"), 1))
    await third.close()


@shared
async def test_closing_what_was_taken_over_leaves_it_to_its_new_owner(
    url: str, tmp_path: Path, store: Store, other: Store
):
    log = await store.create("s-1")
    with pytest.raises(LogHeld) as held:
        await taken(other)
    third = open_store(url, takes_over=[held.value.owner.id], beside=str(tmp_path))
    new = await taken(third)
    log.close()
    await store.close()
    with pytest.raises(LogHeld):
        await taken(other)
    assert new.append(words("a")) == 1
    await third.close()


async def test_what_is_written_is_confirmed_soon_after_and_of_what_is_not_ours_nothing(store: Store, other: Store):
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.run)
        log = await store.create("s-1")
        log.append(words("a", "b"))
        await until(lambda: store.confirmed("s-1") == 2)
        assert other.confirmed("s-1") == store.confirmed("s-2") == 0
        log.close()
        tasks.cancel_scope.cancel()


async def test_a_closed_store_ends_its_work(store: Store):
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.run)
            await wait_all_tasks_blocked()
            (await store.create("s-1")).append(words("a"))
            await store.close()


async def checkpoint_then(act) -> None:
    await checkpoint()
    act()
