import json
from typing import Any

import pytest

from ars_acp.models.assemble import Assembly
from ars_acp.models.faults import Fault, Faults
from ars_acp.models.model import Reply, Usage
from ars_acp.models.tool_text import TextCalls
from fixtures.model_modes import CALLS, USAGE, chunk, text
from tests.models.support import TOOLS

STOP = chunk({}, "stop")


def events(*chunks: Any) -> list[bytes]:
    return [it if isinstance(it, bytes) else json.dumps(it).encode() for it in chunks]


def assembled(*chunks: Any, text_calls: TextCalls | None = None) -> tuple[list[tuple[str, str]], Reply]:
    assembly = Assembly(Faults(()), text_calls)
    pieces = assembly.take(events(*chunks)) + assembly.close()
    return pieces, assembly.reply(None, 0.0)


def fault(*chunks: Any) -> Fault:
    with pytest.raises(Fault) as caught:
        assembled(*chunks)
    return caught.value


def test_every_chunk_of_text_is_a_piece_of_its_own():
    pieces, reply = assembled(chunk({"role": "assistant", "content": ""}), text("a"), text(" b"), STOP, b"[DONE]")
    assert pieces == [("text", "a"), ("text", " b")]
    assert (reply.text, reply.finish) == ("a b", "stop")


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "a"},
        {"role": "assistant", "content": "a"},
        {"content": "a", "tool_calls": None, "refusal": None, "reasoning": None, "function_call": None},
        {"content": [{"type": "text", "text": "a"}]},
    ],
)
def test_text_is_found_in_every_shape_of_delta(delta: dict[str, Any]):
    assert assembled(chunk(delta), STOP)[1].text == "a"


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"reasoning": "hm", "reasoning_content": "hm", "content": ""},
        {"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}, {"type": "reasoning.encrypted", "data": "x"}]},
    ],
)
def test_reasoning_is_found_under_every_name_and_counted_once(delta: dict[str, Any]):
    pieces, reply = assembled(chunk(delta), text("a"), STOP)
    assert pieces == [("thought", "hm"), ("text", "a")]
    assert (reply.thought, reply.text) == ("hm", "a")


@pytest.mark.parametrize(
    ("chunks", "usage"),
    [
        ([STOP, {**STOP, "choices": [], "usage": USAGE}], Usage(11, 7, 3, 2)),
        ([{**STOP, "usage": {"prompt_tokens": 5, "completion_tokens": 6}}], Usage(5, 6)),
        ([STOP, {"usage": {"prompt_tokens": 5, "completion_tokens": 6, "prompt_cache_hit_tokens": 4}}], Usage(5, 6, 4)),
        ([STOP, {"usage": {"prompt_tokens": None, "completion_tokens": -1}}], Usage(0, 0)),
        ([STOP, {"usage": {"prompt_tokens_details": None}}], Usage(0, 0)),
        ([STOP, {**STOP, "usage": None}], None),
    ],
)
def test_usage_is_taken_wherever_it_stands(chunks: list[Any], usage: Usage | None):
    assert assembled(text("a"), *chunks)[1].usage == usage


@pytest.mark.parametrize("reason", ["stop", "tool_calls", "function_call", "eos"])
def test_calls_decide_that_the_reply_asks_for_tools_whatever_the_finish_reason(reason: str):
    reply = assembled(*(chunk({"tool_calls": delta}) for delta in CALLS["fragments"]), chunk({}, reason))[1]
    assert reply.finish == "tool_calls"
    assert len(reply.tool_calls) == 2


@pytest.mark.parametrize("reason", ["stop", "tool_calls", "eos"])
def test_without_calls_the_reply_stops_whatever_the_finish_reason(reason: str):
    assert assembled(text("a"), chunk({}, reason))[1].finish == "stop"


@pytest.mark.parametrize(("reason", "finish"), [("length", "length"), ("content_filter", "refusal")])
def test_a_reply_that_was_cut_or_filtered_says_so_even_with_calls_or_nothing(reason: str, finish: str):
    calls = chunk({"tool_calls": CALLS["together"][0]})
    for before in ([text("a")], [], [calls]):
        reply = assembled(*before, chunk({}, reason))[1]
        assert (reply.finish, reply.tool_calls) == (finish, [])


def test_a_refusal_is_shown_and_told():
    pieces, reply = assembled(chunk({"refusal": "I will "}), chunk({"refusal": "not."}), STOP)
    assert pieces == [("text", "I will "), ("text", "not.")]
    assert (reply.finish, reply.text) == ("refusal", "I will not.")


