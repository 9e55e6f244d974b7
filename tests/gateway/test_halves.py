"""Characters that an agent has cut in two, as those do that count in UTF-16: put together again, or left out, and no
run is lost by them."""

import json
from pathlib import Path
from typing import Any

import pytest

from ars_gateway.protocol.frames import encoded
from ars_gateway.sessions.story import Halves
from tests.gateway.conftest import Start
from tests.gateway.http.asking import asking
from tests.gateway.http.events import all_told, message
from tests.gateway.http.events import text_of as joined
from tests.gateway.talking import last, mock, send
from tests.gateway.test_page import PAGE, opened, over, told
from tests.gateway.test_page import text_of as shown

Json = dict[str, Any]


def script(*updates: Json) -> str:
    lines = [f"tell session/update {json.dumps({'sessionId': 'mock-1', 'update': it})}" for it in updates]
    return "\n".join(["=== turn repeat", *lines])


def said(text: str, kind: str = "agent_message_chunk") -> Json:
    return {"sessionUpdate": kind, "content": {"type": "text", "text": text}}


CUT = script(
    said("hm \ud83e", "agent_thought_chunk"),
    said("A cat \ud83d"),
    said("\udc31 and half a dog \ud83d"),
    {
        "sessionUpdate": "tool_call",
        "toolCallId": "c1",
        "title": "Look at \ud83d",
        "kind": "read",
        "status": "completed",
    },
    said("end."),
)
WHOLE = "A cat \U0001f431 and half a dog \n\nend."


async def test_what_an_agent_has_cut_in_two_is_whole_at_every_door(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, CUT)) as gateway, gateway.client(**PAGE) as one, asking(gateway) as client:
        await opened(one, "s")
        assert joined(await all_told(client, message("s", "m1"))) == WHOLE
        await one.until(lambda: over(one, "agent:main:s#m1"), 15)
        assert shown(told(one)) == WHOLE
        [call] = [it["data"] for it in told(one) if it["kind"] == "update"]
        assert call["title"] == "Look at \ufffd"
        history = await one.request("chat.history", {"sessionKey": "s"})
        assert "A cat \U0001f431 and half" in json.dumps(history["messages"], ensure_ascii=False)
        assert shown((await opened(one, "s"))["entries"]) == WHOLE.replace("\n\n", "")  # two messages
        assert (await one.request("sessions.list", {"includeLastMessage": True}))["count"] == 1
        assert gateway.log.named("run.failed") == gateway.log.named("gateway.method_failed") == []


async def test_the_error_of_a_run_may_have_halves_too(start: Start, tmp_path: Path):
    no = '=== turn repeat\nerror {"code": -32603, "message": "no \\ud83d"}\n'
    async with start(agent=mock(tmp_path, no)) as gateway, gateway.client() as one:
        await send(one, "k1")
        assert "no \ufffd" in (await last(one, "k1", "error"))["errorMessage"]
        assert (await one.request("agent.wait", {"runId": "k1"}))["status"] == "error"
        assert gateway.gateway.talks.ledger.left_open() == []


@pytest.mark.parametrize(
    ("pieces", "wanted"),
    [
        (["a", "b"], ["a", "b"]),
        (["\ud83d", "\udc31"], [None, "\U0001f431"]),
        (["a\ud83d", "b"], ["a", "\ufffdb"]),
        (["\udc31", "a\ud83d\ud83d", "\udc31"], ["\ufffd", "a\ufffd", "\U0001f431"]),
    ],
)
def test_halves_are_joined_piece_by_piece(pieces: list[str], wanted: list[str | None]):
    halves = Halves()
    found = [halves.joined(said(it)) for it in pieces]
    assert [it and it["content"]["text"] for it in found] == wanted


def test_what_is_no_utf8_is_encoded_all_the_same():
    assert json.loads(encoded({"a\ud83d": ["\ud83d\udc31", ("\udc31", 1 << 70, None)]})) == {
        "a\ufffd": ["\U0001f431", ["\ufffd", 1 << 70, None]]
    }
