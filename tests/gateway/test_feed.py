"""The feed: what has happened in a session's runs, numbered, for any number of readers."""

import gc
from pathlib import Path
from typing import Any

import anyio

from ars_gateway.sessions.feed import LEAST_BYTES, MOST_BYTES, Feed, Feeds, prompt_of
from tests.gateway.conftest import Start
from tests.gateway.talking import last, mock, send

PIECE = "x" * 10_000


def said(text: str) -> dict[str, Any]:
    return {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}


def filled(feed: Feed, count: int) -> Feed:
    for _ in range(count):
        feed.add("r", "text", PIECE)
    return feed


def test_entries_are_numbered_from_one_without_gaps():
    feed = Feed()
    assert (feed.first, feed.last, feed.since(0)) == (1, 0, [])
    for piece in "abc":
        feed.add("r", "text", piece)
    assert [(it.n, it.data) for it in feed.since(0) or ()] == [(1, "a"), (2, "b"), (3, "c")]
    assert [it.n for it in feed.since(1) or ()] == [2, 3]
    assert [it.n for it in feed.since(1, 1) or ()] == [2]
    assert feed.since(3) == []


def test_a_feed_keeps_within_its_bytes_and_says_what_it_has_forgotten():
    feed = filled(Feed(), 2_000)
    assert feed.size <= MOST_BYTES + 2 * 64 * 1024
    assert feed.last == 2_000
    assert feed.first > 1
    assert feed.since(feed.first - 2) is None
    kept = feed.since(feed.first - 1)
    assert kept is not None
    assert [it.n for it in kept] == list(range(feed.first, 2_001))


def test_the_newest_entry_is_kept_however_large_it_is():
    feed = Feed()
    feed.add("r", "text", "a")
    feed.add("r", "update", {"text": "x" * (MOST_BYTES + 1)})
    assert [it.n for it in feed.since(1) or ()] == [2]
    assert feed.since(0) is None


def test_the_beginning_of_a_run_is_found_as_long_as_it_is_kept():
    feed = Feed()
    feed.add("r1", "prompt", {"text": "a"})
    feed.add("r1", "text", "b")
    feed.add("r2", "prompt", {"text": "c"})
    assert (feed.begin_of("r1"), feed.begin_of("r2"), feed.begin_of("r3")) == (0, 2, None)
    feed.forget(0)
    assert (feed.begin_of("r1"), feed.begin_of("r2")) == (None, 2)


async def test_whoever_waits_for_more_is_woken_by_the_next_entry_and_not_before():
    feed = Feed()
    feed.add("r", "text", "a")
    with anyio.fail_after(20):
        await feed.more(0)
    woken: list[int] = []

    async def reader() -> None:
        await feed.more(1)
        woken.append(feed.last)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(reader)
            await anyio.wait_all_tasks_blocked()
            assert woken == []
            feed.add("r", "text", "b")
    assert woken == [2, 2, 2]


def test_the_pieces_of_a_run_joined_are_its_text():
    feed, text = Feed(), ""
    for piece, grown in (("Reading.", 8), ("Hello", 7), (" there", 6)):
        feed.take("r", said(piece), grown)
        text += piece
    assert [it.data for it in feed.since(0) or ()] == ["Reading.", "\n\nHello", " there"]


def test_thoughts_are_text_and_what_is_neither_stays_as_it_is():
    feed = Feed()
    call = {"sessionUpdate": "tool_call", "toolCallId": "c1"}
    picture = {"sessionUpdate": "agent_message_chunk", "content": {"type": "image", "data": ""}}
    for update in (said("hm") | {"sessionUpdate": "agent_thought_chunk"}, call, picture, said("")):
        feed.take("r", update, 0)
    assert [(it.kind, it.data) for it in feed.since(0) or ()] == [
        ("thought", "hm"),
        ("update", call),
        ("update", picture),
        ("update", said("")),
    ]


def test_a_prompt_is_shown_without_what_is_behind_it_and_without_large_data():
    blocks: list[dict[str, Any]] = [
        {"type": "text", "text": "hidden", "_meta": {"ars/behind": True}},
        {"type": "text", "text": "hello"},
        {"type": "image", "mimeType": "image/png", "data": "A" * 100_000},
        {"type": "resource", "resource": {"uri": "attachment:a", "blob": "A" * 100_000}},
        {"type": "image", "mimeType": "image/png", "data": "AAAA"},
    ]
    assert prompt_of(blocks) == {
        "text": "hello",
        "blocks": [
            {"type": "image", "mimeType": "image/png"},
            {"type": "resource", "resource": {"uri": "attachment:a"}},
            {"type": "image", "mimeType": "image/png", "data": "AAAA"},
        ],
    }


