"""What a prompt may hold besides text, and what joins it, over the executable and a model's endpoint."""

from pathlib import Path

import pytest

from fixtures.model_server import ModelServer
from tests.support.process import agent, script

pytestmark = pytest.mark.e2e

PIXEL = "iVBORw0KGgo="
TRACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "baggage": "user=ann"}


async def test_an_image_and_the_trace_reach_the_endpoint(tmp_path: Path, model: ModelServer):
    # A row of the quirks table whose models see, in the place of one that is not known.
    settings = {"OPENAI_BASE_URL": model.base_url, "OPENAI_MODEL": "mode:ok1", "ARS_QUIRKS": "openai"}
    async with agent(tmp_path, env=settings, handshake=False) as client:
        able = (await client.initialize())["agentCapabilities"]["promptCapabilities"]
        assert able == {"image": True, "audio": False, "embeddedContext": True}
        blocks = [{"type": "text", "text": "see"}, {"type": "image", "data": PIXEL, "mimeType": "image/png"}]
        params = {"sessionId": await client.new_session(), "prompt": blocks, "_meta": {**TRACE, "mode": "full"}}
        assert (await client.request("session/prompt", params))["stopReason"] == "end_turn"

    [asked] = model.chats()
    assert asked.body["messages"][1]["content"] == [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    ]
    assert {key: asked.headers.get(key) for key in TRACE} == TRACE
    assert "mode" not in asked.headers


async def test_a_message_joins_the_turn_and_begins_one_when_none_runs(tmp_path: Path):
    play = "=== turn\npace 0.01\nsay: one two three four five six\n=== turn\nsay: joined $prompt\n=== turn\nsay: own\n"
    async with agent(tmp_path, *script(tmp_path, play)) as client:
        session = await client.new_session()
        turn = client.begin_turn(session, "go")
        await turn.shows("agent_message_chunk")
        steer = {"sessionId": session, "prompt": [{"type": "text", "text": "now"}]}
        assert await client.request("_session/steering", steer) == {"outcome": "injected"}
        ended = await turn.end()
        assert (ended.stop, ended.text.endswith("joined now")) == ("end_turn", True)

        seen = len(client.updates)
        assert await client.request("_session/steering", steer) == {"outcome": "startedNewTurn"}
        await client.until(lambda: "own" in str(client.updates[seen:]))
