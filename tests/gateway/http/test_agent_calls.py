"""What becomes of a tool call that an HTTP client carries out, whoever of the three leaves in the middle of it."""

import itertools
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx2
import pytest

from tests.gateway.conftest import Running, Start
from tests.gateway.host import Program, program
from tests.gateway.http.asking import BEARER, asking, error_of
from tests.gateway.http.events import Event, all_told, message, text_of, told, until
from tests.gateway.http.test_agent_tools import READING
from tests.gateway.test_ars import ars
from tests.support.left_to_us import results_of

WRITING = '=== turn repeat\ncall write_file {"path": "a.txt", "content": "x"}\n--- step\nsay: It said $result\n'
TOOLS = ["read_file", "write_file"]
BODY = message("s", "m1", tools=TOOLS)


def result(call: Event, text: str = "by the client", session: str = "s") -> dict[str, Any]:
    return {"session_id": session, "call_id": call.data["call_id"], "result": {"content": text}}


def pid_of(gateway: Running) -> int:
    pid: int = gateway.gateway.talks.agents.states()["main"]["pid"]
    return pid


async def test_an_agent_that_is_killed_in_the_middle_ends_the_run_and_the_next_one_works(start: Start, tmp_path: Path):
    async with start(agent=ars(tmp_path, WRITING)) as gateway, asking(gateway, timeout=20) as client:
        async with told(client, "POST", "/agent/message/stream", json=BODY) as found:
            call = await until(found, "tool_call")
            os.kill(pid_of(gateway), signal.SIGKILL)
            rest = [it async for it in found]
        assert rest[-1].name == "error"
        error = rest[-1].data["error"]
        assert (error["code"], error["retryable"]) == ("LLM_STREAM_INTERRUPTED", True)
        assert [it.data["ok"] for it in rest if it.name == "tool_result"] == [None]
        late = await client.post("/agent/tool_result", json=result(call))
        assert (late.status_code, error_of(late)["code"]) == (404, "NOT_FOUND")
        assert (await all_told(client, BODY))[-1] == rest[-1], "it is one run, and is not begun again by itself"
        async with told(client, "POST", "/agent/message/stream", json=message("s", "m2", tools=TOOLS)) as found:
            await client.post("/agent/tool_result", json=result(await until(found, "tool_call")))
            assert text_of([it async for it in found]) == "It said by the client"


async def test_a_client_that_leaves_in_the_middle_can_be_stood_in_for(start: Start, tmp_path: Path):
    async with start(agent=ars(tmp_path, READING)) as gateway:
        async with asking(gateway) as first, told(first, "POST", "/agent/message/stream", json=BODY) as found:
            call = await until(found, "tool_call")
        followed = "/agent/stream?session_id=s&message_id=m1"
        async with asking(gateway) as other, told(other, "GET", followed) as found:
            again = await until(found, "tool_call")
            assert again.data == call.data
            assert (await other.post("/agent/tool_result", json=result(again))).status_code == 200
            assert "by the client" in text_of([it async for it in found])


async def test_of_many_answers_at_once_one_counts(start: Start, tmp_path: Path):
    async with start(agent=ars(tmp_path, WRITING)) as gateway, asking(gateway) as client:
        statuses: list[int] = []
        async with told(client, "POST", "/agent/message/stream", json=BODY) as found:
            call = await until(found, "tool_call")

            async def answer(number: int) -> None:
                statuses.append(
                    (await client.post("/agent/tool_result", json=result(call, f"no. {number}"))).status_code
                )

            async with anyio.create_task_group() as tasks:
                for number in range(10):
                    tasks.start_soon(answer, number)
            seen = [it async for it in found]
        assert sorted(statuses) == [200, *[409] * 9]
        assert text_of(seen).startswith("It said no. ")
        assert [it.data["ok"] for it in seen if it.name == "tool_result"] == [True]


async def test_a_read_that_nobody_answers_is_told_once_more_and_an_answer_then_counts(start: Start, tmp_path: Path):
    agent = f"env ARS_CLIENT_SECONDS=1 {ars(tmp_path, READING)}"
    async with (
        start(agent=agent) as gateway,
        asking(gateway) as client,
        told(client, "POST", "/agent/message/stream", json=BODY) as found,
    ):
        first = await until(found, "tool_call")
        second = await anext(it async for it in found if it.name in ("tool_call", "tool_result"))
        assert (second.name, second.data["ok"]) == ("tool_result", None)
        assert (await until(found, "tool_call")).data == first.data
        assert (await client.post("/agent/tool_result", json=result(first))).status_code == 200
        assert "by the client" in text_of([it async for it in found])


async def test_a_read_that_is_never_answered_is_a_failed_call_and_no_hanging_run(start: Start, tmp_path: Path):
    agent = f"env ARS_CLIENT_SECONDS=0.5 {ars(tmp_path, READING)}"
    async with start(agent=agent) as gateway, asking(gateway) as client:
        found = await all_told(client, BODY)
        assert found[-1].name == "complete"
        assert "did not answer in time" in text_of(found)
        call = next(it for it in found if it.name == "tool_call")
        assert (await client.post("/agent/tool_result", json=result(call))).status_code == 404


