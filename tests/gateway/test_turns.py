"""Turns: entries of the feed and of a transcript, folded to what a page shows. Pure."""

from typing import Any

import orjson

from acp_wire.schema.session_update import SessionUpdate
from ars_gateway.sessions.feed import Entry, Feed
from ars_gateway.talks.conversations import MOST_BYTES, MOST_ENTRIES, page
from ars_gateway.talks.turns import KINDS, LONG, TERMINAL_CHARACTERS, Past, Turn, joined, recent

Json = dict[str, Any]
CUT_OFF = {"code": "UNAVAILABLE", "message": "restarted"}


def call(id: str, **more: Any) -> Json:
    return {"sessionUpdate": "tool_call", "toolCallId": id, "title": "Run", "status": "pending", **more}


def changed(id: str, **more: Any) -> Json:
    return {"sessionUpdate": "tool_call_update", "toolCallId": id, **more}


def chunk(text: str, kind: str = "agent_message_chunk") -> Json:
    return {"sessionUpdate": kind, "content": {"type": "text", "text": text}}


def told(*entries: tuple[str, Any], run: str = "r") -> Turn:
    turn = Turn(run)
    for kind, data in entries:
        turn.take(kind, data)
    return turn


def shown(turn: Turn) -> list[tuple[str, Any]]:
    return [(it["kind"], it["data"]) for it in turn.entries()]


def past(*entries: Json) -> Past:
    found = Past()
    for number, entry in enumerate(entries, 1):
        found.take(number, entry)
    return found


def prompt(text: str) -> Json:
    return {"type": "prompt", "blocks": [{"type": "text", "text": text}], "at": 1.5}


def update(turn: int | None, update: Json, **more: Any) -> Json:
    return {"type": "update", "turn": turn, "update": update, **more}


def test_the_kinds_are_those_that_the_protocol_knows():
    [tagged] = SessionUpdate.__metadata__
    assert set(tagged.choices) == KINDS


def test_pieces_of_a_message_are_one_until_something_else_happens():
    turn = told(("text", "a"), ("text", "b"), ("update", call("c")), ("text", "\n\nd"), ("thought", "e"), ("text", "f"))
    assert shown(turn) == [("text", "ab"), ("update", call("c")), ("text", "d"), ("thought", "e"), ("text", "f")]


def test_looking_at_a_message_that_is_being_said_does_not_end_it():
    turn = told(("text", "a"))
    assert shown(turn) == [("text", "a")]
    turn.take("text", "b")
    turn.take("text", "c")
    assert shown(turn) == [("text", "abc")]


def test_a_tool_call_is_one_entry_where_it_began_and_what_it_was_made_of_is_not_changed():
    began, ended = call("c", rawInput={"a": 1}), changed("c", status="completed", content=[{"type": "content"}])
    turn = told(("update", began), ("text", "x"), ("update", ended), ("update", changed("other", title="T")))
    assert shown(turn) == [
        ("update", {**began, "status": "completed", "content": [{"type": "content"}]}),
        ("text", "x"),
        ("update", {"sessionUpdate": "tool_call", "toolCallId": "other", "title": "T"}),
    ]
    assert began == call("c", rawInput={"a": 1})


def test_a_plan_and_the_usage_are_the_last_ones():
    plans = [{"sessionUpdate": "plan", "entries": [n]} for n in (1, 2)]
    turn = told(("update", plans[0]), ("text", "x"), ("update", plans[1]))
    assert shown(turn) == [("update", plans[1]), ("text", "x")]


def test_of_a_terminal_the_end_of_its_output_is_kept():
    turn = told(*(("terminal", {"terminalId": "t", "data": "x" * 40_000}) for _ in range(3)))
    turn.take("terminal", {"terminalId": "t", "data": "end"})
    [(kind, data)] = shown(turn)
    assert (kind, data["terminalId"], len(data["data"]), data["cut"]) == ("terminal", "t", TERMINAL_CHARACTERS, True)
    assert data["data"].endswith("xend")


def test_what_was_said_to_a_turn_is_shown_once():
    turn = told(("steer", {"text": "stop that"}), ("update", chunk("stop that", "user_message_chunk")))
    assert shown(turn) == [("steer", {"text": "stop that"})]
    assert shown(told(("update", chunk("go on", "user_message_chunk")))) == [("steer", {"text": "go on"})]


