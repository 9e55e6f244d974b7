"""Sessions that are listed, loaded, resumed, closed and deleted."""

import os
from pathlib import Path
from typing import Any

import anyio
import pytest

from acp_wire import methods
from acp_wire.errors import INVALID_PARAMS, NOT_FOUND, RpcError
from ars_acp.sessions import PAGE
from event_log.stores import open_store
from tests.support.in_memory import Client, House, house

TALK = "=== turn repeat\nthink: hm hm\nsay: you said $prompt\n"


async def close(it: House, session: str | None = None) -> None:
    await it.wire.request(methods.SESSION_CLOSE, {"sessionId": session or it.session})


async def load(it: House, session: str | None = None, cwd: str = "/project") -> list[dict[str, Any]]:
    """Loads the session and returns the updates that were sent before the answer."""
    before = len(it.client.updates)
    params = {"sessionId": session or it.session, "cwd": cwd, "mcpServers": []}
    await it.wire.request(methods.SESSION_LOAD, params)
    return [params["update"] for params in it.client.updates[before:]]


async def listed(it: House, **params: Any) -> Any:
    return await it.wire.request(methods.SESSION_LIST, params)


async def test_load_shows_the_whole_conversation_again_before_it_answers_and_the_next_turn_knows_it() -> None:
    async with house(TALK) as it:
        await it.prompt("one")
        await it.prompt("two")
        await close(it)
        shown = [(u["sessionUpdate"], u["content"]["text"]) for u in await load(it)]
        assert shown == [
            ("user_message_chunk", "one"),
            ("agent_thought_chunk", "hm hm"),
            ("agent_message_chunk", "you said one"),
            ("user_message_chunk", "two"),
            ("agent_thought_chunk", "hm hm"),
            ("agent_message_chunk", "you said two"),
        ]
        assert await it.prompt("three") == "end_turn"
        [session] = it.agent._sessions.active.values()
        assert [m["content"] for m in session.history.messages if m["role"] == "user"] == ["one", "two", "three"]


async def test_a_loaded_tool_call_comes_once_with_its_last_state_and_what_it_showed() -> None:
    client = Client()
    client.files["/project/a.txt"] = "old\n"
    script = '=== turn\ncall write_file {"path": "a.txt", "content": "new\\n"}\n--- step\nsay: done\n'
    async with house(script, client=client, mode="full") as it:
        await it.prompt()
        [live] = it.tool_calls().values()
        await close(it)
        [call] = [update for update in await load(it) if "toolCallId" in update]
        assert call["sessionUpdate"] == "tool_call"
        for key in ("toolCallId", "title", "kind", "status", "locations", "content", "rawInput"):
            assert call[key] == live[key], key


async def test_loaded_updates_carry_their_numbers_without_a_gap() -> None:
    async with house(TALK) as it:
        await it.prompt("one")
        await close(it)
        before = len(it.client.updates)
        await load(it)
        metas = [params["_meta"] for params in it.client.updates[before:]]
        assert [meta["ars/prev"] for meta in metas] == [0, *(meta["ars/seq"] for meta in metas[:-1])]
        assert metas[-1]["ars/first"] < metas[-1]["ars/seq"]
        await it.prompt("two")
        assert it.client.updates[before + len(metas)]["_meta"]["ars/prev"] == metas[-1]["ars/seq"]


async def test_resume_shows_nothing_and_knows_everything() -> None:
    async with house(TALK) as it:
        await it.prompt("one")
        await close(it)
        before = len(it.client.updates)
        await it.wire.request(methods.SESSION_RESUME, {"sessionId": it.session, "cwd": "/project"})
        assert len(it.client.updates) == before
        [session] = it.agent._sessions.active.values()
        assert session.history.messages[0]["content"] == "one"