async def test_what_is_chosen_in_the_middle_of_a_call_does_not_end_it(start: Start, tmp_path: Path):
    async with start(agent=ars(tmp_path, WRITING)) as gateway, gateway.client() as one, asking(gateway) as client:
        async with told(client, "POST", "/agent/message/stream", json=BODY) as found:
            call = await until(found, "tool_call")
            chosen = await one.request("_ars.session.choose", {"sessionKey": "s", "id": "mode", "value": "read-only"})
            assert chosen["modes"]["current"] == "read-only"
            assert (await client.post("/agent/tool_result", json=result(call))).status_code == 200
            assert text_of([it async for it in found]) == "It said by the client"
        refused = await all_told(client, message("s", "m2", tools=TOOLS))
        assert "Refused: this session is read-only." in text_of(refused)


async def test_a_conversation_is_made_shorter_after_the_call_and_before_a_message_with_other_tools(
    start: Start, tmp_path: Path
):
    async with start(agent=ars(tmp_path, WRITING)) as gateway, gateway.client() as one, asking(gateway) as client:
        async with told(client, "POST", "/agent/message/stream", json=BODY) as found:
            call = await until(found, "tool_call")
            asked = await one.begin("sessions.compact", {"key": "s", "maxLines": 1})
            room = gateway.gateway.talks.rooms.find("owner", "agent:main:s")
            assert room is not None
            session = gateway.gateway.talks.agents.open_session(room)
            assert session is not None
            while not session.queue:
                await anyio.lowlevel.checkpoint()
            await client.post("/agent/message", json=message("s", "m2", "/usage"))
            assert (await client.post("/agent/tool_result", json=result(call))).status_code == 200
            assert text_of([it async for it in found]) == "It said by the client"
        assert (await one.answer(asked))["reason"].startswith("Nothing was changed")
        assert "Replies: " in text_of(await all_told(client, message("s", "m2", "/usage")))
    [log] = (tmp_path / "agent").rglob("*.jsonl")
    assert '"text":"/compact"' in log.read_text()


async def test_a_session_that_is_deleted_in_the_middle_ends_the_call(start: Start, tmp_path: Path):
    async with start(agent=ars(tmp_path, WRITING)) as gateway, gateway.client() as one, asking(gateway) as client:
        async with told(client, "POST", "/agent/message/stream", json=BODY) as found:
            call = await until(found, "tool_call")
            await one.request("sessions.delete", {"key": "s"})
            assert [it.data["stop_reason"] async for it in found if it.name == "complete"] == ["cancelled"]
        assert (await client.post("/agent/tool_result", json=result(call))).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b'{"session_id": "s", "call_id": "%s", "result": {"content": "\\ud800"}}',
        b'{"session_id": "s", "call_id": "%s", "result": ' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"}",
        b'{"session_id": "s", "call_id": "%s", "result": {"content": "x"}, "error": {"message": "y"}}',
        b'{"session_id": "s", "call_id": "%s", "result": "text"}',
        b'{"session_id": "s", "call_id": "%s", "result": null}',
        b'{"session_id": "s", "call_id": "%s"}',
        b'{"session_id": "s", "call_id": "%s", "error": {"code": "X"}}',
        b'{"session_id": "s", "call_id": "%s", "result": {"content": NaN}}',
    ],
)
async def test_a_result_that_is_none_leaves_the_call_waiting(start: Start, tmp_path: Path, body: bytes):
    async with (
        start(agent=ars(tmp_path, WRITING)) as gateway,
        asking(gateway) as client,
        told(client, "POST", "/agent/message/stream", json=BODY) as found,
    ):
        call = await until(found, "tool_call")
        content = body.replace(b"%s", call.data["call_id"].encode())
        wrong = await client.post("/agent/tool_result", content=content, headers={"content-type": "application/json"})
        assert (wrong.status_code, error_of(wrong)["code"]) == (400, "INVALID_MESSAGE")
        assert (await client.post("/agent/tool_result", json=result(call))).status_code == 200
        assert text_of([it async for it in found]) == "It said by the client"


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        ({"result": {"content": "\u0000\u001b[31m\u202e" + '"\\' * 500_000}}, '"\\'),
        ({"result": {"content": 7, "n": 10**18}}, "1000000000000000000"),
        ({"result": {}}, "{}"),
        ({"error": {"message": "no", "code": "not a word"}}, "no"),
    ],
)
async def test_whatever_a_result_holds_the_turn_goes_on(start: Start, tmp_path: Path, answer: Any, read: str):
    async with start(agent=ars(tmp_path, WRITING)) as gateway, asking(gateway, timeout=20) as client:
        async with told(client, "POST", "/agent/message/stream", json=BODY) as found:
            call = await until(found, "tool_call")
            said = {"session_id": "s", "call_id": call.data["call_id"], **answer}
            assert (await client.post("/agent/tool_result", json=said)).status_code == 200
            seen = [it async for it in found]
        assert seen[-1].name == "complete"
        assert read in text_of(seen)


