"""What agents get wrong most: order, cancel, approval, capabilities, ids, ends."""

import json
import os
from pathlib import Path

import anyio
import pytest

from tests.e2e.conformance.support import (
    AUTH_REQUIRED,
    HELLO,
    INVALID_PARAMS,
    LONG,
    REQUEST_CANCELLED,
    RUN,
    WRITE,
    Json,
    code,
    messages,
    playing,
)
from tests.support.hands import NEVER, Hands, Refusal, Wrong
from tests.support.process import agent

pytestmark = pytest.mark.e2e


@pytest.mark.requirement("rule 1")
async def test_rule_01_updates_stand_before_the_answer(tmp_path: Path):
    async with playing(tmp_path, "=== turn repeat\n" + "say: one two three four\n" * 200) as client:
        session = await client.new_session()
        turn = await client.prompt(session)
        await client.request("session/list", {})
        written = messages(client)
    answered = written.index(turn.answer)
    pieces = [at for at, it in enumerate(written) if "agent_message_chunk" in json.dumps(it)]
    assert len(pieces) == 800
    assert max(pieces) < answered


@pytest.mark.requirement("rule 2")
async def test_rule_02_no_update_stands_before_the_answer_that_names_its_session(tmp_path: Path):
    async with playing(tmp_path) as client:
        for _ in range(20):
            await client.new_session()
        await client.prompt(await client.new_session())
        named: set[str] = set()
        for it in messages(client):
            named |= {it["result"]["sessionId"]} if "sessionId" in it.get("result", {}) else set()
            assert it.get("method") != "session/update" or it["params"]["sessionId"] in named
        assert len(named) == 21


@pytest.mark.requirement("rule 3")
@pytest.mark.parametrize("error", [{"code": -32603, "message": "gone"}, {"code": REQUEST_CANCELLED, "message": "x"}])
async def test_rule_03_a_cancelled_prompt_has_a_result_whatever_breaks(error: Json, tmp_path: Path):
    asked = anyio.Event()

    async def broken(params: Json) -> Json:
        asked.set()
        await told.wait()
        raise Refusal(error["code"], error["message"])

    told = anyio.Event()
    async with playing(tmp_path, RUN, hands=Hands(terminal_wait_for_exit=broken)) as client:
        session = await client.new_session()
        running = client.begin_turn(session, "go")
        await asked.wait()
        client.cancel(session)
        told.set()
        turn = await running.end()
    assert turn.answer["result"] == {"stopReason": "cancelled"}


@pytest.mark.requirement("rule 4")
async def test_rule_04_a_cancel_for_nobody_harms_nobody(tmp_path: Path):
    async with playing(tmp_path, LONG) as client:
        idle, busy = await client.new_session(), await client.new_session()
        running = client.begin_turn(busy, "long")
        await running.shows("agent_message_chunk")
        client.cancel(idle)
        client.cancel("sess_nobody")
        assert (await client.prompt(idle)).text == "Next."
        assert not running.over
        client.cancel(busy)
        assert (await running.end()).stop == "cancelled"
        client.cancel(busy)
        assert (await client.prompt(busy)).text == "Next."


@pytest.mark.requirement("rule 5")
async def test_rule_05_a_cancel_is_read_while_a_tool_runs(tmp_path: Path):
    async with playing(tmp_path, RUN, hands=Hands(terminal_wait_for_exit=lambda params: NEVER)) as client:
        session = await client.new_session()
        running = client.begin_turn(session, "go")
        await client.until(lambda: client.hands.times("terminal/wait_for_exit"))
        # Others are answered meanwhile, too.
        assert await client.request("session/list", {})
        client.cancel(session)
        assert (await running.end(2)).stop == "cancelled"


@pytest.mark.requirement("rule 6")
@pytest.mark.parametrize(
    "outcome",
    [
        {"outcome": "cancelled"},
        {"outcome": "selected", "optionId": "never-offered"},
        {"outcome": "selected", "optionId": "reject_once"},
        {"outcome": "selected", "optionId": ""},
    ],
)
async def test_rule_06_only_an_option_that_allows_is_an_approval(outcome: Json, tmp_path: Path):
    hands = Hands(session_request_permission=lambda params: {"outcome": outcome})
    async with playing(tmp_path, WRITE, hands=hands) as client:
        turn = await client.prompt(await client.new_session())
    assert hands.times("session/request_permission") == 1
    assert hands.files == {}
    assert [it["status"] for it in turn.results] == ["failed"]