async def test_a_notice_is_not_shown_again() -> None:
    async with house('=== turn\nretry 0 "busy"\nsay: ok\n') as it:
        await it.prompt()
        assert any(params["update"]["sessionUpdate"] == "notice" for params in it.client.updates)
        await close(it)
        assert [u["sessionUpdate"] for u in await load(it)] == ["user_message_chunk", "agent_message_chunk"]


@pytest.mark.parametrize("row", [methods.SESSION_LOAD, methods.SESSION_RESUME], ids=lambda row: row.name)
@pytest.mark.parametrize("session", ["sess_nobody", "../../etc/passwd", "", "a" * 100])
async def test_a_session_that_is_not_stored_is_not_found_never_a_fresh_one(row: Any, session: str) -> None:
    async with house(TALK) as it:
        with pytest.raises(RpcError) as error:
            await it.wire.request(row, {"sessionId": session, "cwd": "/project", "mcpServers": []})
        assert (error.value.code, error.value.data) == (NOT_FOUND, {"sessionId": session})


@pytest.mark.parametrize(
    "row", [methods.SESSION_LOAD, methods.SESSION_RESUME, methods.SESSION_LIST], ids=lambda row: row.name
)
async def test_a_relative_directory_is_refused(row: Any) -> None:
    async with house(TALK) as it:
        with pytest.raises(RpcError) as error:
            await it.wire.request(row, {"sessionId": it.session, "cwd": "project", "mcpServers": []})
        assert error.value.code == INVALID_PARAMS


async def test_a_session_opened_in_other_directories_reaches_those_and_no_others() -> None:
    client = Client()
    client.files |= {"/elsewhere/a": "A", "/project/a": "B"}
    script = '=== turn repeat\ncall read_file {"path": "/elsewhere/a"}\n--- step\nsay: x\n'
    async with house(script, client=client) as it:
        await it.prompt()
        await close(it)
        await load(it, cwd="/elsewhere")
        await it.prompt()
        codes = [entry["code"] for entry in await it.entries() if entry["type"] == "result"]
        assert codes == ["PATH_OUTSIDE_ROOTS", None]
        assert (await listed(it)).sessions[0].cwd == "/elsewhere"


async def test_close_answers_the_running_prompt_cancelled_before_itself_and_frees_the_session() -> None:
    async with house("=== turn\nsay: begin\nwait 60\n") as it:
        async with anyio.create_task_group() as tasks:
            reasons: list[str] = []

            async def ask() -> None:
                reasons.append(await it.prompt())

            tasks.start_soon(ask)
            await it.update(lambda update: update["sessionUpdate"] == "agent_message_chunk")
            await close(it)
            assert reasons == ["cancelled"]
        with pytest.raises(RpcError) as error:
            await it.prompt()
        assert error.value.code == NOT_FOUND


async def test_closing_what_is_not_active_is_not_found() -> None:
    async with house(TALK) as it:
        await close(it)
        with pytest.raises(RpcError) as error:
            await close(it)
        assert error.value.code == NOT_FOUND


async def test_delete_removes_active_stored_and_unknown_sessions_alike() -> None:
    async with house(TALK) as it:
        first = it.session
        second = await it.new_session()
        await close(it, second)
        for session in (first, second, second, "sess_nobody"):
            await it.wire.request(methods.SESSION_DELETE, {"sessionId": session})
        assert (await listed(it)).sessions == []


async def test_list_shows_the_newest_first_of_a_directory_or_of_all() -> None:
    async with house(TALK) as it:
        other = await it.new_session("/other")
        latest = await it.new_session("/project")
        rows = (await listed(it)).sessions
        assert [(row.session_id, row.cwd) for row in rows[:2]] == [(latest, "/project"), (other, "/other")]
        assert all(row.updated_at for row in rows)
        assert [row.session_id for row in (await listed(it, cwd="/other")).sessions] == [other]
        assert (await listed(it, cwd="/nowhere")).sessions == []