def test_the_old_form_of_a_call_is_a_call():
    old = [chunk({"function_call": {"name": "read_file", "arguments": '{"path"'}})]
    old.append(chunk({"function_call": {"arguments": ': "a"}'}}))
    assert assembled(*old, chunk({}, "function_call"))[1].tool_calls[0].arguments == '{"path": "a"}'


@pytest.mark.parametrize("ending", [[b"[DONE]"], [STOP], [STOP, b"[DONE]"], [b" [DONE] "]])
def test_done_or_a_finish_reason_ends_a_reply(ending: list[Any]):
    assert assembled(text("a"), *ending)[1].finish == "stop"


def test_what_follows_done_is_not_looked_at():
    assert assembled(text("a"), b"[DONE]", text("b"), b"{x")[1].text == "a"


def test_a_stream_without_an_end_is_interrupted():
    error = fault(text("abc")).error
    assert (error.code, error.details["partial_chars"], error.retryable) == ("LLM_STREAM_INTERRUPTED", 3, True)


def test_a_finish_reason_that_is_an_error_is_an_interruption():
    assert fault(text("abc"), chunk({}, "error")).error.code == "LLM_STREAM_INTERRUPTED"


@pytest.mark.parametrize("before", [[], [chunk({"reasoning": "hm"})], [text("")]])
@pytest.mark.parametrize("reason", ["stop", "tool_calls"])
def test_a_reply_without_text_and_calls_is_an_error(before: list[Any], reason: str):
    error = fault(*before, chunk({}, reason))
    assert (error.error.code, error.error.details["reason"], error.again) == ("LLM_ERROR", "empty", False)


@pytest.mark.parametrize("bad", [b"{x", b"{", b"tru", b"[" * 100_000])
def test_what_is_not_json_interrupts(bad: bytes):
    error = fault(text("abc"), bad).error
    assert (error.code, error.details) == ("LLM_STREAM_INTERRUPTED", {"partial_chars": 3, "reason": "json"})


@pytest.mark.parametrize(
    "bad",
    [
        7,
        [],
        "x",
        {"choices": 7},
        {"choices": [7]},
        {"choices": [{"delta": 7}]},
        chunk({"tool_calls": [7]}),
        chunk({"tool_calls": 7}),
    ],
)
def test_what_is_json_but_no_chunk_interrupts(bad: Any):
    assert fault(text("abc"), bad).error.details == {"partial_chars": 3, "reason": "shape"}


@pytest.mark.parametrize(
    "harmless", [{}, {"choices": []}, {"choices": None}, {"choices": [{}]}, {"choices": [{"delta": None}]}, {"x": 1}]
)
def test_chunks_that_say_nothing_are_passed_over(harmless: Any):
    assert assembled(text("a"), harmless, STOP)[1].text == "a"


def test_an_error_object_is_reported_with_what_was_shown():
    error = fault(text("abc"), {"error": {"message": "overloaded"}, **chunk({"content": ""}, "error")}).error
    assert (error.code, error.details["partial_chars"]) == ("LLM_STREAM_INTERRUPTED", 3)


@pytest.mark.parametrize(
    ("halves", "shown"),
    [
        ([r"\ud83c", r"\udf0d!"], ["🌍!"]),
        ([r"a\ud83c", r"\udf0d"], ["a", "🌍"]),
        ([r"a\ud83c", "b"], ["a", "\ufffdb"]),
        ([r"\udf0d"], ["\ufffd"]),
        ([r"a\ud83c"], ["a", "\ufffd"]),
    ],
)
@pytest.mark.parametrize(("field", "kind"), [("content", "text"), ("reasoning_content", "thought")])
def test_halves_of_a_pair_are_joined_and_lone_ones_replaced(halves: list[str], shown: list[str], field: str, kind: str):
    split = [json.dumps(chunk({field: "@"})).replace("@", half).encode() for half in halves]
    pieces, _ = assembled(*split, chunk({}, "length"))
    assert pieces == [(kind, delta) for delta in shown]


def test_bytes_that_are_no_utf8_and_huge_numbers_do_not_interrupt():
    odd = json.dumps({**text("a@"), "n": 10**400}).encode().replace(b"@", b"\xff")
    assert assembled(odd, STOP)[1].text == "a\ufffd"


def test_a_call_in_the_text_is_repaired_only_where_the_row_says_so():
    leaked = [text("<tool_"), text('call>{"name": "read_file", "arguments": {}}'), STOP]
    assert assembled(*leaked)[1].finish == "stop"
    pieces, reply = assembled(*leaked, text_calls=TextCalls(TOOLS))
    assert (pieces, reply.finish, reply.tool_calls[0].name) == ([], "tool_calls", "read_file")