@pytest.mark.requirement("rule 7")
@pytest.mark.parametrize("late", [{"outcome": {"outcome": "cancelled"}}, Refusal(REQUEST_CANCELLED, "Cancelled")])
async def test_rule_07_open_requests_are_taken_back(late: object, tmp_path: Path):
    asked, told = anyio.Event(), anyio.Event()

    async def person(params: Json) -> object:
        asked.set()
        await told.wait()
        if isinstance(late, Refusal):
            raise late
        return late

    async with playing(tmp_path, WRITE, hands=Hands(session_request_permission=person)) as client:
        session = await client.new_session()
        running = client.begin_turn(session, "go")
        await asked.wait()
        question = next(it for it in messages(client) if it.get("method") == "session/request_permission")
        client.cancel(session)
        assert (await running.end()).stop == "cancelled"
        assert ("$/cancel_request", {"requestId": question["id"]}) in client.hands.notified
        told.set()
        client.hands.replace(session_request_permission=lambda params: Hands.choose(params, "allow_once"))
        assert (await client.prompt(session)).stop == "end_turn"


@pytest.mark.requirement("rule 8")
async def test_rule_08_a_client_that_offers_nothing_is_asked_for_nothing(tmp_path: Path):
    text = """=== turn
retry 0.01 "busy"
call read_file {"path": "a.txt"}
call write_file {"path": "a.txt", "content": "x"}
call run_command {"argv": ["make"]}
call prompt_user {"question": "Who?", "choices": ["Ada"]}
--- step
say: Done.
"""
    hands = Hands({})
    async with playing(tmp_path, text, hands=hands) as client:
        opened = await client.request("session/new", {"cwd": "/project", "mcpServers": []})
        turn = await client.prompt(opened["sessionId"])
        kinds = {it["update"]["sessionUpdate"] for it in client.updates}
    assert turn.stop == "end_turn"
    assert {method for method, _ in hands.asked} <= {"session/request_permission"}
    assert not kinds & {"notice", "compaction_update", "compaction_summary_chunk"}
    assert "boolean" not in {it["type"] for it in opened.get("configOptions", [])}


@pytest.mark.requirement("rule 9")
async def test_rule_09_open_calls_of_a_cancelled_turn_end_as_failed(tmp_path: Path):
    text = '=== turn\ncall read_file {"path": "a"}\ncall read_file {"path": "b"}\ncall run_command {"argv": ["x"]}\n'
    hands = Hands(fs_read_text_file=lambda params: {"content": ""} if "AGENTS" in params["path"] else NEVER)
    async with playing(tmp_path, text, hands=hands) as client:
        session = await client.new_session()
        running = client.begin_turn(session, "go")
        await client.until(lambda: hands.times("fs/read_text_file") == 2)
        client.cancel(session)
        turn = await running.end()
    begun = {it["toolCallId"] for it in turn.updates if it["sessionUpdate"] == "tool_call"}
    assert len(begun) >= 2
    assert {it["toolCallId"]: it["status"] for it in turn.results} == dict.fromkeys(begun, "failed")


@pytest.mark.requirement("rule 11")
async def test_rule_11_empty_results_are_objects_and_null_is_taken_for_one(tmp_path: Path):
    names = ("fs_write_text_file", "terminal_kill", "terminal_release")
    nothing = dict.fromkeys(names, lambda params: Wrong({"result": None}))
    text = WRITE.replace("--- step", '--- step\ncall run_command {"argv": ["make"]}\n--- step')
    async with playing(tmp_path, text, hands=Hands(**nothing)) as client:
        session = await client.new_session()
        turn = await client.prompt(session)
        assert await client.request("session/close", {"sessionId": session}) == {}
        assert await client.request("session/delete", {"sessionId": session}) == {}
    assert [it["status"] for it in turn.results] == ["completed"] * 2


@pytest.mark.requirement("rule 12")
async def test_rule_12_ids_are_unique_in_the_session_also_when_it_goes_on_elsewhere(tmp_path: Path):
    text = '=== turn repeat\ncall update_plan {"entries": []}\ncall update_plan {"entries": []}\n--- step\nsay: Done.\n'
    async with playing(tmp_path, text) as client:
        session = await client.new_session()
        turns = [await client.prompt(session) for _ in range(3)]
    async with playing(tmp_path, text) as client:
        await client.request("session/resume", {"sessionId": session, "cwd": "/project"})
        turns += [await client.prompt(session) for _ in range(3)]
    updates = [it for turn in turns for it in turn.updates]
    calls = [it["toolCallId"] for it in updates if it["sessionUpdate"] == "tool_call"]
    assert len(calls) == len(set(calls)) == 12
    replies = [{it["messageId"] for it in turn.updates if "messageId" in it} for turn in turns]
    assert [len(it) for it in replies] == [1] * 6
    assert len(set.union(*replies)) == 6


