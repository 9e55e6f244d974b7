"""Questions that wait for a person: who sees them, who may answer, and that the first answer counts."""

import json
import shlex
import sys
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from ars_gateway.talks.approvals import plain
from tests.gateway.client import Client, Device, Json, Refusal
from tests.gateway.conftest import Running, Start
from tests.gateway.talking import GUEST, admit_guest, last, mock, said, send, text_of

ADMIN, APPROVALS, READ, WRITE = "operator.admin", "operator.approvals", "operator.read", "operator.write"
REQUESTED, RESOLVED = "exec.approval.requested", "exec.approval.resolved"
OBEYS = shlex.join([sys.executable, "-S", str(Path(__file__).parents[2] / "fixtures" / "agents" / "asks.py")])
OFFERED = (("here", "allow_always"), ("all", "allow_always"), ("once", "allow_once"), ("never", "reject_always"))
SEVERAL: Json = {
    "sessionId": "$session",
    "toolCall": {"toolCallId": "c"},
    "options": [{"optionId": id, "name": f"As {id}", "kind": kind} for id, kind in OFFERED],
}
ASKS = '=== turn repeat\nask edit "Change\\u202e things?"\nsay: It was $result.\n'
NAMED = {"id": "test", "version": "1.0.0", "platform": "linux", "mode": "test", "displayName": "Approver"}


async def decide(client: Client, id: str, decision: str = "allow-once") -> Json:
    answer: Json = await client.request("exec.approval.resolve", {"id": id, "decision": decision})
    return answer


# ── asked by clients ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_device_does_not_decide_what_it_asks_over_another_connection(running: Running):
    device = Device()
    async with (
        running.client(ADMIN, device=device) as asker,
        running.client(ADMIN, device=device) as itself,
        running.client(ADMIN, client=NAMED) as other,
    ):
        request = await asker.begin("exec.approval.request", {"id": "appr-1", "command": "ls", "timeoutMs": 20000})
        await itself.event(REQUESTED)
        with pytest.raises(Refusal, match="cannot resolve it"):
            await decide(itself, "appr-1")
        assert await decide(other, "appr-1") == {"ok": True}
        assert (await asker.answer(request))["decision"] == "allow-once"


async def test_a_request_waits_until_somebody_else_decides(running: Running):
    async with (
        running.client(APPROVALS) as asker,
        running.client(ADMIN, client=NAMED) as approver,
        running.client(READ) as reader,
    ):
        asked = {"id": "appr-1", "command": "ls -la", "cwd": "/tmp", "sessionKey": "agent:main:main"}
        request = await asker.begin("exec.approval.request", {**asked, "timeoutMs": 20000})
        shown = (await approver.event(REQUESTED))["payload"]
        assert shown["request"]["command"] == "ls -la"
        assert shown["request"]["resolvedPath"] is None
        assert shown["expiresAtMs"] - shown["createdAtMs"] == 20000
        for client, params, why in (
            (approver, {"id": "appr-1", "decision": "maybe"}, "invalid decision"),
            (approver, {"id": "nope", "decision": "deny"}, "unknown approval id"),
            (asker, {"id": "appr-1", "decision": "allow-once"}, "cannot resolve it"),
            (reader, {"id": "appr-1", "decision": "allow-once"}, "missing scope: operator.approvals"),
        ):
            with pytest.raises(Refusal, match=why):
                await client.request("exec.approval.resolve", params)
        with pytest.raises(Refusal, match="approval id already pending"):
            await approver.request("exec.approval.request", {"id": "appr-1", "command": "x"})
        assert await decide(approver, "appr-1") == {"ok": True}
        answer = await asker.answer(request)
        assert (answer["id"], answer["decision"]) == ("appr-1", "allow-once")
        assert (await asker.event(RESOLVED))["payload"]["resolvedBy"] == "Approver"
        with pytest.raises(Refusal, match="unknown approval id") as late:
            await decide(approver, "appr-1", "deny")
        assert late.value.error["details"] == {"decision": "allow-once", "resolvedBy": "Approver"}
        assert not reader.named(REQUESTED)
        assert not reader.named(RESOLVED)


async def test_nobodys_decision_is_null(running: Running):
    async with running.client() as one:
        answer = await one.request("exec.approval.request", {"command": "rm", "timeoutMs": 50})
        assert answer["decision"] is None


