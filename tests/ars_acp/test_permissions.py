"""Permission by mode and by what an act does."""

from dataclasses import replace
from typing import Any

import pytest

from ars_acp.permissions import options, verdict
from ars_acp.tools.tool import Act, ToolResult


async def do_nothing() -> ToolResult:
    return ToolResult(ok=True, text="")


ACT = Act(title="t", kind="edit", effects="write", do=do_nothing)
TABLE = {
    "read-only": ("allow", "refuse", "refuse"),
    "ask": ("allow", "ask", "ask"),
    "accept-edits": ("allow", "allow", "ask"),
    "full": ("allow", "allow", "allow"),
}


@pytest.mark.parametrize("mode", TABLE)
@pytest.mark.parametrize(("column", "effects"), list(enumerate(("none", "write", "execute"))))
def test_the_table(mode: str, column: int, effects: Any) -> None:
    assert verdict(mode, replace(ACT, effects=effects), set()) == TABLE[mode][column]


@pytest.mark.parametrize("mode", ["ask", "accept-edits", "full"])
@pytest.mark.parametrize("effects", ["write", "execute"])
def test_protected_paths_are_asked_for_whatever_was_allowed(mode: str, effects: Any) -> None:
    assert verdict(mode, replace(ACT, effects=effects, protected=True, rule="r"), {"r"}) == "ask"


def test_what_a_review_approved_asks_no_more_but_read_only_stays_read_only() -> None:
    approved = replace(ACT, approved=True)
    assert verdict("ask", approved, set()) == "allow"
    assert verdict("read-only", approved, set()) == "refuse"


def test_a_rule_allows_its_own_act_and_no_other() -> None:
    assert verdict("ask", replace(ACT, rule="this"), {"this"}) == "allow"
    assert verdict("ask", replace(ACT, rule="that"), {"this"}) == "ask"
    assert verdict("ask", ACT, {"this"}) == "ask"


def test_always_is_offered_only_for_an_act_with_a_rule_that_is_not_protected() -> None:
    assert [option["kind"] for option in options(ACT)] == ["allow_once", "reject_once"]
    assert [option["kind"] for option in options(replace(ACT, rule="r"))] == [
        "allow_once",
        "allow_always",
        "reject_once",
    ]
    assert [option["kind"] for option in options(replace(ACT, rule="r", protected=True))] == [
        "allow_once",
        "reject_once",
    ]
