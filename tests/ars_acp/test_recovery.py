"""Sessions that a dead process has left in the middle of a turn, opened again."""

from typing import Any

import pytest

from acp_wire import build, methods
from ars_acp.kept import KeptLog
from ars_acp.session import Session
from event_log.stores import open_store
from tests.support.in_memory import House, house

Json = dict[str, Any]
SESSION = {"type": "session", "version": 1, "cwd": "/project", "directories": [], "mode": "ask"}
PROMPT = {"type": "prompt", "content": [{"type": "text", "text": "go"}], "text": "go"}
COMMAND = {"type": "command", "content": [{"type": "text", "text": "/undo"}], "text": "/undo"}
OPENS = [methods.SESSION_LOAD, methods.SESSION_RESUME]


def reply(*tools: str) -> Json:
    calls = [{"id": f"call_{at}", "name": tool, "arguments": "{}"} for at, tool in enumerate(tools)]
    return {"type": "reply", "finish": "tool_calls", "calls": calls}


def begun(at: int, status: str = "in_progress") -> list[Json]:
    call_id = f"call_{at}"
    updates = [build.tool_call(call_id, title="T", status="pending"), build.tool_call_update(call_id, status=status)]
    return [{"type": "update", "update": update} for update in updates]


async def opened(it: House, method: Any, *entries: Json) -> list[Json]:
    """What the client is shown of a session with these entries, up to the notice, which it is."""
    log = await it.store.create("sess_dead")
    log.append([SESSION, *entries])
    log.close()
    before = len(it.client.updates)
    await it.wire.request(method, {"sessionId": "sess_dead", "cwd": "/project", "mcpServers": []})
    await it.update(lambda update: update["sessionUpdate"] == "notice")
    return [params["update"] for params in it.client.updates[before:]]


async def results(it: House) -> dict[str, Json]:
    entries = [entry for _, entry in (await it.store.open("sess_dead")).read()]
    return {entry["id"]: entry for entry in entries if entry["type"] == "result"}


@pytest.mark.parametrize("method", OPENS)
async def test_only_a_call_that_had_begun_and_changes_something_has_an_unknown_outcome(method: Any) -> None:
    async with house("=== turn repeat\nsay: well\n") as it:
        tools = ("run_command", "read_file", "write_file", "run_command")
        left = [*begun(0), *begun(1), *begun(2, "pending")]
        shown = await opened(it, method, PROMPT, reply(*tools), *left)
        codes = [entry["code"] for entry in (await results(it)).values()]
        assert codes == ["UNKNOWN_OUTCOME", "NOT_DONE", "NOT_DONE", "NOT_DONE"]
        ended = [update["toolCallId"] for update in shown if update.get("status") == "failed"]
        assert ended == ["call_0", "call_1", "call_2"], "what was shown to begin is shown to end, and nothing else"
        assert shown[-1]["title"] == "The last turn was interrupted: the agent's process ended"
        assert shown[-1]["description"].endswith(": run_command")
        assert await it.prompt("go on", session="sess_dead") == "end_turn"


@pytest.mark.parametrize("method", OPENS)
@pytest.mark.parametrize(
    "left",
    [
        [PROMPT],
        [PROMPT, {"type": "text", "text": "half"}],
        [PROMPT, {"type": "thought", "text": "hm"}],
        [PROMPT, reply("read_file"), {"type": "result", "id": "call_0", "ok": True, "text": "found", "code": None}],
    ],
    ids=["asked", "half a reply", "half a thought", "between two steps"],
)
async def test_the_model_is_told_that_the_reply_was_interrupted(method: Any, left: list[Json]) -> None:
    async with house("=== turn repeat\nsay: well\n") as it:
        await opened(it, method, *left)
        last = it.agent._sessions.active["sess_dead"].history.messages[-1]
        assert last["role"] == "assistant"
        assert last["content"].endswith("[This reply was interrupted: the agent's process ended]")


async def test_a_reply_that_was_whole_is_not_marked() -> None:
    async with house("=== turn repeat\nsay: well\n") as it:
        text = {"type": "text", "text": "all of it"}
        await opened(it, methods.SESSION_LOAD, PROMPT, text, {"type": "reply", "finish": "stop", "calls": []})
        assert it.agent._sessions.active["sess_dead"].history.messages[-1]["content"] == "all of it"


async def test_a_command_of_the_persons_ends_too_and_no_model_hears_of_it() -> None:
    async with house("=== turn repeat\nsay: well\n") as it:
        shown = await opened(it, methods.SESSION_RESUME, COMMAND, *begun(0))
        assert [update["sessionUpdate"] for update in shown] == ["tool_call_update", "notice"]
        assert it.agent._sessions.active["sess_dead"].history.messages == []


async def test_it_is_told_once() -> None:
    async with house("=== turn repeat\nsay: well\n") as it:
        await opened(it, methods.SESSION_RESUME, PROMPT)
        before = len(it.client.updates)
        await it.wire.request(methods.SESSION_RESUME, {"sessionId": "sess_dead", "cwd": "/project", "mcpServers": []})
        await it.prompt("go on", session="sess_dead")
        assert not [it for it in it.client.updates[before:] if it["update"]["sessionUpdate"] == "notice"]


async def test_what_was_said_during_the_turn_and_had_not_joined_it_is_kept() -> None:
    async with house("=== turn repeat\nsay: well\n") as it:
        first, second = ({"content": [{"type": "text", "text": text}], "text": text} for text in ("one", "two"))
        heard = [{"type": "heard", **first}, {"type": "heard", **second}]
        text = {"type": "text", "text": "half"}
        await opened(it, methods.SESSION_RESUME, PROMPT, *heard, {"type": "steer", **first}, text)
        messages = it.agent._sessions.active["sess_dead"].history.messages
        assert [message["content"] for message in messages if message["role"] == "user"] == ["go", "one", "two"]


@pytest.mark.parametrize("left", [[PROMPT, reply("run_command"), *begun(0)], [{"type": "title", "title": "x"}]])
async def test_who_folds_a_log_gets_its_entries_with_those_that_closed_it(left: list[Json]) -> None:
    store = open_store("memory:")
    log = await store.create("sess_dead")
    log.append([SESSION, *left])
    entries = Session("sess_dead", KeptLog("sess_dead", log), "ask").fold()
    assert entries == list(log.read())
    assert (len(entries) > 1 + len(left)) == (left[0] is PROMPT)
