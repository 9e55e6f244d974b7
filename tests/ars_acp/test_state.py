"""A session's state in the specification's fields, folded from what its log holds."""

from typing import Any

from ars_acp.state import state

Json = dict[str, Any]
SESSION: Json = {
    "at": 1000,
    "type": "session",
    "version": 1,
    "cwd": "/project",
    "directories": ["/other"],
    "mode": "ask",
}
PROMPT: Json = {"at": 2000, "type": "prompt", "content": [{"type": "text", "text": "go"}], "text": "go"}
CALLS: list[Json] = [
    {"id": "call_1", "name": "read_file", "arguments": '{"path": "a"}'},
    {"id": "call_2", "name": "read_file", "arguments": '{"path": "b"}'},
]


def state_of(*entries: Json) -> Json:
    return state("sess_1", enumerate(entries, 1))


def test_a_session_that_was_only_opened_has_a_state_with_nothing_in_it() -> None:
    found = state_of(SESSION)
    assert {key: found[key] for key in ("session_id", "history", "pending_tool_call", "last_user_message")} == {
        "session_id": "sess_1",
        "history": [],
        "pending_tool_call": None,
        "last_user_message": None,
    }
    assert found["llm_state"]["in_turn"] is False
    assert found["metadata"] == {
        "title": None,
        "cwd": "/project",
        "directories": ["/other"],
        "created_at": 1000,
        "updated_at": 1000,
        "prompts": 0,
        "entries": 1,
        "version": 1,
    }


def test_history_is_what_the_model_was_told_and_the_last_message_what_the_person_said() -> None:
    usage = {"input": 90, "output": 10, "cost": {"amount": 0.5, "currency": "USD"}}
    found = state_of(
        SESSION,
        PROMPT,
        {"type": "text", "text": "do"},
        {"type": "text", "text": "ne"},
        {"at": 3000, "type": "reply", "finish": "stop", "calls": [], "model": "m-1", "usage": usage},
        {"at": 3000, "type": "turn", "stop": "end_turn"},
        {"at": 4000, "type": "title", "title": "go"},
        {"at": 5000, "type": "config", "id": "mode", "value": "full"},
    )
    assert found["history"] == [{"role": "user", "content": "go"}, {"role": "assistant", "content": "done"}]
    assert found["last_user_message"] == "go"
    assert found["llm_state"] == {
        "model": "m-1",
        "config": {"mode": "full"},
        "in_turn": False,
        "partial_chars": 0,
        "used_tokens": 100,
        "cost": {"amount": 0.5, "currency": "USD"},
    }
    assert (found["metadata"]["title"], found["metadata"]["updated_at"]) == ("go", 5000)


def test_the_pending_call_is_the_first_one_without_a_result() -> None:
    entries = [SESSION, PROMPT, {"type": "reply", "finish": "tool_calls", "calls": CALLS}]
    assert state_of(*entries)["pending_tool_call"] == CALLS[0]
    entries.append({"type": "result", "id": "call_1", "ok": True, "text": "a's text"})
    assert state_of(*entries)["pending_tool_call"] == CALLS[1]
    entries.append({"type": "result", "id": "call_2", "ok": True, "text": "b's text"})
    assert state_of(*entries)["pending_tool_call"] is None


def test_in_the_middle_of_a_reply_the_state_says_how_much_was_shown() -> None:
    found = state_of(SESSION, PROMPT, {"type": "thought", "text": "hm"}, {"type": "text", "text": "hal"})
    assert (found["llm_state"]["in_turn"], found["llm_state"]["partial_chars"]) == (True, 3)
    assert found["history"] == [{"role": "user", "content": "go"}]


def test_what_was_taken_back_is_no_part_of_it_but_what_was_chosen_and_paid_stays() -> None:
    usage = {"input": 3, "output": 1, "cost": {"amount": 0.5, "currency": "USD"}}
    turn = [PROMPT, {"type": "config", "id": "mode", "value": "full"}, {"type": "reply", "calls": [], "usage": usage}]
    found = state_of(SESSION, *turn, {"type": "turn", "stop": "end_turn"}, {"type": "rewind", "to": 1, "through": 5})
    assert (found["history"], found["last_user_message"], found["metadata"]["prompts"]) == ([], None, 0)
    assert found["llm_state"]["config"] == {"mode": "full"}
    assert found["llm_state"]["cost"] == {"amount": 0.5, "currency": "USD"}
