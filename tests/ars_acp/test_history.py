"""What the model reads of a session whose turns did not end as they should: a full disk, a process that died."""

from typing import Any

import pytest

from ars_acp.session import History
from tests.support.disk import Disk
from tests.support.in_memory import Client, house

Json = dict[str, Any]
PROMPT = {"type": "prompt", "text": "do it"}
AGAIN = {"type": "prompt", "text": "again"}
CALLS = [{"id": f"c{n}", "name": "read_file", "arguments": "{}"} for n in range(3)]


def folded(*entries: Json) -> list[Json]:
    history = History()
    for entry in entries:
        history.apply(entry)
    return history.messages


def assert_sound(messages: list[Json]) -> None:
    """Every call has its results, in order and at once, and nothing else has any."""
    wanted: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] == wanted.pop(0)
        else:
            assert not wanted
            wanted = [call["id"] for call in message.get("tool_calls", ())]
    assert not wanted


def test_calls_without_a_result_get_one_before_the_next_prompt() -> None:
    reply = {"type": "reply", "calls": CALLS}
    messages = folded(PROMPT, reply, {"type": "result", "id": "c1", "text": "found"}, AGAIN)
    assert_sound(messages)
    assert ["found" in message["content"] for message in messages[2:5]] == [False, True, False]
    assert messages[-1] == {"role": "user", "content": "again"}


def test_a_reply_without_an_end_is_not_mixed_with_the_next_one() -> None:
    text = {"type": "text", "text": "half"}
    messages = folded(PROMPT, text, AGAIN, {"type": "text", "text": "whole"}, {"type": "reply", "calls": []})
    assert [message["role"] for message in messages] == ["user", "assistant", "user", "assistant"]
    assert messages[1]["content"].startswith("half\n[This reply was interrupted")
    assert messages[3]["content"] == "whole"


def test_a_refused_turn_leaves_nothing_open() -> None:
    assert folded(PROMPT, {"type": "reply", "calls": CALLS}, {"type": "turn", "stop": "refusal"}, AGAIN) == [
        {"role": "user", "content": "again"}
    ]


def test_a_result_without_its_call_is_none() -> None:
    result = {"type": "result", "id": "c1", "text": "found"}
    assert_sound(folded(PROMPT, result, {"type": "reply", "calls": CALLS}, result, result, AGAIN))


@pytest.mark.parametrize("writes", [1, 1000])
@pytest.mark.parametrize("written", range(2, 14))
async def test_a_session_goes_on_after_its_disk_was_full_whenever_and_however_long(written: int, writes: int) -> None:
    client, disk = Client(), Disk()
    client.files["/project/a"] = "A"
    script = """
=== turn
say: I look
call read_file {"path": "a"}
call update_plan {"entries": []}
--- step
say: done
=== turn repeat
say: well
"""
    async with house(script, client=client, store=disk) as it:
        [session] = it.agent._sessions.active.values()
        failing = iter(range(writes))
        disk.full = lambda entries: session.log.last >= written and next(failing, None) is not None
        assert await it.prompt("first") == "end_turn"
        disk.full = lambda entries: False
        assert await it.prompt("second") == "end_turn"
        assert_sound(session.history.messages)
        assert session.history.messages[-1] == {"role": "assistant", "content": "well"}
        assert folded(*(await it.entries())) == session.history.messages
