"""What clients are told of an agent's updates."""

import itertools
import time
from typing import Any

from ars_gateway.sessions.story import Story


def said(text: str) -> dict[str, Any]:
    return {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}


def call(update: str = "tool_call", **more: Any) -> dict[str, Any]:
    return {"sessionUpdate": update, "toolCallId": "c1", **more}


def test_text_is_cumulative_within_a_message():
    story = Story()
    events = []
    for piece in ("Hello", " wo", "rld"):
        events += [(stream, str(data["text"]), data["delta"]) for stream, data in story.take(said(piece))]
    assert events == [
        ("assistant", "Hello", "Hello"),
        ("assistant", "Hello wo", " wo"),
        ("assistant", "Hello world", "rld"),
    ]


def test_what_a_piece_costs_does_not_grow_with_what_was_said_before_it():
    def seconds(count: int, kind: str) -> float:
        story, piece = Story(), said("x" * 100) | {"sessionUpdate": kind}
        began = time.process_time()
        for _ in range(count):
            story.take(piece)
        return time.process_time() - began

    for kind in ("agent_message_chunk", "agent_thought_chunk"):
        # Copied each time, four megabytes took half a minute.
        assert seconds(40_000, kind) < 3


def test_after_a_tool_call_a_new_message_begins_and_the_text_of_the_run_only_grows():
    story = Story()
    seen = []
    for update in (said("Reading."), call(title="read", name="read"), said("Hello"), said(" there")):
        story.take(update)
        seen.append(story.text)
    assert seen == ["Reading.", "Reading.", "Reading.\n\nHello", "Reading.\n\nHello there"]
    assert story.messages == ["Reading.", "Hello there"]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(seen))


def test_a_tool_call_starts_goes_on_and_has_a_result():
    story = Story()
    shown = [{"type": "content", "content": {"type": "text", "text": "half"}}]
    updates = (
        call(title="Read a.txt", name="read", rawInput={"path": "a.txt"}),
        call("tool_call_update", content=shown),
        call("tool_call_update", status="completed", content=shown),
    )
    phases = [data for update in updates for _, data in story.take(update)]
    assert [it["phase"] for it in phases] == ["start", "update", "result"]
    assert phases[0] == {
        "phase": "start",
        "name": "read",
        "toolCallId": "c1",
        "args": {"path": "a.txt"},
    }
    assert (phases[2]["isError"], phases[2]["meta"]) == (False, "Read a.txt")
    assert phases[2]["result"] == {"content": [{"type": "text", "text": "half"}]}


def test_a_result_without_a_beginning_has_both():
    phases = [data["phase"] for _, data in Story().take(call("tool_call_update", status="failed", kind="execute"))]
    assert phases == ["start", "result"]


def test_what_is_of_no_known_shape_means_nothing():
    story = Story()
    for update in ({}, {"sessionUpdate": "new_kind"}, said(""), {"sessionUpdate": "agent_message_chunk", "content": 5}):
        assert story.take(update) == []
    assert story.text == ""
