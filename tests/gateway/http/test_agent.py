"""The doors of the ARS specification, with agents that play a script."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.gateway.conftest import Running, Start
from tests.gateway.http.asking import asking, error_of
from tests.gateway.http.events import Event, all_told, message, text_of, told, until
from tests.gateway.talking import heard, last, mock, send

OK = "=== turn repeat\nsay: import os\n"
WAITING = "=== turn\nsay: Begun\nwait 60\n=== turn repeat\nsay: Next\n"
HEAD = 'data: {"type": "assistant_message", "session_id": "sess_1", "message_id": "msg_123", '


# ── one message ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_answer_has_the_bytes_of_the_specification(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, OK)) as gateway, asking(gateway) as client:
        found = await all_told(client, message("sess_1", "msg_123", "Refactor auth module"))
        assert [it.text.partition("\nid: ")[0] for it in found if it.name in ("token", "complete")] == [
            f'event: token\n{HEAD}"token": "import ", "is_final": false}}',
            f'event: token\n{HEAD}"token": "os", "is_final": false}}',
            f'event: complete\n{HEAD}"is_final": true}}',
        ]
        assert found[-1].name == "complete"
        assert len({it.id for it in found}) == len(found)


async def test_the_answer_comes_as_lines_of_json_to_who_accepts_them(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, OK)) as gateway, asking(gateway) as client:
        accept = {"accept": "application/x-ndjson"}
        answer = await client.post("/agent/message/stream", json=message("sess_1", "msg_123"), headers=accept)
        assert answer.headers["content-type"] == "application/x-ndjson"
        lines = [line for line in answer.text.splitlines() if '"assistant_message"' in line]
        head = HEAD.removeprefix("data: ")
        assert lines == [
            f'{head}"token": "import ", "is_final": false}}',
            f'{head}"token": "os", "is_final": false}}',
            f'{head}"is_final": true}}',
        ]


async def test_a_message_is_accepted_and_followed_by_the_stream_of_its_session(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, OK)) as gateway, asking(gateway) as client:
        accepted = await client.post("/agent/message", json=message("sess_1", "m1"))
        assert (accepted.status_code, accepted.json()) == (200, {"status": "accepted"})
        async with told(client, "GET", "/agent/stream?session_id=sess_1") as found:
            seen = [await until(found, name) for name in ("user_message", "token", "token", "complete")]
            assert [it.data["message_id"] for it in seen] == ["m1"] * 4
            assert seen[0].data["content"] == "go"
            await client.post("/agent/message", json=message("sess_1", "m2"))
            assert (await until(found, "complete")).data["message_id"] == "m2"
        async with told(client, "GET", "/agent/stream?session_id=sess_1&message_id=m1") as found:
            assert text_of([it async for it in found]) == "import os"
        headers = {"last-event-id": seen[1].id}
        async with told(client, "GET", "/agent/stream?session_id=sess_1", headers=headers) as found:
            assert (await until(found, "token")).data["token"] == "os"
            assert (await until(found, "user_message")).data["message_id"] == "m2"


async def test_who_looks_later_without_an_id_sees_what_was_said_last(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, OK)) as gateway, asking(gateway) as client:
        for name in ("m1", "m2"):
            await all_told(client, message("s", name))
        async with told(client, "GET", "/agent/stream?session_id=s") as found:
            assert (await until(found, "complete")).data["message_id"] == "m2"


async def test_socket_clients_and_http_clients_see_the_same_session(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, OK)) as gateway, gateway.client() as one, asking(gateway) as client:
        await all_told(client, message("Shared", "m1"))
        final = await last(one, "agent:main:shared#m1")
        assert final["sessionKey"] == "agent:main:shared"
        history = await one.request("chat.history", {"sessionKey": "shared"})
        assert [it["role"] for it in history["messages"]] == ["user", "assistant"]
        async with told(client, "GET", "/agent/stream?session_id=agent:main:shared") as found:
            await until(found, "complete")
            await send(one, "by-socket", "hello", key="shared")
            assert (await until(found, "user_message")).data["content"] == "hello"
            assert (await until(found, "complete")).data["message_id"] == "by-socket"


async def test_the_same_message_is_one_run_however_often_it_comes(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, "=== turn\nsay: a b\nwait 0.3\nsay: c d\n")) as gateway:
        async with asking(gateway) as client, anyio.create_task_group() as tasks:
            answers: list[list[Event]] = []

            async def ask() -> None:
                answers.append(await all_told(client, message("s", "m1")))

            for _ in range(3):
                tasks.start_soon(ask)
        async with asking(gateway) as client:
            answers.append(await all_told(client, message("s", "m1")))
            accepted = await client.post("/agent/message", json=message("s", "m1"))
            assert accepted.json() == {"status": "accepted"}
        assert {text_of(it) for it in answers} == {"a bc d"}
        assert all(it == answers[0] for it in answers)
        assert heard(tmp_path) == ['["go"]']


async def test_another_message_under_the_same_id_is_a_conflict(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, OK)) as gateway, asking(gateway) as client:
        await all_told(client, message("s", "m1"))
        for other in (message("s", "m1", "else"), message("s", "m1", tools=["read_file"])):
            for path in ("/agent/message", "/agent/message/stream"):
                answer = await client.post(path, json=other)
                assert (answer.status_code, error_of(answer)["code"]) == (409, "CONFLICT")
        # In another session it is another message.
        assert text_of(await all_told(client, message("s2", "m1", "else"))) == "import os"


async def test_a_client_that_leaves_does_not_end_the_run_and_comes_back_to_it(start: Start, tmp_path: Path):
    script = "=== turn\nsay: one two three\nwait 0.3\nsay: four\n"
    async with start(agent=mock(tmp_path, script)) as gateway, asking(gateway) as client:
        async with told(client, "POST", "/agent/message/stream", json=message("s", "m1")) as found:
            had = [await until(found, "token"), await until(found, "token")]
        rest = await all_told(client, message("s", "m1"), had[-1].id)
        assert text_of([*had, *rest]) == "one two threefour"
        assert rest[-1].name == "complete"
        # Who has it all is told that it is over.
        assert [it.name for it in await all_told(client, message("s", "m1"), rest[-1].id)] == ["complete"]
        # By the query, and with an id of the whole session's.
        async with told(client, "GET", "/agent/stream?session_id=s") as found:
            seen = [await until(found, "token") for _ in range(3)]
        path = f"/agent/message/stream?last_event_id={seen[-1].id}"
        async with told(client, "POST", path, json=message("s", "m1")) as found:
            more = [it async for it in found]
        assert text_of([*seen, *more]) == "one two threefour"
        # From there on it is as if it had been followed by itself.
        assert more == (await all_told(client, message("s", "m1")))[-len(more) :]


async def test_an_id_that_is_none_of_ours_begins_anew_and_says_so(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, OK)) as gateway, asking(gateway) as client:
        first = await all_told(client, message("s", "m1"))
        for wrong in ("nonsense", "0123456789ab-3", "0123456789ab-3-5-00000000", f"{first[-1].id}9"):
            found = await all_told(client, message("s", "m1"), wrong)
            assert text_of([*first, *found]) == "import os"
            assert found[0].name == "reset"


async def test_what_the_feed_has_forgotten_comes_from_the_text_and_only_the_rest_of_it(start: Start, tmp_path: Path):
    script = "=== turn\nsay: one two three\nwait 60\n"
    async with start(agent=mock(tmp_path, script)) as gateway, asking(gateway) as client:
        async with told(client, "POST", "/agent/message/stream", json=message("s", "m1")) as found:
            seen = [await until(found, "token") for _ in range(3)]
        talks = gateway.gateway.talks
        room = talks.rooms.find("owner", "agent:main:s")
        assert room is not None
        feed = talks.feeds.of(room.session_id)
        feed.add("", "noise", None)
        feed.forget(0)
        async with told(
            client, "POST", "/agent/message/stream", json=message("s", "m1"), headers={"last-event-id": seen[0].id}
        ) as found:
            rest = [await until(found, "token")]
            assert text_of([seen[0], *rest]) == "one two three"
            talks.runs.abort(talks.runs.of(room), "rpc")
            assert [it.name async for it in found] == ["complete"]
        async with told(client, "GET", "/agent/stream?session_id=s", headers={"last-event-id": seen[0].id}) as found:
            assert (await anext(found)).name == "reset"


# ── ends ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("script", "code", "retryable"),
    [
        ('error {"code": -32603, "message": "no"}', "LLM_ERROR", False),
        (
            'error {"code": -32603, "message": "busy", "data": {"code": "LLM_ERROR", "retryable": true}}',
            "LLM_ERROR",
            True,
        ),
        (
            'error {"code": -32603, "message": "cut", "data": {"code": "LLM_STREAM_INTERRUPTED", "retryable": true}}',
            "LLM_STREAM_INTERRUPTED",
            True,
        ),
        ("exit 7", "LLM_STREAM_INTERRUPTED", True),
    ],
)
async def test_a_run_that_fails_ends_in_an_error(start: Start, tmp_path: Path, script: str, code: str, retryable: bool):
    agent = mock(tmp_path, f"=== turn repeat\nsay: So far\n{script}\n")
    async with start(agent=agent) as gateway, asking(gateway, timeout=15) as client:
        found = await all_told(client, message("s", "m1"))
        assert text_of(found) == "So far"
        assert found[-1].name == "error"
        error = found[-1].data["error"]
        assert (error["code"], error["retryable"]) == (code, retryable)
        assert error.keys() == {"code", "retryable", "details", "message"}
        # It is kept like any other end.
        assert (await all_told(client, message("s", "m1")))[-1] == found[-1]


async def test_an_agent_that_is_not_there_is_said_so(start: Start, tmp_path: Path):
    async with start(agent="/no/such/agent") as gateway, asking(gateway, timeout=15) as client:
        found = await all_told(client, message("s", "m1"))
        assert [it.name for it in found] == ["error"]
        assert (found[0].data["error"]["code"], found[0].data["error"]["retryable"]) == ("AGENT_UNAVAILABLE", True)


async def test_an_end_that_is_not_the_agents_own_is_told(start: Start, tmp_path: Path):
    script = f"=== turn\nsay: a\nstop max_tokens\n{WAITING}"
    async with start(agent=mock(tmp_path, script)) as gateway, asking(gateway) as client:
        found = await all_told(client, message("s", "m1"))
        assert found[-1].text.partition("\nid: ")[0].endswith('"is_final": true, "stop_reason": "max_tokens"}')
        async with told(client, "POST", "/agent/message/stream", json=message("s", "m2")) as other:
            await until(other, "token")
            queued = await client.post("/agent/message", json=message("s", "m3"))
            assert queued.status_code == 200
            one = await client.post("/agent/abort", json={"session_id": "s", "message_id": "m2"})
            assert one.json() == {"status": "aborted", "runs": 1}
            assert (await until(other, "complete")).data["stop_reason"] == "cancelled"
        async with told(client, "GET", "/agent/stream?session_id=s&message_id=m3") as other:
            assert text_of([it async for it in other]) == "Next"
        nothing = await client.post("/agent/abort", json={"session_id": "s"})
        assert nothing.json() == {"status": "aborted", "runs": 0}


async def test_a_session_that_begins_anew_ends_its_stream(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, OK)) as gateway, gateway.client() as one, asking(gateway) as client:
        await all_told(client, message("s", "m1"))
        async with told(client, "GET", "/agent/stream?session_id=s") as found:
            await until(found, "complete")
            await one.request("sessions.reset", {"key": "s"})
            assert [(it.name, it.data["why"]) async for it in found] == [("gone", "reset")]


# ── what goes on besides ──────────────────────────────────────────────────────────────────────────────────────────────

BUSY = """\
=== turn
think: Hm
plan:
  [>] Look
