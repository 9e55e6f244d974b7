"""The check that every other test relies on must itself be able to fail."""

from typing import Any

import pytest

from tests.support.schema import WireCheck

NEW = {"jsonrpc": "2.0", "id": 1, "method": "session/new", "params": {"cwd": "/w", "mcpServers": []}}


def update(**fields: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": "s", "update": fields}}


def test_a_request_and_its_answer_pass() -> None:
    wire = WireCheck()
    wire.sent_by_client(NEW)
    wire.sent_by_agent({"jsonrpc": "2.0", "id": 1, "result": {"sessionId": "s"}})
    wire.all_answered()


def test_the_same_id_in_both_directions_is_two_requests() -> None:
    wire = WireCheck()
    wire.sent_by_client(NEW)
    read = {"sessionId": "s", "path": "/w/a"}
    wire.sent_by_agent({"jsonrpc": "2.0", "id": 1, "method": "fs/read_text_file", "params": read})
    wire.sent_by_client({"jsonrpc": "2.0", "id": 1, "result": {"content": ""}})
    wire.sent_by_agent({"jsonrpc": "2.0", "id": 1, "result": {"sessionId": "s"}})
    wire.all_answered()


def test_extension_methods_are_free() -> None:
    wire = WireCheck()
    wire.sent_by_client({"jsonrpc": "2.0", "id": "x", "method": "_ars/ping", "params": [1]})
    wire.sent_by_agent({"jsonrpc": "2.0", "id": "x", "result": 5})
    wire.sent_by_agent({"jsonrpc": "2.0", "method": "_ars/note"})


def test_an_error_without_an_id_passes() -> None:
    WireCheck().sent_by_agent({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "Parse error"}})


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        pytest.param([], "not an object", id="a batch"),
        pytest.param({"id": 1, "result": {}}, "jsonrpc", id="no version"),
        pytest.param({"jsonrpc": "2.0", "id": 1, "result": {}, "error": {}}, "a result or an error", id="both"),
        pytest.param({"jsonrpc": "2.0", "id": 1, "result": {}}, r"session/new result: \$.*sessionId", id="bad result"),
        pytest.param({"jsonrpc": "2.0", "id": 1, "result": None}, "session/new result", id="null result"),
        pytest.param({"jsonrpc": "2.0", "id": "1", "result": {"sessionId": "s"}}, "not open", id="other type of id"),
        pytest.param({"jsonrpc": "2.0", "id": True, "result": {}}, "id: ", id="a bool for an id"),
        pytest.param({"jsonrpc": "2.0", "id": 1, "error": {"code": "x", "message": ""}}, r"\$.code", id="bad error"),
        pytest.param({"jsonrpc": "2.0", "id": 2, "method": "session/set_model"}, "not a method", id="unknown method"),
        pytest.param({"jsonrpc": "2.0", "id": 2, "method": "session/new"}, "not for the agent", id="wrong side"),
        pytest.param({"jsonrpc": "2.0", "id": 2, "method": "session/update"}, "is a notification", id="update with id"),
        pytest.param({"jsonrpc": "2.0", "method": "terminal/kill"}, "is a request", id="request without id"),
        pytest.param({"jsonrpc": "2.0", "id": 1, "result": {}, "extra": 1}, "extra", id="own key in the envelope"),
        pytest.param(update(sessionUpdate="state_update"), "not in v1", id="unknown update"),
        pytest.param(update(sessionUpdate="current_mode_update", modeId="a"), "currentModeId", id="wrong field"),
        pytest.param(update(sessionUpdate="usage_update", used=-1, size=1), r"\$.update.used", id="out of range"),
        pytest.param(update(sessionUpdate="usage_update", used=2**64, size=1), r"\$.update.used", id="over uint64"),
        pytest.param(
            update(sessionUpdate="tool_call", toolCallId="t", title="x", status="cancelled"),
            r"\$.update.status",
            id="no such status",
        ),
    ],
)
def test_what_the_agent_gets_wrong_is_named(message: Any, complaint: str) -> None:
    wire = WireCheck()
    wire.sent_by_client(NEW)
    with pytest.raises(AssertionError, match=complaint):
        wire.sent_by_agent(message)


def test_a_second_answer_is_refused() -> None:
    wire = WireCheck()
    wire.sent_by_client(NEW)
    wire.sent_by_agent({"jsonrpc": "2.0", "id": 1, "result": {"sessionId": "s"}})
    with pytest.raises(AssertionError, match="not open"):
        wire.sent_by_agent({"jsonrpc": "2.0", "id": 1, "result": {"sessionId": "s"}})


def test_a_request_without_an_answer_is_named() -> None:
    wire = WireCheck()
    wire.sent_by_client(NEW)
    with pytest.raises(AssertionError, match="session/new"):
        wire.all_answered()


def test_what_a_test_gets_wrong_on_purpose_still_wants_its_answer() -> None:
    wire = WireCheck()
    wire.sent_by_client({"jsonrpc": "2.0", "id": 3, "method": "session/fork", "params": 5}, wrong=True)
    wire.sent_by_agent({"jsonrpc": "2.0", "id": 3, "error": {"code": -32601, "message": "Method not found"}})
    wire.all_answered()
