"""What both ends get wrong most: lines, envelopes, ids, sizes, keys. Here the agent's end."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conformance.support import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    LONG,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    REQUEST_CANCELLED,
    RUN,
    TEXT,
    Json,
    code,
    messages,
    playing,
)
from tests.support.hands import Hands
from tests.support.process import agent, script
from tests.support.schema import SCHEMA, check_message, schema_accepts

pytestmark = pytest.mark.e2e

# `ars-acp` in a program that prints, and that starts a process which prints, after the agent has taken stdout.
PRINTS = """
import os, sys, threading
import ars_acp.agent
opened = ars_acp.agent.Agent.session_new
async def session_new(self, params, call):
    print("printed", flush=True)
    os.system("echo from a child")
    os.write(1, b"written to descriptor 1\\n")
    return await opened(self, params, call)
ars_acp.agent.Agent.session_new = session_new
from ars_acp.__main__ import main
sys.exit(main())
"""


@pytest.mark.requirement("rule 29")
async def test_rule_29_lines_may_end_in_crlf_and_be_blank_and_stdout_stays_clean(tmp_path: Path):
    argv = (sys.executable, "-c", PRINTS, *script(tmp_path, "=== turn\nsay: one\\ntwo\n"))
    async with agent(tmp_path, argv=argv) as client:
        client.write(b"\r\n\n  \n\r\n")
        crlf = {"jsonrpc": "2.0", "id": 500, "method": "session/new", "params": {"cwd": "/project", "mcpServers": []}}
        client.lenient = True
        client.write(json.dumps(crlf).encode() + b"\r\n")
        opened = await client.answer(500)
        assert (await client.prompt(opened["result"]["sessionId"])).stop == "end_turn"
        assert not any(b"\r" in line for line in client.received)
        assert client.strays == []
        for text in ("printed", "from a child", "written to descriptor 1"):
            assert text in client.log_text()


@pytest.mark.requirement("rule 30")
async def test_rule_30_the_envelope_is_exact_and_ids_keep_their_type(tmp_path: Path):
    async with playing(tmp_path) as client:
        client.lenient = True
        for identity in ("1", "true", '"1"', "0", "1.0"):
            client.write(b'{"jsonrpc":"2.0","id":%b,"method":"no/such"}\n' % identity.encode())
        client.write(b'{"jsonrpc":"2.0","id":null,"method":"no/such"}\n{"id":8,"method":"no/such"}\n')
        await client.request("session/list", {})
        written = messages(client)[1:-1]
    assert all(it.keys() == {"jsonrpc", "id", "error"} for it in written)
    found = [(it["id"], type(it["id"]), it["error"]["code"]) for it in written]
    refused = (None, type(None), INVALID_REQUEST)
    assert sorted(found, key=repr) == sorted(
        [
            (1, int, METHOD_NOT_FOUND),
            ("1", str, METHOD_NOT_FOUND),
            (0, int, METHOD_NOT_FOUND),
            (None, type(None), METHOD_NOT_FOUND),
            refused,
            refused,
            (8, int, INVALID_REQUEST),
        ],
        key=repr,
    )


@pytest.mark.requirement("rule 31")
async def test_rule_31_only_what_cannot_be_read_and_requests_are_answered(tmp_path: Path):
    async with playing(tmp_path) as client:
        silent: list[Json] = [
            {"jsonrpc": "2.0", "method": "no/such"},
            {"jsonrpc": "2.0", "method": "session/cancel", "params": {"sessionId": 7}},
            {"jsonrpc": "2.0", "method": "session/cancel"},
            {"jsonrpc": "2.0", "id": 900, "result": {}},
            {"jsonrpc": "2.0", "id": 900, "result": {}, "error": {"code": 1, "message": "x"}},
            {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "Parse error"}},
            {"jsonrpc": "2.0", "id": "x", "error": "rubbish"},
        ]
        client.write(b"".join(json.dumps(it).encode() + b"\n" for it in silent))
        client.write(b'{"jsonrpc"\n[1]\n')
        await client.request("session/list", {})
    assert [it["code"] for it in client.strays] == [PARSE_ERROR, INVALID_REQUEST]


@pytest.mark.requirement("rule 32")
@pytest.mark.parametrize("params", [{}, {"params": None}, {"params": {}}])
async def test_rule_32_params_may_be_missing_where_nothing_is_required(params: Json, tmp_path: Path):
    async with playing(tmp_path) as client:
        for number, method in enumerate(("session/list", "logout"), start=100):
            client.send({"jsonrpc": "2.0", "id": number, "method": method, **params})
            assert "result" in await client.answer(number)
        client.send({"jsonrpc": "2.0", "id": 200, "method": "session/close", **params}, wrong=True)
        assert (await client.answer(200))["error"]["code"] == INVALID_PARAMS


@pytest.mark.requirement("rule 33")
async def test_rule_33_lines_of_32_mib_are_read(tmp_path: Path):
    size = 32 << 20
    read = '=== turn\ncall read_file {"path": "a.txt"}\n--- step\nsay: It was read.\n'
    hands = Hands(fs_read_text_file=lambda params: {"content": "x" * size})
    async with playing(tmp_path, read, hands=hands) as client:
        half = {"type": "text", "text": "y" * (size // 2)}
        params = {"sessionId": await client.new_session(), "prompt": [half, half]}
        assert await client.request("session/prompt", params, within=25) == {"stopReason": "end_turn"}
        chunks = [it["update"] for it in client.updates if it["update"]["sessionUpdate"] == "agent_message_chunk"]
        assert chunks[-1]["content"]["text"] == "read."


@pytest.mark.requirement("rule 34")
async def test_rule_34_unknown_keys_are_ignored_and_optional_rubbish_falls_back(tmp_path: Path):
    async with playing(tmp_path, handshake=False) as client:
        hello = {
            "protocolVersion": 1,
            "clientCapabilities": {"fs": 7, "terminal": "yes", "telepathy": {"range": 3}},
            "clientInfo": ["not", "an", "object"],
            "workspaceFolders": [],
        }
        assert (await client.request("initialize", hello, wrong=True))["protocolVersion"] == 1
        new = {"cwd": "/project", "mcpServers": [], "model": "large"}
        session = (await client.request("session/new", new))["sessionId"]
        prompt = {"sessionId": session, "prompt": [{**TEXT[0], "colour": "red", "annotations": 7}], "priority": 1}
        assert await client.request("session/prompt", prompt, wrong=True) == {"stopReason": "end_turn"}
        # What is required, and what would be lost silently, is refused instead.
        for wrong in ({"cwd": 7}, {"mcpServers": 7}, {"mcpServers": [{"name": "x"}]}, {"additionalDirectories": [7]}):
            assert await code(client, "session/new", {**new, **wrong}, wrong=True) == INVALID_PARAMS


@pytest.mark.requirement("rule 35")
async def test_rule_35_a_turn_is_cancelled_by_one_notification_and_a_request_by_another(tmp_path: Path):
    async with playing(tmp_path, LONG) as client:
        first, second = await client.new_session(), await client.new_session()
        running = [client.begin_turn(it, "long") for it in (first, second)]
        for turn in running:
            await turn.shows("agent_message_chunk")
        client.notify("$/cancel_request", {"requestId": 77777})
        client.notify("$/cancel_request", {"requestId": str(running[0].request_id)})
        client.notify("$/cancel_request", {"requestId": running[0].request_id})
        answer = (await running[0].end()).answer
        assert not running[1].over
        client.cancel(second)
        assert (await running[1].end()).stop == "cancelled"
    # A turn that was taken back by its request may end either way; it has one answer.
    assert answer.get("result") == {"stopReason": "cancelled"} or answer["error"]["code"] == REQUEST_CANCELLED


@pytest.mark.requirement("rule 36")
async def test_rule_36_the_same_ids_in_both_directions_are_two_things(tmp_path: Path):
    asked: list[Any] = []
    async with playing(tmp_path, RUN) as client:
        session = await client.new_session()
        # The agent numbers its own from 1: the prompts use the ids that its requests have.
        for number in range(1, 6):
            params = {"sessionId": session, "prompt": TEXT}
            client.lenient = True
            client.answers.pop((int, number), None)
            client.send({"jsonrpc": "2.0", "id": number, "method": "session/prompt", "params": params})
            assert (await client.answer(number))["result"] == {"stopReason": "end_turn"}
        asked = [it["id"] for it in messages(client) if "method" in it and "id" in it]
    assert asked == list(range(1, len(asked) + 1))
    assert len(asked) > 10


@pytest.mark.requirement("rule 37")
def test_rule_37_the_union_of_all_messages_finds_nothing_and_the_check_by_method_does():
    wrong = {
        "jsonrpc": "2.0",
        "method": "session/update",
        "params": {"sessionId": "s", "update": {"sessionUpdate": "current_mode_update", "modeId": "ask"}},
    }
    assert schema_accepts({"anyOf": SCHEMA["anyOf"]}, wrong)
    with pytest.raises(AssertionError, match="currentModeId"):
        check_message(wrong, "agent", {})
