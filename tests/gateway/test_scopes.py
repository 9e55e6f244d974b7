"""Who may call what and who sees what: every method and event against six kinds of caller."""

import anyio
import pytest

from ars_gateway.access.scopes import ADMIN, APPROVALS, EVENTS, PAIRING, READ, WRITE
from ars_gateway.call import NODE
from ars_gateway.limits import Limits
from ars_gateway.methods import METHODS
from tests.gateway.client import Refusal
from tests.gateway.wire import SCHEMA, recorded

# Six kinds of caller, and what each may.
KINDS: dict[str, set[str]] = {
    ADMIN: {ADMIN, READ, WRITE, APPROVALS, PAIRING},
    READ: {READ},
    WRITE: {READ, WRITE},
    APPROVALS: {APPROVALS},
    PAIRING: {PAIRING},
    "node": set(),
}
# Written down once more, apart from the table, from the protocol's description.
OURS = {
    *("resume", "_ars.elicitation.resolve", "_ars.chat.open", "_ars.chat.older", "_ars.chat.close", "_ars.chat.steer"),
    *("_ars.session.options", "_ars.session.choose", "_ars.state", "_ars.approval.choose"),
}
NODE_METHODS = {"skills.bins", "node.event", "node.invoke.result"}
SCOPES = {
    APPROVALS: {"exec.approval.request", "exec.approval.resolve", "_ars.approval.choose"},
    PAIRING: {
        *("node.pair.request", "node.pair.list", "node.pair.approve", "node.pair.reject", "node.pair.verify"),
        *("device.pair.list", "device.pair.approve", "device.pair.reject", "device.token.rotate"),
        *("device.token.revoke", "node.rename"),
    },
    READ: {
        *("health", "logs.tail", "channels.status", "status", "usage.status", "usage.cost", "tts.status"),
        *("tts.providers", "models.list", "agents.list", "agent.identity.get", "skills.status", "voicewake.get"),
        *("sessions.list", "sessions.preview", "cron.list", "cron.status", "cron.runs", "system-presence"),
        *("last-heartbeat", "node.list", "node.describe", "chat.history"),
        *("_ars.chat.open", "_ars.chat.older", "_ars.chat.close", "_ars.session.options", "_ars.state"),
    },
    WRITE: {
        *("send", "agent", "agent.wait", "wake", "talk.mode", "tts.enable", "tts.disable", "tts.convert"),
        *("tts.setProvider", "voicewake.set", "node.invoke", "chat.send", "chat.abort", "_ars.elicitation.resolve"),
        "_ars.chat.steer",
    },
}


def needed(method: str) -> str:
    """The scope that the description asks for; everything that it does not name is the admin's."""
    return next((scope for scope, names in SCOPES.items() if method in names), ADMIN)


def test_every_method_of_the_protocol_has_a_row():
    known = {*SCHEMA["advertisedMethods"], *SCHEMA["implementedMethods"], *SCHEMA["implementedNotAdvertised"]}
    assert known <= METHODS.keys()


def test_nothing_beyond_the_protocol_is_served_unnoticed():
    known = {*SCHEMA["advertisedMethods"], *SCHEMA["implementedMethods"], *SCHEMA["implementedNotAdvertised"]}
    assert METHODS.keys() - known == OURS


async def test_every_method_against_six_kinds_of_caller(start):
    limits = Limits(unauthorised_calls=1000)
    names = [*METHODS, "no.such"]
    cells = 0
    async with start(limits) as running:
        for kind, held in KINDS.items():
            chosen = {"role": "node", "scopes": None} if kind == "node" else {"scopes": [kind]}
            async with running.client(**chosen) as client:
                for name in names:
                    if name in ("connect", "resume"):
                        continue
                    said = await _refusal(client, name)
                    if name in NODE_METHODS:
                        wanted = None if kind == "node" else "unauthorized role: operator"
                    elif kind == "node":
                        wanted = "unauthorized role: node"
                    elif name == "no.such":
                        wanted = "unknown method: no.such" if kind == ADMIN else f"missing scope: {ADMIN}"
                    else:
                        wanted = None if needed(name) in held else f"missing scope: {needed(name)}"
                    if wanted is None:
                        assert said is None or not said.startswith(("missing scope", "unauthorized", "unknown m")), name
                    else:
                        assert said == wanted, (kind, name)
                    cells += 1
    assert cells == len(KINDS) * (len(names) - 2)


async def _refusal(client, name: str) -> str | None:
    try:
        await client.request(name, {"surprise": 1})
    except Refusal as refusal:
        return refusal.message
    return None