def test_a_transcript_has_the_kinds_of_the_feed():
    found = past(
        prompt("hi"),
        {"type": "begun", "turn": 1, "at": 2},
        {"type": "run", "turn": 1, "run": "k1", "at": 2},
        update(1, chunk("a")),
        update(1, chunk("t", "agent_thought_chunk")),
        update(1, call("c")),
        {
            "type": "asked",
            "turn": 1,
            "id": "q",
            "options": [{"optionId": "no", "name": "Never", "kind": "reject_once"}],
        },
        {"type": "decided", "turn": 1, "id": "q", "by": "person", "allowed": False, "argv": ["rm", "-r"], "at": 3}
        | {"toolCallId": "c", "option": "no", "who": "Ann"},
        update(1, changed("c", status="failed")),
        {"type": "terminal", "turn": 1, "terminalId": "t", "data": "out", "at": 3},
        {"type": "ended", "turn": 1, "stopReason": "cancelled", "at": 4},
    )
    [turn] = found.turns
    entries = turn.entries()
    assert {it["run"] for it in entries} == {"k1"}
    assert [it["kind"] for it in entries] == [
        *("prompt", "text", "thought", "update", "question", "answered", "terminal", "end"),
    ]
    assert entries[0] == {"run": "k1", "kind": "prompt", "data": {"text": "hi"}, "at": 1500}
    asked, answered = (it["data"] for it in entries[4:6])
    assert (asked["request"]["command"], asked["request"]["_ars"]["toolCallId"]) == ("rm -r", "c")
    assert [it["name"] for it in asked["request"]["_ars"]["options"]] == ["Never"]
    assert (answered["decision"], answered["resolvedBy"], answered["_ars"]) == ("deny", "Ann", {"optionId": "no"})
    assert entries[-1]["data"] == {"state": "aborted", "stopReason": "cancelled"}


def test_a_conversation_that_an_agent_tells_anew_is_turns_too():
    said = [chunk("one", "user_message_chunk"), chunk("two", "user_message_chunk"), chunk("answer")]
    said += [chunk("three", "user_message_chunk"), chunk("again")]
    found = past(*(update(None, it, replayed=True) for it in said))
    assert [shown(turn) for turn in found.turns] == [
        [("prompt", {"text": "one\ntwo"}), ("text", "answer")],
        [("prompt", {"text": "three"}), ("text", "again")],
    ]
    assert all(turn.over for turn in joined(found, {}, (), CUT_OFF))


def test_a_turn_without_an_end_that_nobody_is_at_was_cut_off():
    found = past(prompt("hi"), {"type": "begun", "turn": 1}, update(1, chunk("a")))
    [turn] = joined(found, {}, (), CUT_OFF)
    assert shown(turn)[-1] == ("end", {"state": "error", "error": CUT_OFF})
    assert shown(found.turns[0])[-1] == ("text", "a")
    [going] = joined(found, {}, {found.turns[0].run}, CUT_OFF)
    assert shown(going)[-1] == ("text", "a")


def test_every_turn_is_shown_once_in_the_order_in_which_they_began():
    found = past(
        *(prompt("a"), {"type": "begun", "turn": 1}, {"type": "run", "turn": 1, "run": "A"}),
        *(update(1, chunk("from the transcript")), {"type": "ended", "turn": 1, "stopReason": "end_turn"}),
        {"type": "injected", "message": {"content": [{"type": "text", "text": "psst"}]}},
        *(prompt("b"), {"type": "begun", "turn": 7}, {"type": "run", "turn": 7, "run": "B"}, update(7, chunk("b"))),
        *({"type": "ended", "turn": 7, "stopReason": "end_turn"}, prompt("c"), {"type": "begun", "turn": 12}),
    )
    feed = Feed()
    feed.add("B", "prompt", {"text": "b"})
    feed.add("B", "text", "from the feed")
    feed.add("lost", "prompt", {"text": "never sent"})
    feed.add("lost", "end", {"state": "error"})
    feed.add("B", "end", {"state": "ok"})
    turns: dict[str, Turn] = {}
    recent(feed.since(0) or (), turns)
    every = joined(found, turns, {"t12"}, CUT_OFF)
    assert [turn.run for turn in every] == ["A", "t6", "B", "lost", "t12"]
    assert shown(every[2])[1] == ("text", "from the feed")


