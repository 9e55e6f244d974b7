"""The wire and the handshake: transport, JSON-RPC, initialize, schema, extensions, errors, the end."""

import json
import os
from pathlib import Path

import pytest

from ars_acp import __version__
from tests.e2e.conformance.support import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    NOT_FOUND,
    PARSE_ERROR,
    RUN,
    TEXT,
    code,
    messages,
    playing,
    unknown_keys,
)
from tests.support.process import Failed

pytestmark = pytest.mark.e2e

STRANGE = "Grüße, 世界, 🦀, \u2028 and \x85 in one line"


@pytest.mark.requirement("TRANSPORT-001")
async def test_stdout_carries_messages_and_nothing_else(tmp_path: Path):
    # Python itself would now print every import, and the settings would log everything.
    async with playing(tmp_path, RUN, "--log-level", "debug", env={"PYTHONVERBOSE": "1"}, within=60) as client:
        turn = await client.prompt(await client.new_session(), within=30)
        assert turn.stop == "end_turn"
        assert all(it["jsonrpc"] == "2.0" for it in messages(client))
        assert b"" not in client.received


@pytest.mark.requirement("TRANSPORT-002")
async def test_every_line_is_utf_8_in_a_locale_that_is_not(tmp_path: Path):
    async with playing(
        tmp_path, "=== turn\nsay: $prompt\n", env={"LANG": "C", "PYTHONIOENCODING": "latin-1"}
    ) as client:
        turn = await client.prompt(await client.new_session(), STRANGE)
        assert turn.text == STRANGE
        assert all(json.loads(line.decode("utf-8")) for line in client.received)


@pytest.mark.requirement("JSONRPC-001")
@pytest.mark.parametrize("identity", [0, 7, -3, 2**53, "7", "", "ünïcode"])
async def test_an_answer_carries_the_id_of_its_request(identity: object, tmp_path: Path):
    async with playing(tmp_path) as client:
        client.send({"jsonrpc": "2.0", "id": identity, "method": "session/list", "params": {}})
        answer = await client.answer(identity)
    assert (type(answer["id"]), answer["id"]) == (type(identity), identity)


@pytest.mark.requirement("JSONRPC-002")
async def test_an_answer_has_a_result_or_an_error(tmp_path: Path):
    async with playing(tmp_path) as client:
        await client.prompt(await client.new_session())
        await code(client, "session/close", {"sessionId": "sess_nobody"})
        await code(client, "_unknown/method", {})
        answers = [it for it in messages(client) if "method" not in it]
    assert len(answers) == 5
    assert [("result" in it) + ("error" in it) for it in answers] == [1] * 5


@pytest.mark.requirement("JSONRPC-003")
async def test_a_notification_is_never_answered(tmp_path: Path):
    async with playing(tmp_path) as client:
        before = len(client.received)
        for method, params in [
            ("session/cancel", {"sessionId": "sess_nobody"}),
            ("$/cancel_request", {"requestId": 99}),
        ]:
            client.notify(method, params)
        client.write(b'{"jsonrpc":"2.0","method":"no/such"}\n{"jsonrpc":"2.0","method":"session/new","params":{}}\n')
        await client.request("session/list", {})
        assert len(client.received) == before + 1


@pytest.mark.requirement("JSONRPC-004")
@pytest.mark.parametrize("method", ["no/such", "session/update", "fs/read_text_file", "Initialize"])
async def test_an_unknown_method_is_answered_so(method: str, tmp_path: Path):
    async with playing(tmp_path) as client:
        assert await code(client, method, {}, wrong=True) == METHOD_NOT_FOUND


@pytest.mark.requirement("JSONRPC-005")
async def test_after_errors_it_goes_on(tmp_path: Path):
    async with playing(tmp_path) as client:
        client.write(b'{"broken\n[]\n7\n{"jsonrpc":"2.0","id":99}\n')
        client.lenient = True
        assert await code(client, "session/new", {}, wrong=True) == INVALID_PARAMS
        turn = await client.prompt(await client.new_session())
    assert (turn.stop, turn.text) == ("end_turn", "Hello there.")
    assert [it["code"] for it in client.strays] == [PARSE_ERROR, INVALID_REQUEST, INVALID_REQUEST]
    assert client.answers[int, 99].message["error"]["code"] == INVALID_REQUEST


@pytest.mark.requirement("INIT-001")
async def test_initialize_tells_version_and_capabilities(tmp_path: Path):
    async with playing(tmp_path, handshake=False) as client:
        told = await client.request("initialize", {"protocolVersion": 1})
    assert told["protocolVersion"] == 1
    assert told["agentCapabilities"]["loadSession"] is True
    assert set(told["agentCapabilities"]["sessionCapabilities"]) >= {"list", "resume", "close", "delete"}


@pytest.mark.requirement("INIT-002")
async def test_the_version_that_it_speaks_is_agreed_to(tmp_path: Path):
    async with playing(tmp_path, handshake=False) as client:
        assert (await client.initialize())["protocolVersion"] == 1


@pytest.mark.requirement("INIT-003")
@pytest.mark.parametrize("version", [0, 2, 999, 65535])
async def test_an_unknown_version_is_not_repeated(version: int, tmp_path: Path):
    async with playing(tmp_path, handshake=False) as client:
        assert (await client.request("initialize", {"protocolVersion": version}))["protocolVersion"] == 1


@pytest.mark.requirement("INIT-004")
async def test_it_says_its_name_and_version(tmp_path: Path):
    async with playing(tmp_path, handshake=False) as client:
        told = await client.initialize()
    assert (told["agentInfo"]["name"], told["agentInfo"]["version"]) == ("ars-acp", __version__)


