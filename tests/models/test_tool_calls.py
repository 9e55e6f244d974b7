import time

import pytest

from ars_acp.models.tool_calls import ToolCalls
from fixtures.model_modes import CALLS, PATH_A, PATH_B, call


def collected(*fragments: dict[str, object]) -> ToolCalls:
    calls = ToolCalls()
    for fragment in fragments:
        calls.add(fragment)
    return calls


@pytest.mark.parametrize("form", CALLS)
def test_two_calls_are_two_calls_in_every_form_that_endpoints_send(form: str):
    requests = collected(*(fragment for delta in CALLS[form] for fragment in delta)).finish()
    assert [(request.name, request.arguments) for request in requests] == [("read_file", PATH_A), ("read_file", PATH_B)]
    assert all(request.id for request in requests)
    assert requests[0].id != requests[1].id


def test_ids_are_kept_where_they_are_sent():
    requests = collected(*(fragment for delta in CALLS["fragments"] for fragment in delta)).finish()
    assert [request.id for request in requests] == ["c1", "c2"]


def test_another_id_in_every_fragment_does_not_make_another_call():
    calls = collected(call(0, "a", "read_file", PATH_A[:5]), call(0, "b", None, PATH_A[5:]))
    assert [request.arguments for request in calls.finish()] == [PATH_A]


def test_another_id_with_the_same_name_is_another_call_even_without_arguments():
    calls = collected(call(0, "c1", "git_diff", ""), call(0, "c2", "git_diff", ""))
    assert [request.id for request in calls.finish()] == ["c1", "c2"]


def test_a_name_in_every_fragment_does_not_make_more_calls():
    parts = ['{"a": {"b": ', "1}", "}"]
    calls = collected(*(call(0, "c1", "x", part) for part in parts))
    assert [request.arguments for request in calls.finish()] == ["".join(parts)]


def test_a_name_repeated_after_the_last_argument_is_not_another_call():
    calls = collected(call(0, "c1", "x", '{"a": 1}'), call(0, "c1", "x", ""))
    assert [request.arguments for request in calls.finish()] == ['{"a": 1}']


def test_a_call_without_arguments_is_followed_by_another_name():
    calls = collected(call(None, None, "update_plan", None), call(None, None, "read_file", PATH_A))
    assert [(request.name, request.arguments) for request in calls.finish()] == [
        ("update_plan", ""),
        ("read_file", PATH_A),
    ]


def test_what_has_neither_name_nor_arguments_is_no_call():
    assert collected(call(0, "c1", "", "")).finish() == []


def test_broken_arguments_are_handed_on_as_they_are():
    assert collected(call(0, "c1", "read_file", '{"path": "a')).finish()[0].arguments == '{"path": "a'


def test_halves_of_a_pair_in_arguments_are_joined_and_a_lone_one_replaced():
    calls = collected(call(0, "c1", "x", "\ud83c"), call(0, None, None, "\udf0d \ud83c"))
    assert calls.finish()[0].arguments == "🌍 \ufffd"


def test_ten_mebibytes_of_arguments_in_small_fragments_are_put_together():
    began = time.process_time()
    calls = collected(call(0, "c1", "write_file", ""), *[call(0, "c1", "write_file", "x" * 1023 + "}")] * 10240)
    assert len(calls.finish()[0].arguments) == 10 << 20
    assert time.process_time() - began < 0.5
