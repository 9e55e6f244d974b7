"""agent, agent.wait, agents.list: runs for programs."""

from pathlib import Path

import pytest

from ars_gateway.talks.agents import MOST_OPEN
from tests.gateway.client import Refusal
from tests.gateway.conftest import Start
from tests.gateway.talking import last, mock, send

OK = "=== turn repeat\nsay: Hello there\n"


async def test_a_run_is_answered_twice_under_one_id(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, OK)) as gateway, gateway.client() as one:
        asked = {"message": "hi", "sessionKey": "agent:main:x", "idempotencyKey": "k1", "deliver": False}
        asked |= {"label": "A job", "spawnedBy": "agent:main:main"}
        request = await one.begin("agent", asked)
        waiting = await one.begin("agent.wait", {"runId": "k1"})
        accepted = await one.answer(request)
        assert (accepted["runId"], accepted["status"]) == ("k1", "accepted")
        done = await one.answer(request, 2)
        assert (done["status"], done["summary"]) == ("ok", "completed")
        assert done["result"]["payloads"] == [{"text": "Hello there", "mediaUrl": None}]
        listed = await one.request("sessions.list", {"spawnedBy": "agent:main:main", "label": "A job"})
        assert done["result"]["meta"]["agentMeta"]["sessionId"] == listed["sessions"][0]["sessionId"]
        waited = await one.answer(waiting)
        assert waited["status"] == "ok"
        assert waited["startedAt"] <= waited["endedAt"]
        assert await one.request("agent.wait", {"runId": "k1", "timeoutMs": 0}) == waited
        assert await one.request("agent", asked) == done


async def test_whoever_sends_the_same_key_while_it_runs_gets_both_answers_too(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, "=== turn repeat\nwait 0.2\nsay: ok\n")) as gateway:
        asked = {"message": "hi", "sessionKey": "main", "idempotencyKey": "k1"}
        async with gateway.client() as one, gateway.client() as other:
            requests = [(client, await client.begin("agent", asked)) for client in (one, other)]
            answers = [await client.answer(request, 2) for client, request in requests]
            assert answers[0] == answers[1]


async def test_a_run_that_nobody_knows_is_waited_for_and_may_still_come(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, OK)) as gateway, gateway.client() as one:
        assert await one.request("agent.wait", {"runId": "nope", "timeoutMs": 50}) == {
            "runId": "nope",
            "status": "timeout",
        }
        waiting = await one.begin("agent.wait", {"runId": "later"})
        await send(one, "later")
        assert (await one.answer(waiting))["status"] == "ok"


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"agentId": "default"}, 'invalid agent params: unknown agent id "default"'),
        (
            {"agentId": "main", "sessionKey": "agent:other:main"},
            'invalid agent params: agent "main" does not match session key agent "other"',
        ),
        ({"channel": "nosuch"}, "invalid agent params: unknown channel: nosuch"),
        ({"sessionId": "00000000-0000-4000-8000-000000000000"}, "No session found"),
        ({"sessionId": "../../etc/passwd"}, "No session found"),
    ],
)
async def test_what_names_no_session_is_refused(start: Start, tmp_path: Path, params: dict[str, str], why: str):
    async with start(agent=mock(tmp_path, OK)) as gateway, gateway.client() as one:
        with pytest.raises(Refusal, match=why) as refused:
            await one.request("agent", {"message": "hi", "idempotencyKey": "e1", **params})
        assert refused.value.code == "INVALID_REQUEST"


async def test_a_run_without_a_session_is_accepted_and_fails_as_clients_know_it(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, OK)) as gateway, gateway.client() as one:
        request = await one.begin("agent", {"message": "hi", "idempotencyKey": "e4"})
        assert (await one.answer(request))["status"] == "accepted"
        text = "Error: Pass --to <E.164>, --session-id, or --agent to choose a session"
        with pytest.raises(Refusal, match="Pass --to") as refused:
            await one.answer(request, 2)
        assert refused.value.payload == {"runId": "e4", "status": "error", "summary": text}


async def test_a_failed_run_is_refused_the_second_time_and_ever_after(start: Start, tmp_path: Path):
    agent = mock(tmp_path, '=== turn repeat\nerror {"code": -32603, "message": "overloaded"}\n')
    async with start(agent=agent) as gateway, gateway.client() as one:
        asked = {"message": "hi", "agentId": "main", "idempotencyKey": "k1"}
        request = await one.begin("agent", asked)
        with pytest.raises(Refusal, match="overloaded") as refused:
            await one.answer(request, 2)
        assert refused.value.payload["status"] == "error"
        with pytest.raises(Refusal, match="overloaded"):
            await one.request("agent", asked)


async def test_an_aborted_run_and_one_that_takes_too_long_say_so(start: Start, tmp_path: Path):
    agent = mock(tmp_path, "=== turn repeat\nsay: Hello\nwait 30\n")
    async with start(agent=agent) as gateway, gateway.client() as one:
        request = await one.begin("agent", {"message": "hi", "to": "+1", "idempotencyKey": "k1"})
        await last(one, "k1", "delta")
        await one.request("chat.abort", {"sessionKey": "main"})
        with pytest.raises(Refusal, match="aborted"):
            await one.answer(request, 2)
        request = await one.begin("agent", {"message": "hi", "to": "+1", "idempotencyKey": "k2", "timeout": 1})
        with pytest.raises(Refusal) as refused:
            await one.answer(request, 2)
        assert (refused.value.code, refused.value.error["retryable"]) == ("AGENT_TIMEOUT", True)


async def test_instructions_go_to_the_agent_and_into_no_history(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, "=== turn repeat\nsay: $told\n")) as gateway, gateway.client() as one:
        asked = {"message": "hi", "to": "+1", "idempotencyKey": "k1", "extraSystemPrompt": "Be brief."}
        request = await one.begin("agent", asked)
        done = await one.answer(request, 2)
        assert "Be brief." in done["result"]["payloads"][0]["text"]
        messages = (await one.request("chat.history", {"sessionKey": "main"}))["messages"]
        assert messages[0]["content"] == [{"type": "text", "text": "hi"}]


async def test_agents_are_listed_and_have_names(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, OK)) as gateway, gateway.client() as one:
        listed = await one.request("agents.list", {})
        assert (listed["defaultId"], listed["mainKey"], listed["scope"]) == ("main", "main", "per-sender")
        assert listed["agents"][0]["id"] == "main"
        name = listed["agents"][0]["name"]
        told = {"agentId": "main", "name": name, "avatar": name[0].upper()}
        assert await one.request("agent.identity.get", {}) == told
        assert await one.request("agent.identity.get", {"sessionKey": "agent:main:x"}) == told
        with pytest.raises(Refusal, match="unknown agent id"):
            await one.request("agent.identity.get", {"agentId": "nobody"})


async def test_more_sessions_at_once_than_are_kept_open_do_not_take_each_others_away(start: Start, tmp_path: Path):
    script = "=== turn repeat\nsay: one\nwait 0.2\nsay: two\n"
    async with start(agent=mock(tmp_path, script)) as gateway, gateway.client() as one:
        for turn in range(2):
            for number in range(MOST_OPEN + 16):
                await send(one, f"k{turn}-{number}", key=f"s{number}")
            for number in range(MOST_OPEN + 16):
                told = await one.request("agent.wait", {"runId": f"k{turn}-{number}"}, within=60)
                assert told["status"] == "ok", told