async def test_every_event_against_six_kinds_of_caller(start):
    async with start() as running:
        for kind, held in KINDS.items():
            chosen = {"role": "node", "scopes": None} if kind == "node" else {"scopes": [kind]}
            async with running.client(**chosen) as client:
                for name in EVENTS:
                    if name != "connect.challenge":
                        running.gateway.hub.broadcast(name, SAMPLES.get(name, {}))
                running.gateway.hub.broadcast("tick", {"ts": 2})
                await client.event("tick", 2)
                seen = {event["event"] for event in client.events} - {"connect.challenge"}
                wanted = {name for name, scope in EVENTS.items() if scope is None or scope in held}
                assert seen == wanted - {"connect.challenge"}, kind
                numbers = [event["seq"] for event in client.events if "seq" in event]
                assert numbers == list(range(1, len(numbers) + 1))


SAMPLES = {
    "tick": {"ts": 1},
    "shutdown": {"reason": "test", "restartExpectedMs": None},
    "chat": {"runId": "r", "sessionKey": "main", "seq": 1, "state": "final"},
    "agent": {"runId": "r", "seq": 1, "stream": "lifecycle", "ts": 1, "data": {}},
    "device.pair.requested": {"requestId": "r", "deviceId": "d", "publicKey": "k", "ts": 1},
    "device.pair.resolved": {"requestId": "r", "deviceId": "d", "decision": "approved", "ts": 1},
}


async def test_an_event_without_a_row_reaches_nobody(running):
    async with running.client() as client:
        with pytest.raises(KeyError):
            running.gateway.hub.broadcast("chat.secret", {})
        running.gateway.hub.broadcast("tick", {"ts": 1})
        await client.event("tick")
        assert {event["event"] for event in client.events} == {"connect.challenge", "tick"}


async def test_an_event_may_be_narrowed_to_some_callers(running):
    async with running.client(caps=["mine"]) as chosen, running.client() as other:
        running.gateway.hub.broadcast("chat", SAMPLES["chat"], only=lambda caller: "mine" in caller.caps)
        running.gateway.hub.broadcast("tick", {"ts": 1})
        assert (await chosen.event("chat"))["seq"] == 1
        await other.event("tick")
        assert not other.named("chat")


@pytest.mark.parametrize("case", ["sc_read_only", "sc_pairing_approvals"])
async def test_recorded_refusals_for_lack_of_a_scope_are_given_here_too(start, case):
    conversation = recorded(case)
    asked = {it["frame"]["id"]: it["frame"] for it in conversation if it["dir"] == "c2s"}
    answers = [it["frame"] for it in conversation if it["dir"] == "s2c" and it["frame"]["type"] == "res"]
    compared = 0
    async with start(Limits(unauthorised_calls=1000)) as running:
        connections = {it["conn"]: [] for it in conversation}
        for line in conversation:
            connections[line["conn"]].append(line)
        for lines in connections.values():
            sent = [it["frame"] for it in lines if it["dir"] == "c2s"]
            scopes = sent[0]["params"].get("scopes")
            async with running.client(*scopes) as client:
                for frame in sent[1:]:
                    error = next(it.get("error") for it in answers if it["id"] == frame["id"])
                    if error is None or not error["message"].startswith(("missing scope", "unauthorized role")):
                        continue
                    with pytest.raises(Refusal) as raised:
                        await client.request(frame["method"], frame.get("params"))
                    assert raised.value.error == error, frame
                    compared += 1
    assert asked
    assert compared >= 2


async def test_scopes_that_nobody_has_are_taken_and_grant_nothing(running):
    async with running.client("operator.everything", "root") as client:
        assert client.hello["auth"]["scopes"] == []
        with pytest.raises(Refusal, match=r"missing scope: operator\.read"):
            await client.request("system-presence")


async def test_twenty_unauthorised_calls_end_the_connection(start):
    async with start() as running, running.client("operator.read") as client:
        for _ in range(100):
            await client.send({"type": "req", "id": "n", "method": "config.get"})
        assert await client.ended() == (1008, "too many unauthorized calls")
        assert len(client.strays) == 20
        assert 1 <= len(running.log.named("gateway.unauthorised_call")) <= 10


async def test_unauthorised_calls_that_take_their_time_end_nothing(start):
    now = [0.0]
    async with start(clock=lambda: now[0]) as running, running.client("operator.read") as client:
        for _ in range(60):
            now[0] += 0.6
            with pytest.raises(Refusal):
                await client.request("config.get")
        assert running.log.named("gateway.unauthorised_call")


def test_node_methods_are_for_nodes_only():
    assert {name for name, method in METHODS.items() if method.roles == NODE} == NODE_METHODS


async def test_a_node_sees_ticks_and_the_end(running):
    async with running.client(role="node", scopes=None) as node:
        assert node.hello["auth"] == {"role": "node", "scopes": []}
        running.gateway.hub.broadcast("chat", SAMPLES["chat"])
        running.gateway.hub.broadcast("tick", {"ts": 1})
        with anyio.fail_after(20):
            await node.event("tick")
        assert not node.named("chat")