@pytest.mark.requirement("rule 13")
@pytest.mark.parametrize("uri", ["file:///project/a%20b.txt", "https://example.org/x", "zed:///agent/thread/1"])
async def test_rule_13_links_of_any_kind_are_taken(uri: str, tmp_path: Path):
    link = {"type": "resource_link", "uri": uri, "name": "x", "mimeType": None, "size": 0, "annotations": None}
    async with playing(tmp_path, hands=Hands({})) as client:
        params = {"sessionId": await client.new_session(), "prompt": [link]}
        assert await client.request("session/prompt", params) == {"stopReason": "end_turn"}


@pytest.mark.requirement("rule 14")
async def test_rule_14_the_end_of_stdin_ends_a_turn_its_terminal_and_the_process(tmp_path: Path):
    hands = Hands(terminal_wait_for_exit=lambda params: NEVER)
    async with playing(tmp_path, RUN, hands=hands) as client:
        client.begin_turn(await client.new_session(), "go")
        await client.until(lambda: hands.times("terminal/wait_for_exit"))
        await client.finish()
        assert not Path(f"/proc/{client.pid}").exists()
        with pytest.raises(ProcessLookupError):
            os.killpg(client.pid, 0)
    assert {"terminal/kill", "terminal/release"} <= {method for method, _ in hands.asked}


@pytest.mark.requirement("rule 15")
async def test_rule_15_nobody_is_sent_to_sign_in_without_a_way(tmp_path: Path):
    async with agent(tmp_path, hands=Hands({}), handshake=False) as client:
        ways = (await client.initialize())["authMethods"]
        new = {"cwd": "/project", "mcpServers": []}
        assert await code(client, "session/new", new) == AUTH_REQUIRED
        assert await code(client, "authenticate", {"methodId": ways[0]["id"]}) == AUTH_REQUIRED
    async with playing(tmp_path, HELLO) as client:
        await client.request("logout", {})
        assert await client.new_session()


@pytest.mark.requirement("rule 16")
async def test_rule_16_relative_paths_are_refused(tmp_path: Path):
    async with playing(tmp_path) as client:
        session = await client.new_session()
        for path in ("", ".", "project", "./project", "~/project", "file:///project", "C:\\project"):
            new = {"cwd": path, "mcpServers": []}
            assert await code(client, "session/new", new) == INVALID_PARAMS
            assert await code(client, "session/load", {"sessionId": session, **new}) == INVALID_PARAMS
            assert await code(client, "session/resume", {"sessionId": session, "cwd": path}) == INVALID_PARAMS
            assert await code(client, "session/list", {"cwd": path}) == INVALID_PARAMS
            further = {"cwd": "/project", "mcpServers": [], "additionalDirectories": ["/library", path]}
            assert await code(client, "session/new", further) == INVALID_PARAMS


SILENT = """=== turn
call read_file {"path": "a.txt"}
--- step
call write_file {"path": "a.txt", "content": "x"}
--- step
call run_command {"argv": ["make"]}
--- step
call prompt_user {"question": "Who?", "choices": ["Ada"]}
--- step
say: Done.
"""


@pytest.mark.requirement("rule 16b")
@pytest.mark.parametrize(
    "silent", ["fs/read_text_file", "session/request_permission", "terminal/create", "terminal/wait_for_exit",
               "terminal/output", "elicitation/create"],
)  # fmt: skip
async def test_rule_16b_a_client_that_does_not_answer_ends_no_turn(silent: str, tmp_path: Path):
    hands = Hands(**{silent.replace("/", "_"): lambda params: NEVER})
    env = {f"ARS_{name}_SECONDS": "0.2" for name in ("CLIENT", "PERMISSION", "QUESTION", "COMMAND")}
    async with playing(tmp_path, SILENT, hands=hands, env=env) as client:
        turn = await client.prompt(await client.new_session())
    assert (turn.stop, turn.text) == ("end_turn", "Done.")
    assert hands.times(silent) >= 1
