"""Following feeds: many at once, slow ones, those that come and go; driven by the feed itself."""

import asyncio
import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from ars_gateway.limits import Limits
from ars_gateway.sessions import feed as feeds
from ars_gateway.sessions.feed import Entry, Feed
from ars_gateway.sockets.watching import EVENT_ENTRIES, MOST_WATCHED, together
from tests.gateway.client import Client, Refusal
from tests.gateway.conftest import Running, Start
from tests.gateway.talking import GUEST, admit_guest, last, send
from tests.gateway.test_ars import ars
from tests.gateway.test_page import PAGE, opened, text_of, told

Json = dict[str, Any]


def made(running: Running, key: str = "agent:main:main") -> Feed:
    """A session that there is, and its feed."""
    room = running.gateway.talks.rooms.open("owner", key, running.gateway.talks.workspace)
    return running.gateway.talks.feeds.of(room.session_id)


async def tasks_left() -> int:
    """How many tasks tell somebody something, once those that were ended have gone."""
    for _ in range(3):
        await checkpoint()
    return len([it for it in asyncio.all_tasks() if it.get_name() == "Watching._follow"])


async def has_seen(client: Client, number: int) -> list[Json]:
    """All entries, once the one of that number has come."""
    await client.until(lambda: any(it["n"] >= number for it in told(client)), 15)
    entries = told(client)
    numbers = [it["n"] for it in entries]
    assert numbers == sorted(set(numbers))
    return entries


async def test_all_that_follow_are_told_all_of_it_in_order(running):
    async with running.client(**PAGE) as one, running.client(**PAGE) as two, running.client(**PAGE) as three:
        feed = made(running)
        for client in (one, two, three):
            await opened(client)
        for number in range(3_000):
            feed.add("r", "text", f"{number} ")
            if number % 50 == 0:
                await checkpoint()
        wanted = "".join(f"{number} " for number in range(3_000))
        for client in (one, two, three):
            assert text_of(await has_seen(client, 3_000)) == wanted


async def test_what_comes_together_is_told_together(running):
    async with running.client(**PAGE) as one:
        feed = made(running)
        await opened(one)
        for _ in range(EVENT_ENTRIES):
            feed.add("r", "text", "x")
        [entry] = await has_seen(one, EVENT_ENTRIES)
        assert (entry["n"], len(entry["data"])) == (EVENT_ENTRIES, EVENT_ENTRIES)
        assert len(one.named("_ars.feed")) == 1


def test_only_pieces_of_one_text_are_joined():
    entries = [
        *(Entry(1, "r", "text", "a"), Entry(2, "r", "text", "b"), Entry(3, "r", "thought", "c")),
        *(Entry(4, "s", "thought", "d"), Entry(5, "s", "update", {}), Entry(6, "s", "update", {})),
        *(Entry(n, "s", "terminal", {"terminalId": it, "data": it}) for n, it in ((7, "t"), (8, "t"), (9, "u"))),
    ]
    assert [(it.n, it.run, it.data) for it in together(entries)] == [
        *((2, "r", "ab"), (3, "r", "c"), (4, "s", "d"), (5, "s", {}), (6, "s", {})),
        *((8, "s", {"terminalId": "t", "data": "tt"}), (9, "s", {"terminalId": "u", "data": "u"})),
    ]


async def test_a_page_that_stalls_holds_up_nobody_and_gets_everything_later(running):
    piece = "x" * 20_000
    async with running.client(**PAGE) as quick, running.client(**PAGE, options={"max_queue": 1}) as slow:
        feed = made(running)
        await opened(quick)
        await opened(slow)
        slow.socket.transport.pause_reading()
        for _ in range(300):
            feed.add("r", "text", piece)
            await checkpoint()
        assert len(text_of(await has_seen(quick, 300))) == 300 * len(piece)
        assert not [it for it in told(slow) if it["n"] == 300]
        slow.socket.transport.resume_reading()
        assert len(text_of(await has_seen(slow, 300))) == 300 * len(piece)


