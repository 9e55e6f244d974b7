"""Sessions: new, load, resume, list, delete, close, further directories."""

import re
from pathlib import Path

import pytest

from tests.e2e.conformance.support import LONG, NOT_FOUND, TEXT, Json, code, playing
from tests.support.process import Client

pytestmark = pytest.mark.e2e

TALK = """=== turn
think: A file.
say: I look.
call read_file {"path": "a.txt"}
--- step
say: It says a.
=== turn
say: And more.
=== turn repeat
say: Again.
"""


def known(session: str, **more: object) -> Json:
    return {"sessionId": session, "cwd": "/project", "mcpServers": [], **more}


async def talked(client: Client) -> str:
    """A session after two turns."""
    client.hands.files["/project/a.txt"] = "a\n"
    session = await client.new_session()
    await client.prompt(session, "What does it say?")
    await client.prompt(session, "Tell me more.")
    return session


async def of_an_earlier_process(tmp_path: Path) -> str:
    async with playing(tmp_path, TALK) as client:
        return await talked(client)


@pytest.mark.requirement("SESSION-001")
async def test_a_new_session_has_an_id(tmp_path: Path):
    async with playing(tmp_path) as client:
        session = await client.new_session()
    assert re.fullmatch(r"\S+", session)


@pytest.mark.requirement("SESSION-002")
async def test_two_sessions_have_two_ids(tmp_path: Path):
    async with playing(tmp_path) as client:
        ids = [client.begin("session/new", {"cwd": "/project", "mcpServers": []}) for _ in range(20)]
        sessions = {(await client.answer(it))["result"]["sessionId"] for it in ids}
    assert len(sessions) == 20


@pytest.mark.requirement("LOAD-001")
async def test_load_shows_the_whole_conversation_before_it_answers(tmp_path: Path):
    session = await of_an_earlier_process(tmp_path)
    async with playing(tmp_path, TALK) as client:
        request = client.begin("session/load", known(session))
        await client.answer(request)
        before = client.answers[int, request].updates
        shown = [it["update"] for it in client.updates[:before]]
        await client.request("session/list", {})
        later = [it["update"] for it in client.updates[before:]]
    said = [(it["sessionUpdate"], it["content"]["text"]) for it in shown if it["sessionUpdate"].endswith("_chunk")]
    assert said == [
        ("user_message_chunk", "What does it say?"),
        ("agent_thought_chunk", "A file."),
        ("agent_message_chunk", "I look."),
        ("agent_message_chunk", "It says a."),
        ("user_message_chunk", "Tell me more."),
        ("agent_message_chunk", "And more."),
    ]
    assert [it["status"] for it in shown if it["sessionUpdate"] == "tool_call"] == ["completed"]
    assert not [it for it in later if it["sessionUpdate"].endswith("_chunk") or "toolCallId" in it]


@pytest.mark.requirement("LOAD-002")
async def test_a_loaded_session_goes_on(tmp_path: Path):
    session = await of_an_earlier_process(tmp_path)
    async with playing(tmp_path, TALK) as client:
        await client.request("session/load", known(session))
        turn = await client.prompt(session, "And now?")
    assert (turn.stop, turn.text) == ("end_turn", "Again.")


@pytest.mark.requirement("LOAD-003")
async def test_the_answer_to_load_is_an_object(tmp_path: Path):
    session = await of_an_earlier_process(tmp_path)
    async with playing(tmp_path, TALK) as client:
        assert isinstance(await client.request("session/load", known(session)), dict)


@pytest.mark.requirement("RESUME-001")
async def test_a_resumed_session_goes_on(tmp_path: Path):
    session = await of_an_earlier_process(tmp_path)
    async with playing(tmp_path, TALK) as client:
        # Servers may be left out here.
        await client.request("session/resume", {"sessionId": session, "cwd": "/project"})
        turn = await client.prompt(session, "And now?")
    assert (turn.stop, turn.text) == ("end_turn", "Again.")


@pytest.mark.requirement("RESUME-002")
async def test_resume_shows_nothing_of_before(tmp_path: Path):
    session = await of_an_earlier_process(tmp_path)
    async with playing(tmp_path, TALK) as client:
        await client.request("session/resume", known(session))
        await client.request("session/list", {})
        kinds = {it["update"]["sessionUpdate"] for it in client.updates}
    assert not {kind for kind in kinds if kind.endswith("_chunk") or kind.startswith("tool_call")}


