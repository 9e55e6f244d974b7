"""The fold: what each role has not seen yet, what is used, what a dead process left open; and the text of a delta."""

from typing import Any

import pytest

from connector.crew import Budget, Conversation, Role, Spent
from connector.crew.given import AGAIN, formatted, reminder, warning
from connector.crew.role import check

Json = dict[str, Any]


def begin(number: int, text: str, *roles: str, kind: str = "sequential") -> list[Json]:
    return [
        {"type": "round", "round": number, "kind": kind, "roles": list(roles)},
        {"type": "said", "round": number, "text": text},
    ]


def asked(ask: int, role: str, upto: int, *, round: int = 1, reminded: bool = False) -> Json:
    told = {"type": "asked", "ask": ask, "role": role, "round": round, "upto": upto, "shown": [], "at": ask}
    return {**told, "reminded": reminded, "mark": None}


def replied(ask: int, role: str, text: str, *, round: int = 1, **more: Any) -> Json:
    told = {"type": "replied", "ask": ask, "role": role, "round": round, "text": text, "stopReason": "end_turn"}
    return {**told, "at": ask + 0.5, **more}


def failed(ask: int, role: str, *, seen: bool, kind: str = "AgentExited", text: str = "", round: int = 1) -> Json:
    told = {"type": "failed", "ask": ask, "role": role, "round": round, "kind": kind, "error": "it ended"}
    return {**told, "text": text, "seen": seen, "at": ask + 0.5}


def texts(conversation: Conversation, role: str, **more: Any) -> list[str]:
    return [message.text for message in conversation.unseen(role, **more)]


# ── what a role is given ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_delta_is_what_was_said_since_the_role_spoke_last_without_its_own() -> None:
    entries = [
        *begin(1, "Build it.", "Ann", "Bob"),
        asked(1, "Ann", 1),
        replied(1, "Ann", "A plan."),
        asked(2, "Bob", 2),
        replied(2, "Bob", "Too big."),
        *begin(2, "Smaller, then.", "Ann", "Bob"),
    ]
    conversation = Conversation(entries)
    assert formatted(conversation.unseen("Ann")) == "Assistant (Bob): Too big.\n\nUser: Smaller, then."
    assert formatted(conversation.unseen("Bob")) == "User: Smaller, then."
    assert formatted(conversation.unseen("New")) == (
        "User: Build it.\n\nAssistant (Ann): A plan.\n\nAssistant (Bob): Too big.\n\nUser: Smaller, then."
    )


def test_of_roles_that_are_asked_at_once_each_gets_the_others_replies_the_next_time() -> None:
    entries = [*begin(1, "Well?", "Ann", "Bob"), asked(1, "Ann", 1), asked(2, "Bob", 1)]
    conversation = Conversation([*entries, replied(2, "Bob", "B"), replied(1, "Ann", "A")])
    assert (texts(conversation, "Ann"), texts(conversation, "Bob")) == (["B"], ["A"])


@pytest.mark.parametrize(("seen", "left"), [(False, ["Go.", "B"]), (True, ["B"])])
def test_the_index_stays_where_a_failure_had_no_effect(seen: bool, left: list[str]) -> None:
    entries = [*begin(1, "Go.", "Ann", "Bob"), asked(1, "Ann", 1), failed(1, "Ann", seen=seen, text="half a")]
    conversation = Conversation([*entries, asked(2, "Bob", 1), replied(2, "Bob", "B")])
    assert texts(conversation, "Ann") == left
    assert [message.text for message in conversation.messages] == ["Go.", "B"]


def test_what_may_be_known_already_is_given_again_with_a_word_of_warning() -> None:
    ann = Role("Ann", "qwen")
    conversation = Conversation([*begin(1, "Go.", "Ann"), asked(1, "Ann", 1), failed(1, "Ann", seen=False)])
    assert warning(ann, conversation) == ""
    conversation.take(asked(2, "Ann", 1))
    conversation.take({**failed(2, "Ann", seen=False), "sent": True})
    assert warning(ann, conversation) == f"{AGAIN}\n\n"
    conversation.take(asked(3, "Ann", 1))
    conversation.take(replied(3, "Ann", "A"))
    assert warning(ann, conversation) == ""


def test_empty_replies_are_given_to_nobody() -> None:
    entries = [*begin(1, "Go.", "Ann", "Bob"), asked(1, "Ann", 1), replied(1, "Ann", " \n")]
    assert texts(Conversation(entries), "Bob") == ["Go."]


def test_a_stage_of_a_pipeline_is_given_only_what_is_handed_to_it_and_what_was_said_in_earlier_rounds() -> None:
    entries = [
        *begin(1, "Old.", "Ann"),
        asked(1, "Ann", 1),
        replied(1, "Ann", "A1"),
        *begin(2, "Task.", "Ann", "Bob", "Cid", kind="pipeline"),
        asked(2, "Ann", 3, round=2),
        replied(2, "Ann", "A2", round=2),
        asked(3, "Bob", 4, round=2),
        replied(3, "Bob", "B2", round=2),
    ]
    assert texts(Conversation(entries), "Cid", only=(2, 4)) == ["Old.", "A1", "Task.", "B2"]