EVERYTHING = """=== turn
think: First a plan.
say: I look.
call update_plan {"entries": [{"content": "Look", "status": "in_progress"}]}
call read_file {"path": "a.txt"}
--- step
call write_file {"path": "a.txt", "content": "x"}
call run_command {"argv": ["make"]}
call prompt_user {"question": "Who?", "choices": ["Ada", "Bob"]}
--- step
retry 0.01 "busy"
say: Done.
"""


@pytest.mark.requirement("SCHEMA-001")
@pytest.mark.requirement("SCHEMA-002")
async def test_every_message_is_the_schema_s_and_has_no_key_of_its_own(tmp_path: Path):
    unknown: set[str] = set()
    async with playing(tmp_path, EVERYTHING) as client:
        client.hands.files["/project/a.txt"] = "a\n"
        session = await client.new_session()
        assert (await client.prompt(session)).stop == "end_turn"
        known = {"sessionId": session, "cwd": "/project", "mcpServers": []}
        asked = {
            3 + at: method for at, method in enumerate(["session/prompt", "session/list", "session/load"], start=0)
        }
        await client.request("session/list", {})
        await client.request("session/load", known)
        client.settle()
        asked |= {1: "initialize", 2: "session/new"}
        for message in messages(client):
            method = message.get("method")
            role, value = ("params", message["params"]) if method else ("result", message["result"])
            unknown |= unknown_keys(method or asked[message["id"]], role, value)
        kinds = {it["update"]["sessionUpdate"] for it in client.updates}
    assert unknown == set()
    assert kinds >= {"agent_message_chunk", "agent_thought_chunk", "tool_call", "tool_call_update", "plan", "notice"}


@pytest.mark.requirement("EXT-001")
async def test_unknown_extensions_are_refused_or_ignored(tmp_path: Path):
    async with playing(tmp_path) as client:
        client.notify("_example.com/told", {"x": 1})
        assert await code(client, "_example.com/asked", {"x": 1}) == METHOD_NOT_FOUND
        assert (await client.prompt(await client.new_session())).stop == "end_turn"


@pytest.mark.requirement("META-001")
async def test_meta_is_taken_anywhere_and_changes_nothing(tmp_path: Path):
    meta = {"_meta": {"example.com/x": [1, {"y": None}], "sessionId": "sess_other", "cwd": "relative"}}
    async with playing(tmp_path, handshake=False) as client:
        capabilities = {**client.hands.capabilities, **meta}
        await client.request("initialize", {"protocolVersion": 1, "clientCapabilities": capabilities, **meta})
        session = (await client.request("session/new", {"cwd": "/project", "mcpServers": [], **meta}))["sessionId"]
        prompt = {"sessionId": session, "prompt": [{**TEXT[0], **meta}], **meta}
        assert await client.request("session/prompt", prompt) == {"stopReason": "end_turn"}
        assert {it["sessionId"] for it in client.updates} == {session}


@pytest.mark.requirement("ERROR-001")
async def test_an_error_has_a_code_and_one_line(tmp_path: Path):
    errors = []
    async with playing(tmp_path) as client:
        for method, params in [
            ("session/new", {"cwd": 7, "mcpServers": []}),
            ("session/new", {"cwd": "a\nb", "mcpServers": []}),
            ("session/prompt", {"sessionId": "sess_nobody", "prompt": TEXT}),
            ("session/list", {"cursor": "\n"}),
            ("no/such\nmethod", {}),
        ]:
            answer = await client.answer(client.begin(method, params, wrong=True))
            errors.append(answer["error"])
    assert all(-(2**31) <= it["code"] < 2**31 and it["message"] for it in errors)
    assert not [it["message"] for it in errors if "\n" in it["message"]]


@pytest.mark.requirement("SHUTDOWN-001")
async def test_the_end_of_stdin_is_the_end(tmp_path: Path):
    async with playing(tmp_path) as client:
        await client.prompt(await client.new_session())
        ended = await client.finish()
    assert ended.code == 0


@pytest.mark.requirement("STDERR")
async def test_what_is_for_nobody_goes_to_stderr(tmp_path: Path):
    async with playing(tmp_path, "=== turn\nsay: Hi.\n", "--log-level", "debug") as client:
        await client.prompt(await client.new_session())
        await client.finish()
        assert client.logged("model.replied")
        assert os.path.getsize(client.log) > 0


@pytest.mark.requirement("INFO-PARSE")
async def test_no_json_is_a_parse_error(tmp_path: Path):
    async with playing(tmp_path) as client:
        client.write(b'{"jsonrpc":"2.0","id":5,\n')
        await client.until(lambda: client.strays)
    assert [it["code"] for it in client.strays] == [PARSE_ERROR]


@pytest.mark.requirement("INFO-INVALIDREQ")
async def test_no_request_is_an_invalid_one(tmp_path: Path):
    async with playing(tmp_path) as client:
        client.write(b'[{"jsonrpc":"2.0","id":5,"method":"session/list"}]\n"text"\n')
        await client.until(lambda: len(client.strays) == 2)
    assert [it["code"] for it in client.strays] == [INVALID_REQUEST] * 2


@pytest.mark.requirement("INFO-UNKNOWNSESSION")
@pytest.mark.parametrize("method", ["session/prompt", "session/close", "session/load", "session/resume"])
async def test_an_unknown_session_is_not_found_and_named(method: str, tmp_path: Path):
    async with playing(tmp_path) as client:
        more = {"prompt": TEXT} if method == "session/prompt" else {"cwd": "/project", "mcpServers": []}
        with pytest.raises(Failed) as error:
            await client.request(method, {"sessionId": "sess_nobody", **more})
    assert (error.value.code, error.value.data) == (NOT_FOUND, {"sessionId": "sess_nobody"})
