"""Tool calls that a client carries out: who waits, what comes back, and once only."""

from typing import Any

import anyio
import pytest

from ars_gateway.sessions.feed import Feeds
from ars_gateway.sessions.rooms import Room
from ars_gateway.talks.hands import MOST_REMEMBERED, Hands, Twice, Unknown
from connector import ToolCall

ROOM = Room("owner", "agent:main:main", "transcript", 0, "main", "/")
OTHER = Room("owner", "agent:main:other", "other", 0, "main", "/")
RESULT: dict[str, Any] = {"result": {"content": "text"}}


def call(id: str = "c1") -> ToolCall:
    return ToolCall("s", id, "git.diff", {"paths": ["a"]})


async def test_a_call_is_told_in_the_feed_and_its_result_is_the_agents():
    feeds = Feeds()
    hands, got = Hands(feeds), []
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                got.append(await hands.carry_out(ROOM, "r1", call()))

            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            assert hands.waits(ROOM)("c1")
            with pytest.raises(Unknown):
                hands.answer(OTHER, "c1", RESULT)
            hands.answer(ROOM, "c1", RESULT)
    assert got == [{"ok": True, "content": "text", "raw": {"content": "text"}}]
    assert not hands.waits(ROOM)("c1")
    assert [(it.run, it.kind, it.data) for it in feeds.of("transcript").since(0) or ()] == [
        ("r1", "call", {"call_id": "c1", "tool": "git.diff", "arguments": {"paths": ["a"]}}),
        ("r1", "called", {"call_id": "c1", "ok": True}),
    ]
    hands.answer(ROOM, "c1", RESULT)
    with pytest.raises(Twice):
        hands.answer(ROOM, "c1", {"result": {"content": "else"}})


@pytest.mark.parametrize(
    ("tool", "may_approve", "approved"),
    [("apply_patch_review", True, True), ("apply_patch_review", False, None), ("prompt_user", True, None)],
)
async def test_a_patch_is_accepted_by_the_result_of_its_review_from_who_may_decide(
    tool: str, may_approve: bool, approved: bool | None
):
    hands, got = Hands(Feeds()), []
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                got.append(await hands.carry_out(ROOM, "r1", ToolCall("s", "c1", tool, {})))

            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            hands.answer(ROOM, "c1", RESULT, may_approve=may_approve)
    assert [it.get("approved") for it in got] == [approved]


async def test_a_call_that_is_given_up_cannot_be_answered_and_its_feed_says_so():
    feeds = Feeds()
    hands = Hands(feeds)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hands.carry_out, ROOM, "r1", call())
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    assert (feeds.of("transcript").since(1) or [])[0].data == {"call_id": "c1", "ok": None}
    with pytest.raises(Unknown):
        hands.answer(ROOM, "c1", RESULT)


async def test_a_call_that_is_asked_again_is_answered_once_more():
    hands = Hands(Feeds())
    with anyio.fail_after(20):
        for content in ("first", "second"):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hands.carry_out, ROOM, "r1", call())
                await anyio.wait_all_tasks_blocked()
                hands.answer(ROOM, "c1", {"result": {"content": content}})


async def test_asking_again_while_the_first_is_being_given_up_leaves_the_second_waiting():
    hands, got = Hands(Feeds()), []
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                got.append(await hands.carry_out(ROOM, "r1", call()))

            first = anyio.CancelScope()

            async def given_up() -> None:
                with first:
                    await hands.carry_out(ROOM, "r1", call())

            tasks.start_soon(given_up)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            first.cancel()
            await anyio.wait_all_tasks_blocked()
            assert hands.waits(ROOM)("c1")
            hands.answer(ROOM, "c1", RESULT)
    assert [it["content"] for it in got] == ["text"]


async def test_only_the_latest_answers_are_remembered():
    hands = Hands(Feeds())
    with anyio.fail_after(20):
        for number in range(MOST_REMEMBERED + 1):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hands.carry_out, ROOM, "r1", call(f"c{number}"))
                while not hands.waits(ROOM)(f"c{number}"):
                    await anyio.lowlevel.checkpoint()
                hands.answer(ROOM, f"c{number}", RESULT)
    hands.answer(ROOM, f"c{MOST_REMEMBERED}", RESULT)
    with pytest.raises(Unknown):
        hands.answer(ROOM, "c0", RESULT)