# ── asked by agents ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("decision", "result"), [("allow-once", "granted"), ("deny", "refused")])
async def test_an_agents_question_is_decided_by_whoever_answers_first(
    start: Start, tmp_path: Path, decision: str, result: str
):
    async with (
        start(agent=mock(tmp_path, ASKS)) as gateway,
        gateway.client(WRITE) as owner,
        gateway.client(APPROVALS) as approver,
        gateway.client(APPROVALS) as other,
    ):
        await send(owner, "k1", key="Main")
        shown = (await approver.event(REQUESTED))["payload"]
        request = shown["request"]
        assert (request["agentId"], request["sessionKey"], request["_ars"]["runId"]) == ("main", "Main", "k1")
        assert request["command"] == "Change\\u202e things?"
        await decide(approver, shown["id"], decision)
        with pytest.raises(Refusal, match="unknown approval id"):
            await decide(other, shown["id"], "allow-always")
        assert text_of(await last(owner, "k1")) == f"It was {result}."
        assert (await other.event(RESOLVED))["payload"]["decision"] == decision


async def test_the_owner_of_a_run_may_answer_its_questions_and_always_is_only_what_was_offered(
    start: Start, tmp_path: Path
):
    async with start(agent=mock(tmp_path, ASKS)) as gateway, gateway.client() as owner:
        await send(owner, "k1")
        shown = (await owner.event(REQUESTED))["payload"]
        offered = shown["request"]["_ars"]["options"]
        assert [it["decision"] for it in offered] == ["allow-once", "deny"]
        assert all(it["name"] for it in offered)
        # This agent offers once and never: always is once.
        await decide(owner, shown["id"], "allow-always")
        assert text_of(await last(owner, "k1")) == "It was granted."


async def test_any_option_that_an_agent_offers_can_be_picked_also_where_several_are_of_one_kind(
    start: Start,
):
    async with start(agent=OBEYS) as gateway, gateway.client() as owner:
        asks = json.dumps([["ask", "session/request_permission", SEVERAL]])
        for number, (option, decision) in enumerate((("here", "allow-always"), ("never", "deny")), 1):
            await send(owner, f"k{number}", asks)
            shown = (await owner.event(REQUESTED, number, within=15))["payload"]
            offered = shown["request"]["_ars"]["options"]
            assert [(it["optionId"], it.get("decision")) for it in offered] == [
                *(("here", None), ("all", None), ("once", "allow-once"), ("never", None)),
            ]
            for wrong, why in (({"optionId": "none"}, "no such option"), ({}, "invalid _ars.approval.choose params")):
                with pytest.raises(Refusal, match=why):
                    await owner.request("_ars.approval.choose", {"id": shown["id"], **wrong})
            await owner.request("_ars.approval.choose", {"id": shown["id"], "optionId": option})
            resolved = (await owner.event(RESOLVED, number))["payload"]
            assert (resolved["decision"], resolved["_ars"]) == (decision, {"optionId": option})
            picked = {"outcome": {"outcome": "selected", "optionId": option}}
            assert json.loads(text_of(await last(owner, f"k{number}"))) == [picked]


async def test_a_client_that_comes_late_is_told_what_waits_and_what_was_decided(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, ASKS)) as gateway, gateway.client() as owner:
        await send(owner, "k1")
        first = (await owner.event(REQUESTED))["payload"]
        async with gateway.client(APPROVALS) as late:
            assert (await late.event(REQUESTED))["payload"] == first
            # It decides and is gone, before it has heard of its success.
            await late.begin("exec.approval.resolve", {"id": first["id"], "decision": "allow-once"})
            await late.socket.close()
        await last(owner, "k1")
        async with gateway.client(APPROVALS) as back, gateway.client(READ) as reader:
            assert (await back.event(RESOLVED))["payload"]["decision"] == "allow-once"
            await reader.request("last-heartbeat")
            assert not reader.named(RESOLVED)


async def test_an_aborted_runs_question_can_not_be_answered_any_more(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, ASKS)) as gateway, gateway.client() as owner:
        await send(owner, "k1")
        shown = (await owner.event(REQUESTED))["payload"]
        await owner.request("chat.abort", {"sessionKey": "main"})
        resolved = (await owner.event(RESOLVED))["payload"]
        assert (resolved["id"], resolved["decision"], resolved["resolvedBy"]) == (shown["id"], None, None)
        with pytest.raises(Refusal, match="unknown approval id"):
            await decide(owner, shown["id"])


