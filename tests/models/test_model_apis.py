"""The scripted model behind other interfaces: the conversation that it reads, the reply as each streams it."""

import json
from typing import Any

import httpx2
import pytest

from ars_acp.models.script import Script
from fixtures.model_apis import api_of
from fixtures.model_server import model_server

SCRIPT = '=== turn repeat\nthink: Hm.\nsay: I look, Ödön.\ncall read {"path": "a"}\n--- step\nsay: It says $result'
CALL = {"path": "a"}
ANTHROPIC = {
    "model": "m",
    "messages": [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "read", "input": CALL}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "seven"}]},
    ],
}
GEMINI = {
    "contents": [
        {"role": "user", "parts": [{"text": "hello"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "read", "args": CALL}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "read", "response": {"output": "seven"}}}]},
    ],
}
RESPONSES = {
    "model": "m",
    "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]},
        {"type": "function_call", "call_id": "t", "name": "read", "arguments": json.dumps(CALL)},
        {"type": "function_call_output", "call_id": "t", "output": "seven"},
    ],
}
STREAMING = {"stream": True}
GENERATE = "/v1beta/models/m:generateContent"
STREAM = "/v1beta/models/m:streamGenerateContent?alt=sse"


async def asked(path: str, body: dict[str, Any], first: str) -> tuple[str, str]:
    """The answers to a conversation's first message alone, and to all of it."""
    async with model_server(Script.parse(SCRIPT)) as server, httpx2.AsyncClient(trust_env=False) as client:
        url = f"http://127.0.0.1:{server.port}{path}"
        answers = [await client.post(url, json={**body, first: body[first][:1]}), await client.post(url, json=body)]
    return answers[0].text, answers[1].text


def events(stream: str) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in stream.splitlines() if line.startswith("data: ")]


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/messages?beta=true", ANTHROPIC), (STREAM, GEMINI), ("/v1/responses", RESPONSES)],
    ids=["anthropic", "gemini", "responses"],
)
def test_every_interface_is_read_as_the_same_conversation(path: str, body: dict[str, Any]) -> None:
    api = api_of(path, body)
    assert api is not None
    said = api.messages()
    assert [message["role"] for message in said] == ["user", "assistant", "tool"]
    assert said[0]["content"] == "hello"
    assert "seven" in said[2]["content"]


async def test_anthropics_blocks_are_opened_filled_and_closed() -> None:
    first, second = map(events, await asked("/v1/messages", {**ANTHROPIC, **STREAMING}, "messages"))

    deltas = [event["delta"] for event in first if event["type"] == "content_block_delta"]
    assert "".join(delta.get("text", "") for delta in deltas) == "I look, Ödön."
    assert "".join(delta.get("thinking", "") for delta in deltas) == "Hm."
    assert json.loads("".join(delta.get("partial_json", "") for delta in deltas)) == CALL
    kinds = [event["type"] for event in first]
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 3
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert first[-2]["delta"]["stop_reason"] == "tool_use"
    assert "".join(event["delta"].get("text", "") for event in second if "index" in event and "delta" in event) == (
        "It says seven"
    )


async def test_geminis_events_hold_the_parts_that_are_new() -> None:
    first, second = map(events, await asked(STREAM, GEMINI, "contents"))

    parts = [part for event in first for part in event["candidates"][0]["content"]["parts"]]
    assert "".join(part.get("text", "") for part in parts if not part.get("thought")) == "I look, Ödön."
    assert [part["functionCall"]["args"] for part in parts if "functionCall" in part] == [CALL]
    assert first[-1]["candidates"][0]["finishReason"] == "STOP"
    assert "seven" in json.dumps(second)


async def test_responses_items_are_added_filled_and_done() -> None:
    first, second = map(events, await asked("/v1/responses", {**RESPONSES, **STREAMING}, "input"))

    kinds = [event["type"] for event in first]
    assert kinds.count("response.output_item.added") == kinds.count("response.output_item.done") == 3
    deltas = [event["delta"] for event in first if event["type"] == "response.output_text.delta"]
    assert "".join(deltas) == "I look, Ödön."
    assert json.loads(first[-1]["response"]["output"][-1]["arguments"]) == CALL
    assert second[-1]["response"]["output"][0]["content"][0]["text"] == "It says seven"


@pytest.mark.parametrize(
    ("path", "body", "first"),
    [("/v1/messages", ANTHROPIC, "messages"), (GENERATE, GEMINI, "contents"), ("/v1/responses", RESPONSES, "input")],
    ids=["anthropic", "gemini", "responses"],
)
async def test_who_does_not_stream_gets_the_whole_answer(path: str, body: dict[str, Any], first: str) -> None:
    answers = await asked(path, body, first)
    assert "Ödön." in json.dumps(json.loads(answers[0]), ensure_ascii=False)
    assert "seven" in json.dumps(json.loads(answers[1]))
