"""S1, S2: no set of options and no forged request gets more out of a policy than it may give."""

import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acp_wire.schema.permission import PermissionOption
from acp_wire.schema.tool_calls import ToolCall, ToolCallUpdate
from connector.files import Files
from connector.permissions import Act, Policy, act_of, allow_once, allow_reads, ask, decide, deny_all

KINDS = ("allow_once", "allow_always", "reject_once", "reject_always")
Record = Callable[[str, str, str, bool], None]


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


@pytest.mark.faults("S1")
async def test_every_set_of_options_is_answered_by_kind_and_never_by_position(record: Record) -> None:
    """All subsets of the four kinds and a second `allow_once`, in every order, under every policy."""
    offered = [option(kind, kind) for kind in KINDS] + [option("second allow_once", "allow_once")]
    always = by_index = asked = 0
    for policy, wanted in POLICIES.values():
        for chosen in itertools.chain.from_iterable(itertools.permutations(offered, size) for size in range(6)):
            decision = await decide(act(list(chosen), kind="execute"), policy)
            fitting = [one.option_id for one in chosen if one.kind == wanted]
            always += decision.option_id in ("allow_always", "reject_always")
            by_index += decision.option_id != (fitting[0] if len(fitting) == 1 else None)
            asked += 1
    measured = f"{asked} ordered sets: {always} always, {by_index} by index"
    record("S1", "all 2^5 option sets x 4 policies: 0 allow_always, 0 by index", measured, always == by_index == 0)
    assert asked == 4 * 326


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


@pytest.mark.faults("S2")
async def test_forged_reads_are_never_approved(tmp_path: Path, record: Record) -> None:
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

    record("S2", "200 forged requests: 0 approved", f"{len(approved)} approved of 200", approved == [])

    honest = act(
        options, kind="read", locations=[{"path": f"{root}/a.txt"}], rawInput={"path": f"{root}/a.txt", "line": 1}
    )
    assert (await decide(honest, policy)).option_id == "allow_once"
    files.close()
