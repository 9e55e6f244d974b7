"""The words in which a client is told of entries: on one line, whatever they hold, with codes that say who failed."""

import json
from typing import Any

import pytest

from ars_gateway.http.agent_events import Events, Lines, Names, dumped, end_of, error_of, told
from ars_gateway.sessions.feed import Entry
from ars_gateway.talks import failures
from connector.errors import AgentError, AgentExited, AgentTimeout, AgentUnavailable, Asked, NotOffered

NAMES = Names("s", "m")
ASKED = Asked("session/prompt", 1)


@pytest.mark.parametrize("text", ["a\nb\r\nc", "\x85\u2028\u2029", "\x0b\x0c\x1c\x1d\x1e", '"\\', "é日🙂", "\0"])
def test_an_event_is_one_line_of_data_whatever_is_said(text: str):
    name, data, id, *end = Events().token(NAMES, text, "f-1").splitlines()
    assert (name, id, end) == ("event: token", "id: f-1", [""])
    assert json.loads(data.removeprefix("data: "))["token"] == text
    (line,) = Lines().token(NAMES, text, "f-1").splitlines()
    assert json.loads(line)["token"] == text
    (line,) = dumped({"a": [text]}).splitlines()
    assert json.loads(line) == {"a": [text]}


def test_what_the_client_calls_things_cannot_end_a_line_or_a_string():
    names = Names("s", 'm"\n\u2028')
    _, data, *_ = Events().token(names, "x", "f-1").splitlines()
    assert json.loads(data.removeprefix("data: "))["message_id"] == 'm"\n\u2028'


@pytest.mark.parametrize(
    ("kind", "data", "name", "more"),
    [
        ("thought", "hm", "thought", {"text": "hm"}),
        ("update", {"sessionUpdate": "plan", "entries": [1]}, "plan", {"entries": [1]}),
        ("update", {"sessionUpdate": "usage_update", "used": 1, "size": 2, "x": 3}, "usage", {"used": 1, "size": 2}),
        (
            "update",
            {"sessionUpdate": "tool_call_update", "toolCallId": "c"},
            "tool",
            {"call_id": "c", "update": {"sessionUpdate": "tool_call_update", "toolCallId": "c"}},
        ),
        (
            "update",
            {"sessionUpdate": "current_mode_update"},
            "update",
            {"update": {"sessionUpdate": "current_mode_update"}},
        ),
        ("steer", {"text": "left"}, "steer", {"text": "left"}),
        ("terminal", {"terminalId": "t", "data": "x"}, "terminal", {"terminal_id": "t", "data": "x"}),
        ("filled", {"id": "f", "action": "accept"}, "form_resolved", {"form_id": "f", "action": "accept"}),
        (
            "form",
            {"id": "f", "message": "m", "requestedSchema": {}},
            "form",
            {"form_id": "f", "message": "m", "schema": {}},
        ),
    ],
)
def test_what_goes_on_is_told_by_name(kind: str, data: Any, name: str, more: dict[str, Any]):
    assert told(Entry(1, "r", kind, data), NAMES) == (name, {"type": name, "session_id": "s", "message_id": "m"} | more)


def test_what_has_no_word_is_not_told():
    assert told(Entry(1, "r", "begun", {"at": 1}), NAMES) is None
    assert told(Entry(1, "r", "of a later time", None), NAMES) is None


@pytest.mark.parametrize(
    ("why", "begun", "code", "retryable"),
    [
        (AgentUnavailable("main", "failed", "gone"), False, "AGENT_UNAVAILABLE", True),
        (AgentExited("main", ASKED, None, ""), True, "LLM_STREAM_INTERRUPTED", True),
        (AgentTimeout("main", ASKED, 1, ""), True, "AGENT_UNAVAILABLE", True),
        (NotOffered("main", "x", "y"), False, "INVALID_MESSAGE", False),
        (AgentError("main", ASKED, -32603, "no"), True, "LLM_ERROR", False),
        (
            AgentError("main", ASKED, -32603, "no", {"code": "TOOL_TIMEOUT", "retryable": True}),
            True,
            "TOOL_TIMEOUT",
            True,
        ),
        (AgentError("main", ASKED, -32603, "no", {"code": "SESSION_HELD"}), True, "LLM_ERROR", False),
    ],
)
def test_a_failure_has_the_code_of_whoever_failed(why: Exception, begun: bool, code: str, retryable: bool):
    error = error_of(failures.told(why), begun)
    assert (error["code"], error["retryable"]) == (code, retryable)
    assert list(error) == ["code", "retryable", "details", "message"]


def test_our_own_faults_and_ends_are_said_as_such():
    assert error_of(failures.INTERNAL, True)["code"] == "INTERNAL"
    interrupted = error_of(failures.INTERRUPTED, True)
    assert (interrupted["code"], interrupted["retryable"]) == ("LLM_STREAM_INTERRUPTED", True)
    name, data = end_of("aborted", {"stopReason": "restart"}, True, NAMES)
    assert (name, data["error"]) == ("error", interrupted)


@pytest.mark.parametrize(
    ("state", "reason", "told_as"),
    [
        ("ok", None, {}),
        ("ok", "max_tokens", {"stop_reason": "max_tokens"}),
        ("aborted", "rpc", {"stop_reason": "cancelled"}),
        ("aborted", "agent", {"stop_reason": "cancelled"}),
        ("timeout", "timeout", {"stop_reason": "timeout"}),
    ],
)
def test_an_end_that_is_no_failure_is_complete(state: str, reason: str | None, told_as: dict[str, str]):
    name, data = end_of(state, {"stopReason": reason} if reason else {}, True, NAMES)
    assert name == "complete"
    assert list(data)[:4] == ["type", "session_id", "message_id", "is_final"]
    assert {key: it for key, it in data.items() if key == "stop_reason"} == told_as
