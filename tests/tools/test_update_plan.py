"""update_plan: the complete list, as ACP has it."""

import pytest

from ars_acp.tools.tool import InvalidArguments
from tests.support.schema import check
from tests.tools.conftest import Bench


async def test_plan_is_sent_whole(bench: Bench) -> None:
    entries = [
        {"content": "look", "status": "completed", "priority": "high"},
        {"content": "change", "status": "in_progress"},
        {"content": "test", "priority": None},
    ]
    result = await bench.call("update_plan", entries=entries)
    assert bench.sent == [
        {
            "sessionUpdate": "plan",
            "entries": [
                {"content": "look", "priority": "high", "status": "completed"},
                {"content": "change", "priority": "medium", "status": "in_progress"},
                {"content": "test", "priority": "medium", "status": "pending"},
            ],
        }
    ]
    check("SessionUpdate", bench.sent[0])
    assert result.text == "the plan is shown: 1 of 3 completed"


async def test_planning_a_call_sends_nothing(bench: Bench) -> None:
    act = await bench.plan("update_plan", entries=[{"content": "look"}])
    assert (bench.sent, act.effects, act.title) == ([], "none", "Plan: 0 of 1 done")


async def test_one_entry_and_none_are_lists_too(bench: Bench) -> None:
    await bench.call("update_plan", entries={"content": "look"})
    await bench.call("update_plan", entries=[])
    assert [len(it["entries"]) for it in bench.sent] == [1, 0]


@pytest.mark.parametrize("entry", [{}, {"content": ""}, {"content": "x", "status": "done"}, {"content": 1}, "x"])
async def test_entry_that_is_not_one_is_invalid(bench: Bench, entry: object) -> None:
    with pytest.raises(InvalidArguments, match="entries"):
        await bench.plan("update_plan", entries=[entry])
