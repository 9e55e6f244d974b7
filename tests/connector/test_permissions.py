"""What is answered to a permission request, by every policy and to every set of options."""

import itertools
import random
from pathlib import Path
from typing import Any

import pytest

from acp_wire.schema.permission import PermissionOption
from acp_wire.schema.tool_calls import ToolCall, ToolCallUpdate
from connector.files import Files
from connector.permissions import Act, Answer, Policy, act_of, allow_once, allow_reads, ask, decide, deny_all

KINDS = ("allow_once", "allow_always", "reject_once", "reject_always")


def option(option_id: str, kind: str) -> PermissionOption:
    return PermissionOption.model_validate({"optionId": option_id, "name": f"option {option_id}", "kind": kind})


def act(options: list[PermissionOption], **tool_call: Any) -> Act:
    return act_of("s", options, ToolCallUpdate.model_validate({"toolCallId": "t", **tool_call}))


async def nobody(act: Act) -> str | None:
    return None


POLICIES: dict[str, tuple[Policy, str | None]] = {
    "deny_all": (deny_all, "reject_once"),
    "allow_once": (allow_once, "allow_once"),
    "allow_reads": (allow_reads(lambda session, path: True), "reject_once"),
    "ask": (ask(nobody), None),
}


@pytest.mark.parametrize("name", POLICIES)
async def test_every_set_of_options_is_answered_by_kind_and_never_by_position(name: str) -> None:
    """S1: all subsets of the four kinds and a second `allow_once`, in every order: 0 `allow_always`, 0 by index."""
    policy, wanted = POLICIES[name]
    offered = [option(kind, kind) for kind in KINDS] + [option("second allow_once", "allow_once")]
    answered = 0
    for size in range(6):
        for chosen in itertools.permutations(offered, size):
            decision = await decide(act(list(chosen), kind="execute"), policy)

            fitting = [one.option_id for one in chosen if one.kind == wanted]
            assert decision.option_id == (fitting[0] if len(fitting) == 1 else None)
            assert decision.option_id not in ("allow_always", "reject_always")
            answered += 1
    assert answered == sum(len(list(itertools.permutations(range(5), size))) for size in range(6))


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


def forged(root: Path, number: int) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """A request that wants to look like a read inside the roots, and what was reported of its tool call before."""
    rng = random.Random(number)
    inside, outside = f"{root}/a.txt", rng.choice(["/etc/passwd", f"{root}/../secret", f"{root}-evil/x", "~/.ssh/id"])
    honest: dict[str, Any] = {
        "title": rng.choice(["read: rm -rf /", "Read a.txt", ""]),
        "kind": "read",
        "locations": [{"path": inside}],
        "rawInput": {"path": inside},
    }
    lies: list[tuple[dict[str, Any], dict[str, Any] | None]] = [
        ({**honest, "kind": None}, None),
        ({key: value for key, value in honest.items() if key != "kind"}, None),
        ({**honest, "kind": rng.choice(["READ", "execute", "other", "edit", "search", 1])}, None),
        ({**honest, "rawInput": {"command": "rm -rf /"}}, None),
        ({**honest, "rawInput": {"path": inside, "argv": ["rm", "-rf", "/"]}}, None),
        ({**honest, "rawInput": {"path": inside, rng.choice(["content", "patch", "script", "env"]): "x"}}, None),
        ({**honest, "rawInput": rng.choice(["rm -rf /", ["rm"], 7, True])}, None),
        ({**honest, "rawInput": {"path": rng.choice([{"x": 1}, 7, [inside, 7], []])}}, None),
        ({**honest, "rawInput": {"path": outside}}, None),
        ({**honest, "rawInput": {"paths": [inside, outside]}}, None),
        ({**honest, "locations": [{"path": inside}, {"path": outside}]}, None),
        ({**honest, "locations": [{"path": outside}]}, None),
        ({**honest, "locations": [], "rawInput": {}}, None),
        ({**honest, "locations": None, "rawInput": None}, None),
        ({**honest, "content": [{"type": "diff", "path": inside, "oldText": "a", "newText": "b"}]}, None),
        ({**honest, "content": [{"type": "terminal", "terminalId": "t1"}]}, None),
        (honest, {**honest, "kind": "execute"}),
        (honest, {**honest, "rawInput": {"command": "rm -rf /"}}),
        (honest, {**honest, "locations": [{"path": outside}]}),
        ({"kind": "read"}, {**honest, "kind": "execute"}),
    ]
    return lies[number % len(lies)]


async def test_forged_reads_are_never_approved(tmp_path: Path) -> None:
    """S2: 200 forged requests, 0 approved."""
    root = tmp_path / "ws"
    root.mkdir()
    (root / "a.txt").write_text("a")
    files = Files([str(root)])
    policy = allow_reads(lambda session, path: files.contains(path))
    options = [option(kind, kind) for kind in KINDS]
    approved = []
    for number in range(200):
        asked, known = forged(root, number)
        request = ToolCallUpdate.model_validate({"toolCallId": "t", **asked})
        before = ToolCall.model_validate({"toolCallId": "t", "title": "", **known}) if known else None
        decision = await decide(act_of("s", options, request, before), policy)
        if decision.option_id != "reject_once":
            approved.append((asked, known))

    assert approved == []

    honest = act(
        options, kind="read", locations=[{"path": f"{root}/a.txt"}], rawInput={"path": f"{root}/a.txt", "line": 1}
    )
    assert (await decide(honest, policy)).option_id == "allow_once"
    files.close()


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
