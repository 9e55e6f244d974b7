"""A record as chat.history shows it."""

from typing import Any

from ars_gateway.sessions.history import BEHIND, History, history, newest, previews


def entries(*found: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    return list(enumerate(found, 1))


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def said(words: str, kind: str = "agent_message_chunk") -> dict[str, Any]:
    return {"type": "update", "turn": 1, "update": {"sessionUpdate": kind, "content": text(words)}}


def call(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": "update", "turn": 1, "update": {"sessionUpdate": kind, "toolCallId": "c1", **more}}


PROMPT = {"type": "prompt", "at": 1.5, "blocks": [text("hidden", _meta={BEHIND: True}), text("hi")]}
BEGUN = {"type": "begun", "at": 2, "turn": 1}
ENDED = {"type": "ended", "at": 3, "turn": 1, "stopReason": "end_turn"}


def test_a_turn_is_a_question_and_an_answer():
    assert history(entries(PROMPT, BEGUN, said("Hel"), said("lo"), ENDED)) == [
        {"role": "user", "content": [text("hi")], "timestamp": 1500},
        {"role": "assistant", "content": [text("Hello")], "timestamp": 2000, "stopReason": "stop"},
    ]


def test_a_tool_call_stands_in_its_message_and_its_result_behind_it():
    shown = [{"type": "content", "content": text("body")}]
    messages = history(
        entries(
            PROMPT,
            BEGUN,
            said("Reading."),
            call("tool_call", name="read", rawInput={"path": "a"}),
            call("tool_call_update", status="completed", content=shown),
            said("Done."),
            ENDED,
        )
    )
    assert [it["role"] for it in messages] == ["user", "assistant", "toolResult", "assistant"]
    assert messages[1]["content"][1] == {"type": "toolCall", "id": "c1", "name": "read", "arguments": {"path": "a"}}
    assert messages[1]["stopReason"] == "toolUse"
    assert (messages[2]["toolName"], messages[2]["content"], messages[2]["isError"]) == ("read", [text("body")], False)


def test_a_failed_turn_says_why_and_keeps_what_was_said():
    error = {
        "type": "ended",
        "at": 3,
        "turn": 1,
        "stopReason": None,
        "error": {"kind": "AgentExited", "message": "gone"},
    }
    reply = history(entries(PROMPT, BEGUN, said("Half"), error))[1]
    assert (reply["content"], reply["stopReason"], reply["errorMessage"]) == ([text("Half")], "error", "gone")


def test_what_waits_stands_last_until_it_is_withdrawn():
    fold = History()
    waiting = {"type": "prompt", "at": 4, "blocks": [text("later")]}
    for number, entry in entries(PROMPT, BEGUN, waiting, said("Hello")):
        fold.take(number, entry)
    assert [it["content"][0]["text"] for it in fold.all()] == ["hi", "Hello", "later"]
    fold.take(5, {"type": "ended", "turn": 3, "stopReason": "cancelled", "withdrawn": True})
    assert [it["content"][0]["text"] for it in fold.all()] == ["hi", "Hello"]


def test_previews_are_what_was_said_last_cut_short():
    messages = history(entries(PROMPT, BEGUN, said("x" * 50), ENDED))
    assert previews(messages, 1, 20) == [{"role": "assistant", "text": "x" * 19 + "…"}]
    assert [it["role"] for it in previews(messages, 9, 20)] == ["user", "assistant"]


def test_of_too_much_the_newest_is_told():
    messages = [{"n": n} for n in range(10)]
    assert newest(messages, 16) == [{"n": 8}, {"n": 9}]
    assert newest(messages, 1) == [{"n": 9}]
    assert newest(messages, 10_000) == messages


def test_a_reply_can_be_looked_at_while_it_is_said_and_its_pieces_stay_where_they_belong():
    fold = History()
    looked = []
    pieces = [
        said("Hm", "agent_thought_chunk"),
        said("Rea"),
        said("ding."),
        call("tool_call", name="read"),
        said("Done."),
    ]
    for number, entry in entries(PROMPT, BEGUN, *pieces):
        fold.take(number, entry)
        looked.append([part.get("text") or part.get("thinking") for it in fold.messages[1:] for part in it["content"]])
    assert looked[2:] == [
        ["Hm"],
        ["Hm", "Rea"],
        ["Hm", "Reading."],
        ["Hm", "Reading.", None],
        ["Hm", "Reading.", None, "Done."],
    ]