# ── many at once ──────────────────────────────────────────────────────────────────────────────────────────────────────

MUCH = """\
=== turn repeat
call read_file {"path": "a.txt"}
call git_diff {}
--- step
call write_file {"path": "a.txt", "content": "x"}
--- step
say: It said $result
"""


async def test_whatever_clients_and_agents_do_each_run_has_its_end_and_no_call_is_left(start: Start, tmp_path: Path):
    """Of the calls two cost the agent its life, each 11th the client its connection, each 13th is never answered,
    each 5th is answered twice and otherwise the second time."""
    agent = f"env ARS_CLIENT_SECONDS=1 ARS_PERMISSION_SECONDS=1 {ars(tmp_path, MUCH)}"
    ends: Counter[str] = Counter()
    answers: Counter[int] = Counter()
    calls = itertools.count(1)

    async def carry_out(gateway: Running, client: httpx2.AsyncClient, call: Event) -> bool:
        """Whether the client stays."""
        number = next(calls)
        if number in (9, 20) and (pid := gateway.gateway.talks.agents.states()["main"].get("pid")) is not None:
            os.kill(pid, signal.SIGKILL)
        said = [] if number % 13 == 0 else ["once", "twice"] if number % 5 == 0 else ["once"]
        for text in said:
            body = result(call, text, call.data["session_id"])
            answers[(await client.post("/agent/tool_result", json=body)).status_code] += 1
        return number % 11 != 0

    async def follow(gateway: Running, client: httpx2.AsyncClient, body: dict[str, Any], last: str) -> tuple[str, str]:
        headers = {"last-event-id": last} if last else {}
        async with told(client, "POST", "/agent/message/stream", json=body, headers=headers) as found:
            async for it in found:
                last = it.id
                if it.name in ("complete", "error"):
                    return it.name, last
                if it.name == "tool_call" and not await carry_out(gateway, client, it):
                    break
        return "", last

    async def converse(gateway: Running, name: str) -> None:
        async with asking(gateway, timeout=20) as client:
            for number in range(3):
                end, last = "", ""
                while not end:
                    tools = [*TOOLS, *(["git.diff"] if number % 2 else [])]
                    end, last = await follow(gateway, client, message(name, f"m{number}", tools=tools), last)
                ends[end] += 1

    async with start(agent=agent) as gateway:
        async with anyio.create_task_group() as tasks:
            for number in range(6):
                tasks.start_soon(converse, gateway, f"s{number}")
        talks = gateway.gateway.talks
        assert ends.total() == 18
        assert ends["complete"] > 0
        assert answers[200] > 0
        assert not talks.hands._waiting
        assert not talks.runs.live
        for room in talks.rooms.of("owner"):
            balance: Counter[str] = Counter()
            for it in talks.feeds.of(room.session_id).since(0) or ():
                if it.kind in ("call", "called"):
                    balance[it.data["call_id"]] += 1 if it.kind == "call" else -1
            assert not any(balance.values())
    assert all(len(codes) == 1 for codes in results_of(tmp_path / "agent"))


# ── the end of the gateway ────────────────────────────────────────────────────────────────────────────────────────────


def client_of(gateway: Program) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{gateway.port}", headers=BEARER, timeout=20, trust_env=False)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_gateway_that_ends_in_the_middle_settles_the_run_and_does_the_next(tmp_path: Path, how: signal.Signals):
    state, arguments = tmp_path / "state", ("--agent", ars(tmp_path, WRITING), "--no-socket")
    async with program(state, *arguments) as gateway, client_of(gateway) as client:
        seen: list[Event] = []
        with pytest.raises(httpx2.HTTPError) if how == signal.SIGKILL else anyio.fail_after(20):
            async with told(client, "POST", "/agent/message/stream", json=BODY) as found:
                async for it in found:
                    seen.append(it)
                    if it.name == "tool_call":
                        gateway.process.send_signal(how)
        await gateway.process.wait()
    call = next(it for it in seen if it.name == "tool_call")
    async with program(state, *arguments) as gateway, client_of(gateway) as client:
        late = await client.post("/agent/tool_result", json=result(call))
        assert (late.status_code, error_of(late)["code"]) == (404, "NOT_FOUND")
        for _ in range(2):
            again = await all_told(client, BODY, seen[-1].id)
            assert again[-1].name == "error"
            assert again[-1].data["error"]["code"] == "LLM_STREAM_INTERRUPTED"
        async with told(client, "POST", "/agent/message/stream", json=message("s", "m2", tools=TOOLS)) as found:
            await client.post("/agent/tool_result", json=result(await until(found, "tool_call")))
            assert text_of([it async for it in found]) == "It said by the client"
    # It is the agent's own end that closes the call, or the next process, where it was killed before it could.
    assert results_of(tmp_path / "agent") in ([["CANCELLED"], [None]], [["UNKNOWN_OUTCOME"], [None]])