async def test_list_comes_in_pages_that_hold_each_session_once() -> None:
    async with house(TALK) as it:
        made = {it.session} | {await it.new_session() for _ in range(2 * PAGE)}
        found, cursor, pages = [], None, 0
        while True:
            answer = await listed(it, **({"cursor": cursor} if cursor else {}))
            found += [row.session_id for row in answer.sessions]
            pages += 1
            cursor = answer.next_cursor
            if cursor is None:
                break
        assert (pages, len(found), set(found)) == (3, len(made), made)


@pytest.mark.parametrize("cursor", ["", "x", "e30=", "W10=", "bnVsbA==", "\u00e9"])
async def test_a_cursor_that_we_did_not_give_is_refused_with_what_to_do(cursor: str) -> None:
    async with house(TALK) as it:
        with pytest.raises(RpcError) as error:
            await listed(it, cursor=cursor)
        assert error.value.code == INVALID_PARAMS
        assert "start" in error.value.message


async def test_a_turn_that_a_dead_process_left_open_is_closed_so_that_a_model_accepts_it() -> None:
    async with house(TALK) as it:
        log = await it.store.create("sess_dead")
        begun = {"status": "in_progress"}
        entries: list[dict[str, Any]] = [
            {"type": "session", "version": 1, "cwd": "/project", "directories": [], "mode": "ask"},
            {"type": "prompt", "content": [{"type": "text", "text": "go"}], "text": "go"},
            {"type": "text", "text": "I look"},
            {
                "type": "reply",
                "finish": "tool_calls",
                "calls": [{"id": "call_1", "name": "run_command", "arguments": "{}"}],
            },
            {"type": "update", "update": {"sessionUpdate": "tool_call", "toolCallId": "call_1", "title": "make"}},
            {"type": "update", "update": {"sessionUpdate": "tool_call_update", "toolCallId": "call_1", **begun}},
        ]
        log.append(entries)
        log.close()
        await load(it, "sess_dead")
        session = it.agent._sessions.active["sess_dead"]
        assert session.history.messages[-1]["role"] == "tool"
        assert "outcome is unknown" in session.history.messages[-1]["content"]
        assert await it.prompt("and now?", session="sess_dead") == "end_turn"


async def test_a_session_that_another_process_has_open_is_not_loaded_and_the_client_is_told_who_has_it(
    tmp_path: Path,
) -> None:
    elsewhere, here = (open_store(f"jsonl:{tmp_path}") for _ in range(2))
    async with house(TALK, store=elsewhere) as other, house(TALK, store=here) as it:
        await other.prompt("one")
        with pytest.raises(RpcError, match=f"open in another process \\(pid {os.getpid()} on ") as error:
            await load(it, other.session)
        assert error.value.data["code"] == "SESSION_HELD"
        assert error.value.data["retryable"]
        assert error.value.data["details"]["pid"] == os.getpid()
        with pytest.raises(RpcError, match="another process"):
            await it.wire.request(methods.SESSION_DELETE, {"sessionId": other.session})
        # It is listed all the same, and once it is closed there it can be loaded here.
        assert other.session in [session.session_id for session in (await listed(it)).sessions]
        await close(other)
        assert [u["content"]["text"] for u in await load(it, other.session)] == ["one", "hm hm", "you said one"]


async def test_a_half_shown_reply_of_a_dead_process_is_kept_and_marked() -> None:
    async with house(TALK) as it:
        log = await it.store.create("sess_dead")
        log.append(
            [
                {"type": "session", "version": 1, "cwd": "/project", "directories": [], "mode": "ask"},
                {"type": "prompt", "content": [{"type": "text", "text": "go"}], "text": "go"},
                {"type": "text", "text": "half of"},
            ]
        )
        log.close()
        shown = await load(it, "sess_dead")
        half = [update["content"]["text"] for update in shown if update["sessionUpdate"] == "agent_message_chunk"]
        assert half == ["half of"]
        assert "interrupted" in it.agent._sessions.active["sess_dead"].history.messages[-1]["content"]