def test_of_feeds_that_nobody_holds_the_latest_are_kept():
    feeds = Feeds(most=2)
    held = feeds.of("held")
    ids = [feeds.of(name).id for name in ("a", "b", "c")]
    gc.collect()
    assert feeds.known("a") is None
    assert feeds.known("c") is not None
    assert feeds.of("b").id == ids[1]
    assert feeds.of("held") is held
    assert feeds.of("a").id != ids[0]


def test_all_feeds_together_keep_within_their_bytes_and_those_that_are_held_forget_last():
    feeds = Feeds(most_bytes=4 * LEAST_BYTES)
    for name in "ab":
        filled(feeds.of(name), 40)
    held = filled(feeds.of("held"), 40)
    filled(feeds.of("new"), 10)
    gc.collect()
    assert feeds.known("a") is None
    assert held.first == 1
    others = [filled(feeds.of(f"other-{number}"), 40) for number in range(6)]
    assert held.first > 1
    assert sum(it.size for it in (held, *others)) < 8 * LEAST_BYTES


def test_a_session_that_begins_anew_ends_its_feed():
    feeds = Feeds()
    feed = feeds.of("t")
    feeds.gone("t", "reset")
    assert [(it.kind, it.data) for it in feed.since(0) or ()] == [("gone", {"why": "reset"})]
    assert feeds.of("t") is not feed
    feeds.gone("unknown", "deleted")


async def test_a_run_is_in_its_sessions_feed_from_the_prompt_to_its_end(start: Start, tmp_path: Path):
    script = '=== turn\nthink: hm\nsay: Hello\nask edit "Edit it?"\nsay: there\n'
    async with start(agent=mock(tmp_path, script)) as gateway, gateway.client() as one:
        await send(one, "k1", "please")
        asked = await one.event("exec.approval.requested")
        await one.request("exec.approval.resolve", {"id": asked["payload"]["id"], "decision": "allow-once"})
        await last(one, "k1")
        room = gateway.gateway.talks.rooms.find("owner", "agent:main:main")
        assert room is not None
        entries = gateway.gateway.talks.feeds.of(room.session_id).since(0) or []
        assert {it.run for it in entries} == {"k1"}
        kinds = [it.kind for it in entries]
        assert kinds[:2] == ["prompt", "begun"]
        assert kinds[-1] == "end"
        assert entries[0].data["text"] == "please"
        assert entries[-1].data["state"] == "ok"
        settled = gateway.gateway.talks.ledger.find("owner", "k1")
        assert settled is not None
        text = "".join(it.data for it in entries if it.kind == "text")
        assert text == settled.outcome["text"] == "Hello\n\nthere"
        assert "".join(it.data for it in entries if it.kind == "thought") == "hm"
        question, answered = kinds.index("question"), kinds.index("answered")
        assert question < answered
        assert entries[question].data == asked["payload"]
        assert entries[answered].data["decision"] == "allow-once"


async def test_a_run_that_fails_or_is_aborted_ends_in_its_feed_too(start: Start, tmp_path: Path):
    script = '=== turn\nerror {"code": -32603, "message": "no more"}\n=== turn\nsay: a\nwait 60\n'
    async with start(agent=mock(tmp_path, script)) as gateway, gateway.client() as one:
        await send(one, "k1")
        await last(one, "k1", "error")
        room = gateway.gateway.talks.rooms.find("owner", "agent:main:main")
        assert room is not None
        feed = gateway.gateway.talks.feeds.of(room.session_id)
        entries = feed.since(0) or []
        assert entries[-1].data["state"] == "error"
        assert entries[-1].data["error"]["code"] == "UNAVAILABLE"
        await send(one, "k2")
        with anyio.fail_after(20):
            while (feed.since(feed.last - 1) or [])[0].kind != "text":
                await feed.more(feed.last)
        await one.request("chat.abort", {"sessionKey": "main", "runId": "k2"})
        assert [it.data["stopReason"] for it in feed.since(feed.last - 1) or ()] == ["rpc"]
        await one.request("sessions.reset", {"key": "main"})
        assert [it.kind for it in feed.since(feed.last - 1) or ()] == ["gone"]