usage 1200 0.05
ask edit "Delete everything?"
--- if granted
say: Gone.
--- if refused
say: Kept.
"""


@pytest.mark.parametrize(("decision", "text"), [("allow-once", "Gone."), ("deny", "Kept.")])
async def test_what_goes_on_is_told_and_permission_asked_for(start: Start, tmp_path: Path, decision: str, text: str):
    async with start(agent=mock(tmp_path, BUSY)) as gateway, asking(gateway) as client:
        gateway.gateway.talks.rooms.open("owner", "agent:main:other", str(tmp_path))
        seen: list[Event] = []
        async with told(client, "POST", "/agent/message/stream", json=message("s", "m1")) as found:
            async for it in found:
                seen.append(it)
                if it.name == "approval":
                    answer = {"session_id": "s", "approval_id": it.data["approval_id"], "decision": decision}
                    elsewhere = await client.post("/agent/approval", json=answer | {"session_id": "other"})
                    assert elsewhere.status_code == 404
                    for _ in range(2):
                        received = await client.post("/agent/approval", json=answer)
                        assert (received.status_code, received.json()) == (200, {"status": "received"})
                    late = await client.post("/agent/approval", json=answer | {"decision": "allow-always"})
                    assert (late.status_code, error_of(late)["code"]) == (409, "CONFLICT")
                    assert error_of(late)["details"]["decision"] == decision
        assert text_of(seen) == text
        data = {it.name: it.data for it in seen}
        assert data["thought"]["text"] == "Hm"
        assert data["plan"]["entries"][0]["content"] == "Look"
        assert data["usage"]["used"] == 1200
        assert data["approval"]["title"] == "Delete everything?"
        assert data["approval_resolved"]["decision"] == decision
        assert all(it.data["session_id"] == "s" for it in seen)


# ── what is refused ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"session_id": "s"},
        message("", "m"),
        message("a b", "m"),
        message("x" * 129, "m"),
        message("s", ""),
        message("s", "m", ""),
        message("s", "m", tools=["rm_rf"]),
        message("s", "m", tools="read_file"),
        message("agent:main:", "m"),
        message("s", "m", more=1),
        {"session_id": "s", "message": {"type": "else", "message_id": "m", "content": "c"}},
    ],
)
async def test_a_message_that_is_none_is_refused(running: Running, body: Any):
    async with asking(running) as client:
        for path in ("/agent/message", "/agent/message/stream"):
            answer = await client.post(path, json=body)
            assert (answer.status_code, error_of(answer)["code"]) == (400, "INVALID_MESSAGE")


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        (message("s", "m", agent="nobody"), (404, "NOT_FOUND")),
        (message("agent:other:s", "m"), (404, "NOT_FOUND")),
        (message("agent:main:s", "m", agent="other"), (409, "CONFLICT")),
    ],
)
async def test_a_message_to_an_agent_that_there_is_not_is_refused(running: Running, body: Any, refused: Any):
    async with asking(running) as client:
        for path in ("/agent/message", "/agent/message/stream"):
            answer = await client.post(path, json=body)
            assert (answer.status_code, error_of(answer)["code"]) == refused


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/agent/stream", 400, "INVALID_MESSAGE"),
        ("/agent/stream?session_id=a%20b", 400, "INVALID_MESSAGE"),
        ("/agent/stream?session_id=s&agent=nobody", 404, "NOT_FOUND"),
        ("/agent/stream?session_id=s&message_id=m", 404, "NOT_FOUND"),
        ("/agent/stream?session_id=s", 404, "NOT_FOUND"),
    ],
)
async def test_a_stream_of_nothing_is_refused(running: Running, path: str, status: int, code: str):
    async with asking(running) as client:
        answer = await client.get(path)
        assert (answer.status_code, error_of(answer)["code"]) == (status, code)
    assert running.gateway.talks.rooms.count() == 0


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/agent/abort", {"session_id": "s"}),
        ("/agent/approval", {"session_id": "s", "approval_id": "a", "decision": "deny"}),
        ("/agent/form", {"session_id": "s", "form_id": "f", "action": "cancel"}),
        ("/agent/tool_result", {"session_id": "s", "call_id": "c", "error": {"message": "m"}}),
    ],
)
async def test_a_session_that_is_not_there_is_unknown(running: Running, path: str, body: Any):
    async with asking(running) as client:
        answer = await client.post(path, json=body)
        assert (answer.status_code, error_of(answer)["code"]) == (404, "NOT_FOUND")


async def test_a_result_is_either_a_result_or_an_error(running: Running):
    async with asking(running) as client:
        both: dict[str, Any] = {"result": {}, "error": {"message": "m"}}
        for more in (both, {}):
            answer = await client.post("/agent/tool_result", json={"session_id": "s", "call_id": "c", **more})
            assert (answer.status_code, error_of(answer)["code"]) == (400, "INVALID_MESSAGE")


async def test_an_answer_that_the_client_does_not_accept_is_not_begun(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, OK)) as gateway, asking(gateway) as client:
        answer = await client.post(
            "/agent/message/stream", json=message("s", "m1"), headers={"accept": "application/json"}
        )
        assert (answer.status_code, error_of(answer)["code"]) == (406, "NOT_ACCEPTABLE")
        assert gateway.gateway.talks.rooms.count() == 0


async def test_what_is_accepted_may_stand_in_several_headers(running: Running):
    async with asking(running) as client:
        for accepted, status in ((["application/json"], 406), (["application/json", "application/x-ndjson"], 404)):
            accept = [("accept", it) for it in accepted]
            assert (await client.get("/agent/stream?session_id=s", headers=accept)).status_code == status


@pytest.mark.parametrize("last", ["x", "x" * 5000, "0" * 12 + "-1", "\xb2" * 12 + "-1-1-00000000"])
async def test_who_remembers_a_place_that_was_none_is_told_to_forget_and_gets_all(
    start: Start, tmp_path: Path, last: str
):
    async with start(agent=mock(tmp_path, OK)) as gateway, asking(gateway) as client:
        await all_told(client, message("s", "m1"))
        headers = {"last-event-id": last.encode("latin-1")}
        async with told(client, "POST", "/agent/message/stream", json=message("s", "m1"), headers=headers) as found:
            seen = [it async for it in found]
        assert seen[0].name == "reset"
        assert text_of(seen) == "import os"
