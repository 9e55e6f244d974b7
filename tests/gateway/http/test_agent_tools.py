"""Tools that an HTTP client carries out itself, with our own agent behind the gateway."""

from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from tests.gateway.conftest import Start
from tests.gateway.http.asking import asking, error_of
from tests.gateway.http.events import Event, all_told, message, text_of, told, until
from tests.gateway.talking import GUEST, admit_guest, mock
from tests.gateway.test_ars import ars

OK = "=== turn repeat\nsay: import os\n"
READING = """\
=== turn repeat
call read_file {"path": "a.txt"}
--- step
say: It has $result
"""


async def called(client: httpx2.AsyncClient, found: Any, **said: Any) -> httpx2.Response:
    """Answers the next tool call."""
    call = await until(found, "tool_call")
    return await client.post("/agent/tool_result", json={"session_id": "s", "call_id": call.data["call_id"], **said})


async def test_a_tool_of_the_client_is_told_to_it_and_its_result_is_the_models(start: Start, tmp_path: Path):
    body = message("s", "m1", tools=["read_file"])
    async with start(agent=ars(tmp_path, READING)) as gateway, asking(gateway) as client:
        seen: list[Event] = []
        async with told(client, "POST", "/agent/message/stream", json=body) as found:
            async for it in found:
                seen.append(it)
                if it.name == "tool_call":
                    assert it.text.partition("\nid: ")[0].startswith(
                        'event: tool_call\ndata: {"type": "tool_call", "session_id": "s", "call_id": "'
                    )
                    assert it.data.keys() == {"type", "session_id", "call_id", "tool", "arguments"}
                    assert (it.data["tool"], it.data["arguments"]) == ("read_file", {"path": "a.txt"})
                    said = {"session_id": "s", "call_id": it.data["call_id"], "result": {"content": "file text"}}
                    other = said | {"result": {"content": "another"}}
                    for answer, status in ((said, 200), (said, 200), (other, 409)):
                        received = await client.post("/agent/tool_result", json=answer)
                        assert received.status_code == status, received.text
        assert "It has" in text_of(seen)
        assert "file text" in text_of(seen)
        assert [it.data["ok"] for it in seen if it.name == "tool_result"] == [True]
        again = await all_told(client, body)
        assert again == [it for it in seen if it.name != "tool_call"]


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ({"result": {"content": "plain"}}, "plain"),
        ({"result": {"lines": ["a"], "n": 1}}, '{"lines":["a"],"n":1}'),
        ({"result": {"content": "large " + "x" * 2_000_000}}, "large xxx"),
        ({"error": {"message": "no such file", "code": "NOT_FOUND"}}, "no such file"),
    ],
)
async def test_what_the_model_reads_of_a_result(start: Start, tmp_path: Path, said: Any, read: str):
    body = message("s", "m1", tools=["read_file"])
    async with (
        start(agent=ars(tmp_path, READING)) as gateway,
        asking(gateway) as client,
        told(client, "POST", "/agent/message/stream", json=body) as found,
    ):
        assert (await called(client, found, **said)).status_code == 200
        assert read in text_of([it async for it in found])


async def test_results_that_nobody_waits_for_are_unknown(start: Start, tmp_path: Path):
    body = message("s", "m1", tools=["read_file"])
    async with start(agent=ars(tmp_path, READING)) as gateway, asking(gateway) as client:
        admit_guest(gateway)
        result = {"session_id": "s", "call_id": "c1", "result": {"content": ""}}
        no_session = await client.post("/agent/tool_result", json=result)
        assert (no_session.status_code, error_of(no_session)["message"]) == (404, "unknown session: s")
        async with told(client, "POST", "/agent/message/stream", json=body) as found:
            call = await until(found, "tool_call")
            no_call = await client.post("/agent/tool_result", json=result | {"call_id": "nope"})
            assert (no_call.status_code, error_of(no_call)["message"]) == (404, "unknown call: nope")
            result["call_id"] = call.data["call_id"]
            async with asking(gateway, headers={"authorization": f"Bearer {GUEST}"}) as guest:
                theirs = await guest.post("/agent/tool_result", json=result)
                assert error_of(theirs) == error_of(no_session)
            await client.post("/agent/abort", json={"session_id": "s"})
            assert (await until(found, "complete")).data["stop_reason"] == "cancelled"
        room = gateway.gateway.talks.rooms.find("owner", "agent:main:s")
        assert room is not None
        feed = gateway.gateway.talks.feeds.of(room.session_id)
        with anyio.fail_after(20):
            while not any(it.kind == "called" and it.data["ok"] is None for it in feed.since(0) or ()):
                await feed.more(feed.last)
        late = await client.post("/agent/tool_result", json=result)
        assert late.status_code == 404


async def test_tools_are_of_the_message_that_names_them(start: Start, tmp_path: Path):
    async with start(agent=ars(tmp_path, READING)) as gateway, asking(gateway, timeout=20) as client:
        (tmp_path / "state/workspace").mkdir(parents=True, exist_ok=True)
        (tmp_path / "state/workspace/a.txt").write_text("of the gateway")
        assert "of the gateway" in text_of(await all_told(client, message("s", "m1")))
        async with told(client, "POST", "/agent/message/stream", json=message("s", "m2", tools=["read_file"])) as found:
            await called(client, found, result={"content": "of the client"})
            assert "of the client" in text_of([it async for it in found])
        assert "of the gateway" in text_of(await all_told(client, message("s", "m3")))


async def test_an_agent_that_leaves_no_tools_to_clients_says_so(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, OK)) as gateway, asking(gateway) as client:
        found = await all_told(client, message("s", "m1", tools=["read_file"]))
        assert [it.name for it in found] == ["error"]
        assert found[0].data["error"]["code"] == "INVALID_MESSAGE"
        assert "read_file" in found[0].data["error"]["message"]


async def test_a_tool_that_nobody_answers_is_asked_again_once_and_then_has_failed(start: Start, tmp_path: Path):
    body, agent = message("s", "m1", tools=["read_file"]), f"env ARS_CLIENT_SECONDS=0.5 {ars(tmp_path, READING)}"
    async with start(agent=agent) as gateway, asking(gateway) as client:
        seen = await all_told(client, body)
        calls = [it.data["call_id"] for it in seen if it.name == "tool_call"]
        assert calls == [calls[0]] * 2
        assert [it.data["ok"] for it in seen if it.name == "tool_result"] == [None, None]
        failed = [it.data["update"] for it in seen if it.name == "tool" and it.data["update"].get("status") == "failed"]
        assert len(failed) == 1
        assert "It has" in text_of(seen)
        late = await client.post(
            "/agent/tool_result", json={"session_id": "s", "call_id": calls[0], "result": {"content": ""}}
        )
        assert (late.status_code, error_of(late)["code"]) == (404, "NOT_FOUND")
        # What is late for the first asking is in time for the second.
        async with told(client, "POST", "/agent/message/stream", json=body | message("s", "m2")) as found:
            await until(found, "tool_call")
            assert (await called(client, found, result={"content": "in time"})).status_code == 200
            assert "in time" in text_of([it async for it in found])
