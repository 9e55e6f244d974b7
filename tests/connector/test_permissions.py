"""What is answered to a permission request, by every policy and to every set of options."""

import itertools
from typing import Any

import pytest

from acp_wire.schema.permission import PermissionOption
from acp_wire.schema.tool_calls import ToolCall, ToolCallUpdate
from connector.permissions import Act, Answer, act_of, allow_once, allow_reads, ask, decide, deny_all

KINDS = ("allow_once", "allow_always", "reject_once", "reject_always")


def option(option_id: str, kind: str) -> PermissionOption:
    return PermissionOption.model_validate({"optionId": option_id, "name": f"option {option_id}", "kind": kind})


def act(options: list[PermissionOption], **tool_call: Any) -> Act:
    return act_of("s", options, ToolCallUpdate.model_validate({"toolCallId": "t", **tool_call}))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_person_gets_the_very_option_that_they_picked(kind: str) -> None:
    async def person(act: Act) -> str | None:
        return f"my {kind}"

    options = [option(f"my {kind}", kind) for kind in KINDS]
    for shuffled in itertools.permutations(options):
        assert (await decide(act(list(shuffled)), ask(person))).option_id == f"my {kind}"


async def test_an_option_that_was_not_offered_is_no_answer() -> None:
    async def person(act: Act) -> str | None:
        return "invented"

    decision = await decide(act([option("a", "allow_once")]), ask(person))

    assert decision.outcome() == {"outcome": {"outcome": "cancelled"}}


@pytest.mark.parametrize("ids", [[], [""], ["a", ""], ["a", "a"], ["a", "b", "a"]])
async def test_options_that_cannot_be_told_apart_are_not_even_asked_about(ids: list[str]) -> None:
    asked: list[Act] = []

    async def person(act: Act) -> str | None:
        asked.append(act)
        return "a"

    for policy in (ask(person), allow_once, deny_all):
        decision = await decide(act([option(one, "allow_once") for one in ids]), policy)
        assert decision.option_id is None
    assert asked == []


async def test_the_outcome_names_the_option_on_the_wire() -> None:
    decision = await decide(act([option("yes", "allow_once"), option("no", "reject_once")]), allow_once)

    assert decision.outcome() == {"outcome": {"outcome": "selected", "optionId": "yes"}}
    assert decision.reason == "by policy: allow"


async def test_what_only_the_earlier_report_knows_is_part_of_the_act() -> None:
    known = ToolCall.model_validate(
        {
            "toolCallId": "t",
            "title": "Run the tests",
            "kind": "execute",
            "rawInput": {"argv": ["make", "test"]},
            "locations": [{"path": "/ws/Makefile"}],
        }
    )
    wanted = act_of("s", [], ToolCallUpdate.model_validate({"toolCallId": "t", "status": "pending"}), known)

    assert (wanted.kind, wanted.argv, wanted.paths) == ("execute", ("make", "test"), ("/ws/Makefile",))
    assert wanted.title == "Run the tests"
    assert wanted.tool_call.status == "pending"


async def test_reads_are_left_to_the_next_policy_where_they_are_not_sure() -> None:
    seen: list[str] = []

    async def person(act: Act) -> Answer:
        seen.append(act.kind)
        return Answer.ALLOW

    policy = allow_reads(lambda session, path: session == "s", person)
    await decide(act([option("a", "allow_once")], kind="read", locations=[{"path": "/x"}]), policy)
    await decide(act([option("a", "allow_once")], kind="edit", locations=[{"path": "/x"}]), policy)

    assert seen == ["edit"]