@pytest.mark.requirement("LIST-001")
async def test_the_list_names_sessions_of_this_process_and_of_others(tmp_path: Path):
    earlier = await of_an_earlier_process(tmp_path)
    async with playing(tmp_path) as client:
        session = await client.new_session("/elsewhere")
        await client.prompt(session)
        listed = (await client.request("session/list", {}))["sessions"]
    assert [(it["sessionId"], it["cwd"]) for it in listed] == [(session, "/elsewhere"), (earlier, "/project")]


@pytest.mark.requirement("LIST-002")
async def test_the_list_keeps_to_a_directory_and_goes_on_by_cursor(tmp_path: Path):
    async with playing(tmp_path) as client:
        sessions = [await client.new_session(f"/project{at % 2}") for at in range(120)]
        found: list[str] = []
        page: Json = {"nextCursor": None}
        while "nextCursor" in page:
            page = await client.request("session/list", {"cwd": "/project1", "cursor": page["nextCursor"]})
            assert {it["cwd"] for it in page["sessions"]} == {"/project1"}
            found += [it["sessionId"] for it in page["sessions"]]
        assert found == sessions[1::2][::-1]
        assert await client.request("session/list", {"cwd": "/nowhere"}) == {"sessions": []}
        assert await code(client, "session/list", {"cursor": "bm8gY3Vyc29y"}) == -32602


@pytest.mark.requirement("DELETE-001")
async def test_a_deleted_session_is_listed_no_more(tmp_path: Path):
    earlier = await of_an_earlier_process(tmp_path)
    async with playing(tmp_path) as client:
        active = await client.new_session()
        for session in (earlier, active):
            assert await client.request("session/delete", {"sessionId": session}) == {}
            assert await code(client, "session/load", known(session)) == NOT_FOUND
        assert await client.request("session/list", {}) == {"sessions": []}


@pytest.mark.requirement("DELETE-002")
async def test_to_delete_what_is_not_there_succeeds(tmp_path: Path):
    async with playing(tmp_path) as client:
        session = await client.new_session()
        for name in (session, session, "sess_nobody", "../../etc", ""):
            assert await client.request("session/delete", {"sessionId": name}) == {}


@pytest.mark.requirement("CLOSE-001")
async def test_a_closed_session_takes_no_prompt_until_it_is_opened_again(tmp_path: Path):
    async with playing(tmp_path) as client:
        session = await client.new_session()
        assert await client.request("session/close", {"sessionId": session}) == {}
        assert await code(client, "session/prompt", {"sessionId": session, "prompt": TEXT}) == NOT_FOUND
        await client.request("session/resume", known(session))
        assert (await client.prompt(session)).stop == "end_turn"


@pytest.mark.requirement("CLOSE-002")
async def test_the_prompt_of_a_session_that_is_closed_is_cancelled(tmp_path: Path):
    async with playing(tmp_path, LONG) as client:
        session = await client.new_session()
        running = client.begin_turn(session, "long")
        await running.shows("agent_message_chunk")
        assert await client.request("session/close", {"sessionId": session}) == {}
        assert running.over
        assert (await running.end()).stop == "cancelled"


@pytest.mark.requirement("ADDDIRS-001")
async def test_further_directories_are_worked_in_and_listed(tmp_path: Path):
    text = '=== turn repeat\ncall read_file {"path": "/library/b.txt"}\n--- step\nsay: $result\n'
    async with playing(tmp_path, text) as client:
        client.hands.files["/library/b.txt"] = "from the library\n"
        params = {"cwd": "/project", "mcpServers": [], "additionalDirectories": ["/library"]}
        session = (await client.request("session/new", params))["sessionId"]
        assert "from the library" in (await client.prompt(session)).text
        listed = (await client.request("session/list", {}))["sessions"]
        assert listed[0]["additionalDirectories"] == ["/library"]
        # The list is given anew with each opening; left out it is empty.
        await client.request("session/load", known(session))
        refused = await client.prompt(session)
    assert [it["status"] for it in refused.results] == ["failed"]