async def test_a_page_that_takes_nothing_for_long_is_closed(start: Start):
    limits = Limits(stalled_seconds=0.3, close_seconds=0.3)
    async with start(limits) as running, running.client(**PAGE, options={"max_queue": 1}) as slow:
        feed = made(running)
        await opened(slow)
        slow.socket.transport.pause_reading()
        with anyio.fail_after(20):
            [watch] = running.gateway.watching._watches.values()
            while running.gateway.hub.connections:
                # Not quicker than it is told: where something is forgotten meanwhile nothing more would be told.
                if feed.last - min(watch.told.values(), default=0) < 100:
                    feed.add("r", "text", "x" * 2_000)
                await checkpoint()
        assert running.log.named("gateway.slow_consumer")
        assert await tasks_left() == 0
        slow.socket.transport.resume_reading()


async def test_what_was_forgotten_before_a_slow_page_had_it_is_told_as_lost(running):
    async with running.client(**PAGE, options={"max_queue": 1}) as slow:
        feed = made(running)
        await opened(slow)
        slow.socket.transport.pause_reading()
        for _ in range(1_500):
            feed.add("r", "text", "x" * 10_000)
            if feed.last % 10 == 0:
                await checkpoint()
        assert feed.first > 1
        slow.socket.transport.resume_reading()
        await slow.until(lambda: any("over" in it["payload"] for it in slow.named("_ars.feed")), 15)
        assert slow.named("_ars.feed")[-1]["payload"]["over"] == "lost"
        again = await opened(slow)
        assert (again["last"], again["resumed"]) == (1_500, False)


async def test_opening_and_closing_a_thousand_times_leaves_nothing(running):
    async with running.client(**PAGE) as one:
        feed = made(running)
        for _ in range(1_000):
            await one.request("_ars.chat.open", {"sessionKey": "main"})
            assert await one.request("_ars.chat.close", {"sessionKey": "main"}) == {"ok": True, "closed": True}
        assert await one.request("_ars.chat.close", {"sessionKey": "main"}) == {"ok": True, "closed": False}
        assert (await tasks_left(), running.gateway.watching.count) == (0, 0)
        feed.add("r", "text", "nobody hears it")
        await one.request("health")
        assert not one.named("_ars.feed")


async def test_who_opens_twice_is_told_once(running):
    async with running.client(**PAGE) as one:
        feed = made(running)
        await opened(one)
        await opened(one, "agent:main:main")
        feed.add("r", "text", "once")
        await has_seen(one, 1)
        await one.request("health")
        assert len(one.named("_ars.feed")) == 1


async def test_a_connection_that_ends_follows_nothing_any_more(running):
    made(running)
    async with running.client() as other:
        async with running.client(**PAGE) as one:
            await opened(one)
            await opened(one, "agent:main:not-yet")
            assert (await tasks_left(), running.gateway.watching.count) == (1, 1)
        await other.until(lambda: '"disconnect"' in json.dumps(other.named("presence")))
    assert (await tasks_left(), running.gateway.watching.count) == (0, 0)
    made(running, "agent:main:not-yet").add("r", "text", "x")
    assert await tasks_left() == 0


async def test_so_many_sessions_are_followed_and_no_more(running):
    async with running.client(**PAGE) as one:
        for number in range(MOST_WATCHED):
            await opened(one, f"agent:main:s{number}")
        with pytest.raises(Refusal, match="64 sessions are followed"):
            await opened(one, "agent:main:more")
        await opened(one, "agent:main:s3")
        await one.request("_ars.chat.close", {"sessionKey": "agent:main:s3"})
        await opened(one, "agent:main:more")


async def test_nobody_follows_anothers_session(running):
    admit_guest(running)
    async with running.client(**PAGE) as one, running.client(token=GUEST, **PAGE) as guest:
        feed = made(running)
        place = {"feed": feed.id, "n": 0}
        feed.add("r", "text", "mine")
        await opened(one)
        for key in ("main", "agent:main:main"):
            seen = await opened(guest, key, after=place)
            assert (seen["entries"], seen["feed"], seen["resumed"], seen["sessionId"]) == ([], None, False, None)
        feed.add("r", "text", "mine too")
        await has_seen(one, 2)
        await guest.request("health")
        assert not guest.named("_ars.feed")
        with pytest.raises(Refusal, match="No session found"):
            await guest.request("_ars.chat.older", {"sessionKey": "main", "before": "t1:1"})
        offered = await guest.request("_ars.session.options", {"sessionKey": "main"})
        assert (offered["open"], offered["commands"]) == (False, [])