def test_a_turn_whose_beginning_the_feed_has_forgotten_is_the_transcripts():
    found = past(
        *(prompt("a"), {"type": "begun", "turn": 1}, {"type": "run", "turn": 1, "run": "A"}),
        *(update(1, chunk("one ")), update(1, chunk("two "))),
    )
    turns: dict[str, Turn] = {}
    question = {"id": "q", "request": {}}
    recent([Entry(5, "A", "text", "two "), Entry(6, "A", "question", question)], turns)
    [turn] = joined(found, turns, {"A"}, CUT_OFF)
    assert shown(turn) == [("prompt", {"text": "a"}), ("text", "one two "), ("question", question)]
    assert shown(found.turns[0]) == [("prompt", {"text": "a"}), ("text", "one two ")]


def test_pages_are_bounded_and_together_they_are_everything():
    turns = []
    for number in range(30):
        turn = Turn(f"r{number}", number + 1 if number % 2 else None)
        for at in range(50):
            turn.take("steer", {"text": f"{number}.{at}"})
        turns.append(turn)
    every: list[str] = []
    cursor = None
    pages = 0
    while True:
        entries, cursor = page(turns, cursor)
        assert 0 < len(entries) <= MOST_ENTRIES
        every[:0] = [it["data"]["text"] for it in orjson.loads(orjson.dumps(entries))]
        pages += 1
        if cursor is None:
            break
    assert pages == 4
    assert len(every) == 1500
    assert len(set(every)) == 1500
    assert (every[0], every[-1]) == ("0.0", "29.49")


def test_a_page_holds_no_more_bytes_than_it_should_but_for_what_its_last_entry_has():
    turn = told(
        *(("steer", {"text": "x" * (MOST_BYTES // 2)}) for _ in range(3)), ("update", call("y" * 3 * MOST_BYTES))
    )
    turn.take("end", {"state": "ok"})
    entries, cursor = page([turn])
    assert len(entries) == 2
    entries, cursor = page([turn], cursor)
    assert len(entries) == 2
    assert cursor is not None


def test_a_very_long_message_is_several_entries_that_are_the_message():
    line = "x" * 99 + "\n"
    turn = told(*(("text", line) for _ in range(20_000)))
    texts = [data for _, data in shown(turn)]
    assert "".join(texts) == line * 20_000
    assert all(text.endswith("\n") for text in texts)
    assert max(map(len, texts)) <= LONG + len(line)
    assert len("".join(it["data"] for it in orjson.loads(orjson.dumps(page([turn])[0])))) >= MOST_BYTES
    assert shown(turn.copy()) == shown(turn)
    assert max(len(data) for _, data in shown(told(*(("text", "y" * 1000) for _ in range(1000))))) <= 2 * LONG + 1000


def known(*texts: str) -> Past:
    """A transcript of turns, each a second long, the first at second 1; run `p1` and so on."""
    found = Past()
    entries: list[Json] = []
    for second, text in enumerate(texts, 1):
        number = len(entries) + 1
        prompt: Json = {"type": "prompt", "blocks": [{"type": "text", "text": text}], "at": float(second)}
        entries += [
            prompt,
            {"type": "begun", "turn": number},
            {"type": "ended", "turn": number, "stopReason": "end_turn"},
        ]
    for number, entry in enumerate(entries, 1):
        found.take(number, entry)
    return found


def sent(run: str, at: int) -> Turn:
    turn = Turn(run)
    turn.take("prompt", {"text": run}, at)
    return turn


def prompts(turns: list[Turn]) -> list[str]:
    return [turn.entries()[0]["data"]["text"] for turn in turns]


def test_what_was_just_sent_comes_after_what_the_transcript_knows():
    new = sent("new", 5000)
    assert prompts(joined(known("one", "two"), {"new": new}, {"new"}, CUT_OFF)) == ["one", "two", "new"]


def test_what_never_came_into_the_transcript_stands_where_it_was_sent():
    lost = sent("lost", 1500)
    assert prompts(joined(known("one", "two"), {"lost": lost}, {"lost"}, CUT_OFF)) == ["one", "lost", "two"]
