"""The trace context of a prompt goes on to all that its turn asks for; nothing else in `_meta` changes anything."""

from typing import Any

import pytest

from acp_wire import methods
from ars_acp.models.config import ModelConfig
from ars_acp.models.openai import OpenAIModel
from ars_acp.trace import headers, trace_of, tracing
from fixtures.model_server import model_server
from tests.ars_acp.test_acp_hands import Shell
from tests.models.support import KEY, QUICK, reply_of
from tests.support.in_memory import house

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = {"traceparent": PARENT, "tracestate": "vendor=1,other=2", "baggage": "user=ann;x=1"}
HOSTILE = {"path": "/etc/passwd", "sessionId": "x", "session_id": "x", "mode": "full", "cwd": "/", "prompt": []}
EVERY_REQUEST = """
=== turn
call read_file {"path": "a.txt"}
call write_file {"path": "a.txt", "content": "new"}
call run_command {"argv": ["make"]}
call prompt_user {"question": "How?"}
call prompt_user {"question": "Open", "url": "https://a.example/"}
--- step
say: done
=== turn
call read_file {"path": "a.txt"}
--- step
say: done
"""


@pytest.mark.parametrize(
    ("meta", "found"),
    [
        (TRACE, TRACE),
        ({**TRACE, **HOSTILE}, TRACE),
        (None, {}),
        ({}, {}),
        ({"traceparent": PARENT + "\r\nx: y"}, {}),
        ({"traceparent": PARENT + "\n"}, {}),
        ({"traceparent": "00-" + "0" * 32 + "-b7ad6b7169203331-01"}, {}),
        ({"traceparent": PARENT.replace("b7ad6b7169203331", "0" * 16)}, {}),
        ({"traceparent": "ff" + PARENT[2:]}, {}),
        ({"traceparent": PARENT.upper()}, {}),
        ({"traceparent": [PARENT], "baggage": 5}, {}),
        ({"tracestate": "vendor=1"}, {}),
        ({"tracestate": "x" * 513, "traceparent": PARENT}, {"traceparent": PARENT}),
        ({"baggage": "a=1"}, {"baggage": "a=1"}),
        ({"baggage": "a=\u00e9"}, {}),
        ({"baggage": "  "}, {}),
        ({"baggage": "x" * 8193}, {}),
    ],
)
def test_only_what_has_the_shape_is_handed_on(meta: dict[str, Any] | None, found: dict[str, str]) -> None:
    assert trace_of(meta) == found


async def test_every_request_of_the_turn_carries_the_trace_and_those_of_the_next_do_not() -> None:
    shell = Shell()
    shell.files["/project/a.txt"] = "old"
    shell.elicitation = {"action": "accept", "content": {"answer": "so"}}
    async with house(EVERY_REQUEST, client=shell) as it:
        assert await it.prompt_with([{"type": "text", "text": "go"}], _meta={**TRACE, "other": 1}) == "end_turn"
        sent = [message for message in it.stream.sent if "id" in message and "method" in message]
        assert {message["method"] for message in sent} >= {
            "fs/read_text_file",
            "fs/write_text_file",
            "terminal/create",
            "terminal/wait_for_exit",
            "terminal/output",
            "terminal/release",
            "session/request_permission",
            "elicitation/create",
        }
        assert [message["params"].get("_meta") for message in sent] == [TRACE] * len(sent)
        await it.prompt()
        assert (
            "_meta" not in next(m for m in reversed(it.stream.sent) if m.get("method", "").startswith("fs/"))["params"]
        )


async def test_the_models_requests_carry_it_as_headers() -> None:
    async with model_server() as server:
        model = OpenAIModel(ModelConfig(base_url=server.base_url, api_key=KEY, model="mode:ok1", **QUICK))
        with tracing(TRACE):
            await reply_of(model)
        await reply_of(model)
        await model.aclose()
        first, second = server.chats()
        assert {key: first.headers[key] for key in TRACE} == TRACE
        assert first.headers["authorization"] == f"Bearer {KEY}"
        assert not TRACE.keys() & second.headers.keys()
        assert headers() == {}


async def test_meta_that_is_not_ours_changes_nothing_and_overrides_no_argument() -> None:
    async with house("=== turn repeat\nsay: $prompt\n") as it:
        session, meta = it.session, {"_meta": HOSTILE}
        place = {"cwd": "/project", "mcpServers": [], **meta}
        assert (await it.wire.request(methods.SESSION_NEW, place)).session_id not in ("x", session)
        assert await it.prompt_with([{"type": "text", "text": "hello", **meta}], **meta) == "end_turn"
        assert it.said() == "hello"
        await it.wire.request(methods.SESSION_RESUME, {"sessionId": session, **place})
        await it.wire.request(methods.SESSION_LOAD, {"sessionId": session, **place})
        listed = await it.wire.request(methods.SESSION_LIST, {"cwd": "/project", **meta})
        assert {found.cwd for found in listed.sessions} == {"/project"}
        assert all(active.mode == "ask" for active in it.agent._sessions.active.values())
        it.wire.notify(methods.SESSION_CANCEL, {"sessionId": session, **meta})
        await it.wire.request(methods.AUTHENTICATE, {"methodId": "api-key", **meta})
        params = {"protocolVersion": 1, "clientCapabilities": {}, "_meta": HOSTILE | {"protocolVersion": 9}}
        assert (await it.wire.request(methods.INITIALIZE, params)).protocol_version == 1
        await it.wire.request(methods.SESSION_CLOSE, {"sessionId": session, **meta})
        await it.wire.request(methods.SESSION_DELETE, {"sessionId": session, **meta})
        assert session not in it.agent._sessions.active
