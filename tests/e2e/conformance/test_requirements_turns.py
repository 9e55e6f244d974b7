"""Prompts: stop reasons, cancel, content, what a client does not offer, signing in."""

import base64
from pathlib import Path

import pytest

from tests.e2e.conformance.support import (
    AUTH_REQUIRED,
    HELLO,
    INVALID_PARAMS,
    LONG,
    RUN,
    STOP_REASONS,
    TEXT,
    WRITE,
    Json,
    code,
    playing,
    without,
)
from tests.support.hands import EVERYTHING, Hands
from tests.support.process import Client, agent

pytestmark = pytest.mark.e2e

READ = '=== turn repeat\ncall read_file {"path": "a.txt"}\n--- step\nsay: Done.\n'
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WAVE = base64.b64encode(b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0@\x1f\0\0@\x1f\0\0\1\0\x08\0data\0\0\0\0").decode()


@pytest.mark.requirement("PROMPT-001")
@pytest.mark.parametrize(
    ("text", "stop"),
    [
        (HELLO, "end_turn"),
        ("=== turn\nsay: cut\nfinish length\n", "max_tokens"),
        ("=== turn\nsay: no\nfinish refusal\n", "refusal"),
        ("=== turn\n" + '--- step\ncall update_plan {"entries": []}\n' * 3, "max_turn_requests"),
    ],
)
async def test_a_prompt_has_a_stop_reason(text: str, stop: str, tmp_path: Path):
    async with playing(tmp_path, text, env={"ARS_STEPS_PER_TURN": "2"}) as client:
        turn = await client.prompt(await client.new_session())
    assert turn.answer["result"] == {"stopReason": stop}
    assert stop in STOP_REASONS


@pytest.mark.requirement("PROMPT-002")
async def test_updates_carry_the_id_of_their_session(tmp_path: Path):
    async with playing(tmp_path, "=== turn repeat\nsay: $prompt\n") as client:
        sessions = [await client.new_session() for _ in range(5)]
        running = [client.begin_turn(it, f"I am {it} alone") for it in sessions]
        turns = [await it.end() for it in running]
        assert {it["sessionId"] for it in client.updates} == set(sessions)
    assert [it.text for it in turns] == [f"I am {it} alone" for it in sessions]


async def prompted(client: Client, *blocks: Json) -> Json:
    """The answer to a prompt of these blocks."""
    params = {"sessionId": await client.new_session(), "prompt": [*TEXT, *blocks]}
    return await client.answer(client.begin("session/prompt", params))


@pytest.mark.requirement("PROMPT-003")
async def test_a_resource_link_is_taken(tmp_path: Path):
    async with playing(tmp_path, "=== turn\nsay: $prompt\n") as client:
        answer = await prompted(client, {"type": "resource_link", "uri": "file:///project/a.txt", "name": "a.txt"})
        chunks = [it["update"] for it in client.updates if "messageId" in it["update"]]
        text = "".join(chunk["content"]["text"] for chunk in chunks)
    assert answer["result"] == {"stopReason": "end_turn"}
    assert "file:///project/a.txt" in text


@pytest.mark.requirement("CANCEL-001")
async def test_a_cancelled_prompt_has_a_result(tmp_path: Path):
    async with playing(tmp_path, LONG) as client:
        session = await client.new_session()
        running = client.begin_turn(session, "long")
        await running.shows("agent_message_chunk")
        client.cancel(session)
        turn = await running.end()
    assert turn.answer["result"] == {"stopReason": "cancelled"}


@pytest.mark.requirement("CANCEL-002")
async def test_nothing_of_a_cancelled_turn_is_shown_after_its_answer(tmp_path: Path):
    text = "=== turn repeat\n" + "pace 0.001\nsay: word after word after word after word\n" * 100
    async with playing(tmp_path, text) as client:
        session = await client.new_session()
        running = client.begin_turn(session, "long")
        await running.shows("agent_message_chunk")
        client.cancel(session)
        await running.end()
        before = client.answers[int, running.request_id].updates
        await client.request("session/list", {})
        assert client.updates[before:] == []


async def taken(tmp_path: Path, capability: str, block: Json) -> tuple[bool, Json]:
    """Whether the agent says that it takes such a block, and what it answers to one."""
    async with playing(tmp_path, handshake=False) as client:
        offered = (await client.initialize())["agentCapabilities"]["promptCapabilities"][capability]
        return offered, await prompted(client, block)


@pytest.mark.requirement("PROMPTCAP-001")
async def test_an_image_is_taken_where_it_is_offered(tmp_path: Path):
    offered, answer = await taken(tmp_path, "image", {"type": "image", "data": PIXEL, "mimeType": "image/png"})
    assert ("result" in answer) == offered
    assert answer.get("error", {}).get("code") == (None if offered else INVALID_PARAMS)


@pytest.mark.requirement("PROMPTCAP-002")
async def test_audio_is_taken_where_it_is_offered(tmp_path: Path):
    offered, answer = await taken(tmp_path, "audio", {"type": "audio", "data": WAVE, "mimeType": "audio/wav"})
    assert ("result" in answer) == offered
    assert answer.get("error", {}).get("code") == (None if offered else INVALID_PARAMS)


@pytest.mark.requirement("PROMPTCAP-003")
async def test_an_embedded_resource_is_taken(tmp_path: Path):
    resource = {"uri": "file:///project/a.txt", "mimeType": "text/plain", "text": "a"}
    offered, answer = await taken(tmp_path, "embeddedContext", {"type": "resource", "resource": resource})
    assert offered
    assert answer["result"] == {"stopReason": "end_turn"}


async def asked_of(tmp_path: Path, text: str, hands: Hands) -> tuple[set[str], list[str]]:
    """What a client with these hands is asked for in a turn, and how the tool calls of it end."""
    async with playing(tmp_path, text, hands=hands) as client:
        turn = await client.prompt(await client.new_session())
    assert turn.stop == "end_turn"
    return {method for method, _ in hands.asked}, [it["status"] for it in turn.results]


@pytest.mark.requirement("CLIENTCAP-001")
async def test_no_file_is_read_where_that_is_not_offered(tmp_path: Path):
    assert await asked_of(tmp_path, READ, without("readTextFile")) == (set(), ["failed"])


@pytest.mark.requirement("CLIENTCAP-002")
async def test_no_file_is_written_where_that_is_not_offered(tmp_path: Path):
    asked, ended = await asked_of(tmp_path, WRITE, without("writeTextFile"))
    assert (asked - {"fs/read_text_file"}, ended) == (set(), ["failed"])


@pytest.mark.requirement("CLIENTCAP-003")
async def test_no_terminal_is_made_where_that_is_not_offered(tmp_path: Path):
    asked, ended = await asked_of(tmp_path, RUN, without("terminal"))
    assert (asked - {"fs/read_text_file"}, ended) == (set(), ["failed"])


@pytest.mark.requirement("AUTH-001")
async def test_ways_to_sign_in_have_ids_and_names(tmp_path: Path):
    async with agent(tmp_path, handshake=False) as client:
        ways = (await client.initialize())["authMethods"]
    assert ways
    assert all(it["id"] and it["name"] for it in ways)
    assert len({it["id"] for it in ways}) == len(ways)


@pytest.mark.requirement("AUTH-002")
@pytest.mark.parametrize("terminal", [True, False, None])
async def test_a_terminal_way_is_offered_to_a_client_with_a_terminal_for_it(terminal: bool | None, tmp_path: Path):
    auth = {} if terminal is None else {"auth": {"terminal": terminal}}
    async with agent(tmp_path, hands=Hands({**EVERYTHING, **auth}), handshake=False) as client:
        ways = (await client.initialize())["authMethods"]
    assert ("terminal" in {it.get("type") for it in ways}) == bool(terminal)


@pytest.mark.requirement("AUTH-003")
async def test_authenticate_with_an_offered_way_succeeds_where_there_is_a_key(tmp_path: Path):
    async with agent(tmp_path, env={"OPENAI_API_KEY": "sk-conformance-not-a-key"}, handshake=False) as client:
        ways = (await client.initialize())["authMethods"]
        assert await client.request("authenticate", {"methodId": ways[0]["id"]}) == {}
        assert await client.new_session()
        assert await client.request("logout", {}) == {}


@pytest.mark.requirement("AUTH-004")
@pytest.mark.parametrize("way", ["no-such", "", "login"])
async def test_authenticate_with_another_way_is_refused(way: str, tmp_path: Path):
    async with playing(tmp_path) as client:
        assert await code(client, "authenticate", {"methodId": way}) == INVALID_PARAMS


@pytest.mark.requirement("AUTH-005")
async def test_who_is_asked_to_sign_in_was_told_a_way(tmp_path: Path):
    async with agent(tmp_path, handshake=False) as client:
        ways = (await client.initialize())["authMethods"]
        assert await code(client, "session/new", {"cwd": "/project", "mcpServers": []}) == AUTH_REQUIRED
    assert ways