async def test_nobody_else_sees_or_answers_a_persons_questions(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, ASKS)) as gateway:
        admit_guest(gateway)
        async with gateway.client() as owner, gateway.client(token=GUEST) as guest:
            await send(owner, "k1")
            shown = (await owner.event(REQUESTED))["payload"]
            with pytest.raises(Refusal, match="unknown approval id"):
                await decide(guest, shown["id"])
            assert not guest.named(REQUESTED)


async def test_a_question_that_nobody_answers_is_refused_in_time(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, ASKS)) as gateway, gateway.client() as owner:
        gateway.gateway.talks.approvals.seconds = 0.1
        await send(owner, "k1")
        assert text_of(await last(owner, "k1")) == "It was refused."
        assert (await owner.event(RESOLVED))["payload"]["decision"] is None


# ── forms ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_forms_are_offered_to_agents_only_while_somebody_can_show_them(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, "=== turn repeat\nsay: ok\n")) as gateway, gateway.client() as one:

        def reached(state: str) -> int:
            return sum(it["state"] == state for it in gateway.log.named("agent.state"))

        await send(one, "k1")
        await last(one, "k1")
        assert reached("starting") == 1
        async with gateway.client(caps=["elicitation"]):
            await send(one, "k2")
            await last(one, "k2")
            assert reached("starting") == 2
        gateway.gateway.talks.agents.retire_seconds = 0
        await send(one, "k3")
        await last(one, "k3")
        assert len(said(one, "k3", "final")) == 1
        with anyio.fail_after(20):
            while reached("stopped") != 1:
                await anyio.lowlevel.checkpoint()
        history = await one.request("chat.history", {"sessionKey": "main"})
        assert [it["content"][0]["text"] for it in history["messages"]] == ["hi", "ok"] * 3


async def test_an_address_of_the_web_is_asked_about_and_any_other_is_declined_at_once(start: Start):
    async with start(agent=OBEYS) as gateway, gateway.client(caps=["elicitation"]) as one:
        link = {"sessionId": "$session", "mode": "url", "message": "Sign in.", "elicitationId": "e"}
        urls = ("javascript:alert(1)", "https://", "file:///etc/passwd", "https://a.example/b")
        asks = [["ask", "elicitation/create", link | {"url": url}] for url in urls]
        await send(one, "k1", json.dumps(asks))
        shown = (await one.event("_ars.elicitation.requested", within=15))["payload"]
        assert (shown["mode"], shown["url"], shown["message"]) == ("url", "https://a.example/b", "Sign in.")
        assert shown["requestedSchema"] == {"type": "object", "properties": {}}
        await one.request("_ars.elicitation.resolve", {"id": shown["id"], "action": "accept"})
        answers = [it["action"] for it in json.loads(text_of(await last(one, "k1")))]
        assert answers == ["decline", "decline", "decline", "accept"]


async def test_whoever_comes_too_late_for_a_form_is_told_so(running: Running):
    async with running.client() as one:
        for params, why in (
            ({"id": "nope", "action": "accept", "content": {}}, "unknown elicitation id"),
            ({"id": "nope", "action": "perhaps"}, "invalid action"),
            ({"action": "accept"}, "invalid _ars.elicitation.resolve params"),
        ):
            with pytest.raises(Refusal, match=why):
                await one.request("_ars.elicitation.resolve", params)


async def test_hidden_characters_of_a_command_are_written_out(running: Running):
    async with running.client(APPROVALS) as one, running.client(APPROVALS) as other:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.begin, "exec.approval.request", {"command": "rm\u202e\x1b[31m x", "timeoutMs": 100})
        shown = (await other.event(REQUESTED))["payload"]
        assert shown["request"]["command"] == "rm\\u202e\\u001b[31m x"


@pytest.mark.parametrize("hidden", ["\x1b", "\u061c", "\u200b", "\u2028", "\u202e", "\u2060", "\ufeff", "\U000e0041"])
def test_what_nobody_would_see_in_a_command_is_written_out(hidden: str):
    assert plain(f"rm{hidden} x") == f"rm\\u{ord(hidden):04x} x"