async def test_who_may_not_see_a_question_does_not_see_it_in_a_feed_either(running):
    kinds = ("prompt", "question", "answered", "form", "filled", "end")
    may = {
        ("operator.read",): {"prompt", "end"},
        ("operator.write",): {"prompt", "form", "filled", "end"},
        ("operator.read", "operator.approvals"): {"prompt", "question", "answered", "end"},
        ("operator.admin",): set(kinds),
    }
    for scopes, seen in may.items():
        async with running.client(*scopes, **PAGE) as one, running.client(**PAGE) as admin:
            key = f"agent:main:{len(scopes)}{scopes[-1]}"
            feed = made(running, key)
            await opened(one, key)
            await opened(admin, key)
            for kind in kinds:
                feed.add("r", kind, {"text": "", "id": "q", "state": "ok"})
                await checkpoint()
            await has_seen(one, len(kinds))
            await has_seen(admin, len(kinds))
            assert {it["kind"] for it in told(one)} == seen
            assert {it["kind"] for it in told(admin)} == set(kinds)
            assert {it["kind"] for it in (await opened(one, key))["entries"]} == seen


async def test_a_place_may_be_a_whole_number_in_either_spelling(running):
    async with running.client(**PAGE) as one:
        feed = made(running)
        feed.add("r", "text", "a")
        feed.add("r", "steer", {"text": "b"})
        assert (await opened(one, after={"feed": feed.id, "n": 1.0}))["resumed"] is True
        assert [it["n"] for it in await has_seen(one, 2)] == [2]


async def test_what_cannot_be_told_ends_nothing_but_that_it_is_followed(running):
    async with running.client(**PAGE) as one:
        feed = made(running)
        await opened(one)
        feed.add("r", "text", "fine")
        await has_seen(one, 1)
        feed._entries.append(Entry(2, "r", "prompt", {1j: "no JSON"}))
        feed.last = 2
        feed.add("r", "text", "more")
        await one.until(lambda: any("over" in it["payload"] for it in one.named("_ars.feed")))
        assert one.named("_ars.feed")[-1]["payload"]["over"] == "lost"
        assert running.log.named("gateway.feed_failed")
        assert (await tasks_left(), running.gateway.watching.count) == (0, 0)
        assert await one.request("sessions.list")


@pytest.mark.parametrize("before", ["t1:1", "x", ":", "t1:-1", "t1:99999999999", "t9999:1", "r:1", "é:1", "t1:٣"])
async def test_a_cursor_of_another_time_is_refused(running, before):
    made(running)
    async with running.client(**PAGE) as one:
        with pytest.raises(Refusal, match="unknown cursor"):
            await one.request("_ars.chat.older", {"sessionKey": "main", "before": before})


SPOKEN = " ".join(f"w{number}" for number in range(400))


@pytest.mark.parametrize("kept", [feeds.MOST_BYTES, 20_000])
async def test_who_comes_in_the_middle_of_a_run_sees_all_of_it_once(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
):
    monkeypatch.setattr(feeds, "MOST_BYTES", kept)
    monkeypatch.setattr(feeds, "STEP_BYTES", 4_000)
    async with (
        start(agent=ars(tmp_path, f"=== turn\npace 0.005\nsay: {SPOKEN}\n")) as gateway,
        gateway.client(**PAGE) as one,
    ):
        await send(one, "k1")
        middles = 0
        whole = ""
        with anyio.fail_after(30):
            while whole != SPOKEN:
                first = await opened(one)
                await one.request("health")
                whole = text_of(first["entries"]) + text_of([it for it in told(one) if it["n"] > first["last"]])
                assert SPOKEN.startswith(whole)
                middles += 0 < len(whole) < len(SPOKEN)
        assert middles > 0
        await last(one, "k1")
        assert (made(gateway).first > 1) == (kept == 20_000)
        assert text_of((await opened(one))["entries"]) == SPOKEN