def test_the_reminder_stands_in_front_after_every_so_many_replies_and_once_only() -> None:
    ann = Role("Ann", "qwen", prompt="You plan.", remind_every=2)
    conversation = Conversation(begin(1, "Go.", "Ann"))
    assert reminder(ann, conversation) == ""
    for ask in (1, 2):
        assert reminder(ann, conversation) == ""
        conversation.take(asked(ask, "Ann", 1))
        conversation.take(replied(ask, "Ann", "A"))
    assert reminder(ann, conversation) == "System: You plan.\n\n"
    conversation.take(asked(3, "Ann", 1, reminded=True))
    conversation.take(failed(3, "Ann", seen=False))
    assert reminder(ann, conversation) == "System: You plan.\n\n"
    conversation.take(asked(4, "Ann", 1, reminded=True))
    conversation.take(failed(4, "Ann", seen=True))
    assert reminder(ann, conversation) == ""
    conversation.take(replied(0, "Ann", "A"))
    assert reminder(Role("Ann", "qwen", "You plan.", "Plan!", 3), conversation) == "System: Plan!\n\n"


# ── what is used ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_tokens_costs_and_seconds_are_counted_as_agents_and_clocks_tell_them() -> None:
    dollars = [{"amount": amount, "currency": "USD"} for amount in (0.5, 0.75, 0.1)]
    entries = [
        *begin(1, "Go.", "Ann", "Bob"),
        replied(1, "Ann", "A", tokens=100, cost=dollars[0]),
        replied(2, "Bob", "B", tokens=10, cost={"amount": 3.0, "currency": "credits"}),
        {"type": "over", "round": 1, "why": "done", "told": "", "at": 4.0},
        *begin(2, "On.", "Ann"),
        replied(3, "Ann", "A", tokens=150, cost=dollars[1], round=2, at=1.5),
        # Its session was begun anew, and counts from nothing.
        replied(4, "Ann", "A", tokens=20, cost=dollars[2], round=2, at=2.0),
    ]
    spent = Conversation(entries).spent
    assert (spent.replies, spent.seconds, spent.tokens) == (4, 6.0, 280)
    assert spent.cost == pytest.approx({"USD": 0.85, "credits": 3.0})


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        (Budget(), ""),
        (Budget(replies=3, seconds=10.5, tokens=101, cost=0.6), ""),
        (Budget(replies=2), "the budget of 2 replies is used up"),
        (Budget(seconds=10), "the budget of 10 seconds is used up"),
        (Budget(tokens=1), "the budget of 1 tokens is used up"),
        (Budget(cost=0.5), "the budget of 0.5 for costs is used up"),
    ],
)
def test_a_budget_says_which_limit_is_reached(budget: Budget, told: str) -> None:
    before = Spent(1, 1.0, 1, {"USD": 1.0})
    assert Spent(3, 11.0, 101, {"USD": 1.5, "EUR": 0.1}).since(before).over(budget) == told


# ── what a dead process left open ───────────────────────────────────────────────────────────────────────────────────


def test_what_was_open_when_the_process_ended_is_known() -> None:
    entries = [*begin(1, "Go.", "Ann", "Bob"), asked(1, "Ann", 1), replied(1, "Ann", "A"), asked(2, "Bob", 2)]
    conversation = Conversation(entries)
    assert [(ask.role, ask.number) for ask in conversation.asks.values()] == [("Bob", 2)]
    interrupted = conversation.interrupted
    assert interrupted is not None
    assert [reply.text for reply in interrupted.outcomes["Ann"]] == ["A"]
    conversation.take(failed(2, "Bob", seen=False, kind="interrupted"))
    assert (conversation.asks, "Bob" in interrupted.outcomes) == ({}, False)
    conversation.take({"type": "over", "round": 1, "why": "done", "told": "", "at": 3.0})
    assert conversation.interrupted is None


def test_entries_of_a_kind_that_is_not_known_mean_nothing() -> None:
    assert Conversation([{"type": "opened", "name": "x"}, {"type": "later"}]).messages == []


@pytest.mark.parametrize(
    ("roles", "told"),
    [
        ([], "at least one role"),
        ([Role("", "qwen")], "a line of 1 to 64"),
        ([Role("a\nUser: b", "qwen")], "a line of 1 to 64"),
        ([Role("a" * 65, "qwen")], "a line of 1 to 64"),
        ([Role("a", "qwen"), Role("b", "qwen"), Role("a", "x")], "the same name: a"),
        ([Role("a", "qwen", remind_every=-1)], "cannot be reminded"),
    ],
)
def test_roles_that_nobody_could_tell_apart_are_no_crew(roles: list[Role], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        check(roles)
