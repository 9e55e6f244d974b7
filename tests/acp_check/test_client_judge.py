"""Every message of a client is held against the protocol, and against what the agent has offered."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acp_check import v1
from acp_check.client_judge import Judge, Tally

HELLO = {"protocolVersion": 1, "clientInfo": {"name": "x", "version": "1"}}
INITIALIZE = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO}
NEW = {"cwd": "/w", "mcpServers": []}
READ = {"jsonrpc": "2.0", "id": 7, "method": "fs/read_text_file", "params": {"sessionId": "s", "path": "/w/a"}}


def call(method: str, params: Any = None, **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 5, "method": method, "params": params, **more}


def judged(*lines: Any, capabilities: dict[str, Any] | None = None, session: dict[str, Any] | None = None) -> Tally:
    """What is found in a conversation that has been opened as it should, with one open request of the agent's."""
    tally = Tally()
    judge = Judge(tally)
    judge.take(json.dumps(INITIALIZE).encode())
    judge.answered(INITIALIZE, {"protocolVersion": 1, "agentCapabilities": capabilities or {}})
    new = call("session/new", NEW, id=2)
    judge.take(json.dumps(new).encode())
    judge.answered(new, {"sessionId": "s", **(session or {})})
    judge.asked(READ)
    for line in lines:
        judge.take(line if isinstance(line, bytes) else json.dumps(line).encode())
    return tally


def prompt(*blocks: dict[str, Any]) -> dict[str, Any]:
    return call("session/prompt", {"sessionId": "s", "prompt": list(blocks)})


IMAGE = {"type": "image", "data": "aGk=", "mimeType": "image/png"}
HTTP = {"type": "http", "name": "h", "url": "http://127.0.0.1/", "headers": []}
RESULT = {"jsonrpc": "2.0", "id": 7, "result": {"content": "x"}}


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([RESULT], id="an answer"),
        pytest.param([{**RESULT, "result": {"content": "x", "_meta": {"a": 1}}}], id="_meta"),
        pytest.param([b"", b"  \r"], id="blank lines"),
        pytest.param([prompt({"type": "text", "text": "x"})], id="a prompt"),
        pytest.param([{"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "?"}}], id="a refused line"),
        pytest.param([call("_x/y", [1])], id="an extension"),
        pytest.param([{"jsonrpc": "2.0", "method": "session/cancel", "params": {"sessionId": "s"}}], id="a cancel"),
    ],
)
def test_what_is_proper_is_no_fault(lines: list[Any]):
    assert judged(*lines).broken == {}


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ("WIRE-001", b"\xff"),
        ("WIRE-001", b"debug"),
        ("WIRE-001", b"[]"),
        ("WIRE-001", {**RESULT, "jsonrpc": "1.0"}),
        ("WIRE-001", {**RESULT, "error": {"code": 1, "message": ""}}),
        ("WIRE-001", {"jsonrpc": "2.0", "id": 7}),
        ("WIRE-001", call("session/prompt", {}, result={})),
        ("WIRE-002", {**RESULT, "result": {}}),
        ("WIRE-002", {"jsonrpc": "2.0", "id": 7, "error": {"code": "x", "message": ""}}),
        ("WIRE-002", call("session/update", {"sessionId": "s"})),
        ("WIRE-002", call("session/cancel", {"sessionId": "s"})),
        ("WIRE-002", prompt({"type": "text"})),
        ("WIRE-003", {**RESULT, "id": "7"}),
        ("WIRE-003", {**RESULT, "id": 8}),
        ("WIRE-003", {"jsonrpc": "2.0", "id": 8, "error": {"code": 1, "message": ""}}),
        ("WIRE-003", call("_x", id=1.5)),
        ("WIRE-004", {**RESULT, "extra": 1}),
        ("WIRE-004", {**RESULT, "result": {"content": "", "extra": 1}}),
        ("GATE-001", call("session/set_mode", {"sessionId": "s", "modeId": "m"})),
        ("GATE-001", call("session/load", {"sessionId": "s", **NEW})),
        ("GATE-001", call("authenticate", {"methodId": "m"})),
        ("GATE-001", call("session/fork", {})),
        ("GATE-002", prompt(IMAGE)),
        ("GATE-003", call("session/new", {"cwd": "/w", "mcpServers": [HTTP]})),
        ("GATE-004", call("session/new", {**NEW, "additionalDirectories": ["/x"]})),
        ("SESSION-001", call("session/new", {"cwd": "w", "mcpServers": []})),
        ("SESSION-002", call("session/prompt", {"sessionId": "S", "prompt": []})),
    ],
)
def test_what_is_wrong_is_the_fault_of_one_row(row: str, line: Any):
    assert list(judged(line).broken) == [row]


def test_two_open_requests_of_one_id_and_two_answers_to_one_are_faults():
    assert list(judged(call("_x"), call("_x")).broken) == ["WIRE-003"]
    assert list(judged(RESULT, RESULT).broken) == ["WIRE-003"]


def test_what_was_offered_may_be_called():
    capabilities = {
        "loadSession": True,
        "sessionCapabilities": {"list": {}, "additionalDirectories": {}},
        "promptCapabilities": {"image": True},
        "mcpCapabilities": {"http": True},
    }
    lines = [
        call("session/list", {}),
        call("session/set_mode", {"sessionId": "s", "modeId": "m"}, id=6),
        call("session/new", {"cwd": "/w", "mcpServers": [HTTP], "additionalDirectories": ["/x"]}, id="7"),
        {**prompt(IMAGE), "id": 8},
    ]
    tally = judged(*lines, capabilities=capabilities, session={"modes": {"currentModeId": "m", "availableModes": []}})
    assert tally.broken == {}
    assert {"GATE-001", "GATE-002", "GATE-003", "GATE-004"} <= tally.seen


def test_initialize_comes_first_and_alone():
    for lines in ([call("session/new", NEW)], [INITIALIZE, call("session/new", NEW)]):
        tally = Tally()
        judge = Judge(tally)
        for line in lines:
            judge.take(json.dumps(line).encode())
        assert list(tally.broken) == ["INIT-001"]
    assert tally.seen >= {"INIT-002"}
    nameless = Tally()
    Judge(nameless).take(json.dumps({**INITIALIZE, "params": {"protocolVersion": 1}}).encode())
    assert list(nameless.broken) == ["INIT-002"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = ["prompt", "sessionId", "cwd", "mcpServers", "additionalDirectories", "clientCapabilities", "clientInfo"]
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | JSON,
        "id": st.sampled_from([1, 5, 7]) | JSON,
        "method": st.sampled_from(sorted(v1.METHODS)) | JSON,
        "params": st.dictionaries(st.sampled_from(NAMES), JSON | st.lists(st.fixed_dictionaries({"type": JSON})))
        | JSON,
        "result": JSON,
        "error": JSON,
    },
)


@given(st.lists(MESSAGES | JSON, max_size=3))
@settings(max_examples=150, deadline=None)
def test_nothing_that_a_client_sends_is_too_much_for_the_judge(lines: list[Any]):
    judged(*lines)
