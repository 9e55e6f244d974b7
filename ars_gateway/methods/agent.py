"""agent, agent.wait, agent.identity.get, agents.list: runs for programs, and which agents there are."""

from typing import Any

from ars_gateway.access.scopes import READ, WRITE
from ars_gateway.call import Call, Method
from ars_gateway.errors import UNAVAILABLE, MethodError, invalid
from ars_gateway.methods.chat import failed, prompt, start
from ars_gateway.sessions import choices, keys, naming
from ars_gateway.sessions.ledger import Entry, body_of, now
from ars_gateway.sessions.rooms import Room
from ars_gateway.talks import failures
from ars_gateway.talks.runs import Order

Json = dict[str, Any]

# Where an answer may be sent, as clients name it; they say so unasked (`whatsapp`), and unless it is to be delivered
# nothing hangs of it.
CHANNELS = frozenset(
    ("", "last", "webchat", "telegram", "whatsapp", "discord", "googlechat", "slack", "signal", "imessage")
)
WAIT_MS = 30_000
NO_SESSION = "Error: Pass --to <E.164>, --session-id, or --agent to choose a session"


async def agent(call: Call, params: Json) -> Json:
    """Begins a run. Two answers under one id: that it was accepted, and, when it is over, how it has ended."""
    room = _room(call, params)
    run_id = params["idempotencyKey"]
    if room is None:
        call.answer({"runId": run_id, "status": "accepted", "acceptedAt": now()})
        error = MethodError(UNAVAILABLE, NO_SESSION)
        error.payload = {"runId": run_id, "status": "error", "summary": NO_SESSION}
        raise error
    if room.facts.get("sendPolicy") == "deny":
        raise invalid("send blocked by session policy")
    _introduce(call, room, params)
    order = Order(
        principal=call.caller.principal,
        id=run_id,
        method="agent",
        body=body_of("agent", params),
        room=room,
        key=params.get("sessionKey") or room.key,
        blocks=prompt(params, front=params.get("extraSystemPrompt")),
        thinking=choices.level_of(params.get("thinking") or ""),
        seconds=params.get("timeout") or None,
    )
    run, entry, _ = start(call, order)
    if run is not None:
        call.answer({"runId": run_id, "status": "accepted", "acceptedAt": entry.accepted})
        await run.over.wait()
        entry = run.entry
    return _final(call, entry)


def _room(call: Call, params: Json) -> Room | None:
    """The session that a run belongs to; None where nothing says which."""
    named = params.get("agentId")
    agent_id = naming.known_agent(call, named, "agent") if named else None
    if (channel := params.get("channel") or "").strip().lower() not in CHANNELS:
        raise invalid(f"invalid agent params: unknown channel: {channel}")
    if key := params.get("sessionKey"):
        canonical = naming.key_of(call, key, agent_id, known=agent_id is None)
        if agent_id is not None and (owner := keys.agent_of(canonical)) != agent_id:
            raise invalid(f'invalid agent params: agent "{named}" does not match session key agent "{owner}"')
    elif session_id := params.get("sessionId"):
        room = naming.room_by_id(call, session_id)
        if room is None:
            raise naming.not_found(session_id)
        return room
    elif agent_id is not None or params.get("to"):
        canonical = keys.main_key(agent_id or keys.MAIN)
    else:
        return None
    return call.gateway.talks.rooms.open(call.caller.principal, canonical, call.gateway.talks.workspace)


def _introduce(call: Call, room: Room, params: Json) -> None:
    """What a run says of a session that has no name, or nobody's, yet."""
    label = (params.get("label") or "").strip()
    others = call.gateway.talks.rooms.of(call.caller.principal)
    if label and "label" not in room.facts and not any(it.facts.get("label") == label for it in others):
        room.facts["label"] = label
    if (parent := params.get("spawnedBy")) and "spawnedBy" not in room.facts:
        room.facts["spawnedBy"] = parent


def _final(call: Call, entry: Entry) -> Json:
    """The last answer of a run. Raises `MethodError` for one that has failed."""
    if entry.state == "error":
        raise failed(entry)
    if entry.state in ("aborted", "timeout"):
        error = failures.error(failures.OVERDUE if entry.state == "timeout" else failures.ABORTED)
        error.payload = {"runId": entry.id, "status": entry.state, "summary": error.message}
        raise error
    outcome = entry.outcome
    meta: Json = {"durationMs": (entry.ended or 0) - (entry.started or 0), "agentMeta": _agent_meta(call, entry)}
    meta["aborted"] = False
    payloads = [{"text": text, "mediaUrl": None} for text in outcome.get("payloads") or ()]
    result = {"payloads": payloads, "meta": meta}
    return {"runId": entry.id, "status": "ok", "summary": "completed", "result": result}


def _agent_meta(call: Call, entry: Entry) -> Json:
    agent_id = keys.agent_of(entry.key)
    kind, facts = call.gateway.talks.agents.kinds.get(agent_id), call.gateway.talks.agents.facts.get(agent_id) or {}
    meta: Json = {"sessionId": entry.session_id, "provider": kind.vendor.name if kind else agent_id}
    if model := facts.get("model"):
        meta["model"] = model
    if usage := entry.outcome.get("usage"):
        meta["usage"] = usage
    return meta


async def agent_wait(call: Call, params: Json) -> Json:
    """How a run has ended, or `timeout` where it has not by then, and for one that never was."""
    run = params["runId"]
    limit = params.get("timeoutMs", WAIT_MS) / 1000
    entry = await call.gateway.talks.runs.wait(call.caller.principal, run, limit)
    if entry is None or entry.state == "timeout":
        return {"runId": run, "status": "timeout"}
    told: Json = {"runId": run, "status": "ok" if entry.state == "ok" else "error"}
    told |= {"startedAt": entry.started or entry.accepted, "endedAt": entry.ended}
    if entry.state == "error":
        told["error"] = entry.outcome["error"]["message"]
    elif entry.state == "aborted":
        told["error"] = failures.ABORTED["message"]
    return told


def agent_identity_get(call: Call, params: Json) -> Json:
    """An agent's name, and the letter that stands for its face."""
    named = params.get("agentId")
    agent_id = naming.known_agent(call, named, "agent.identity.get") if named else keys.MAIN
    if key := params.get("sessionKey"):
        owner = keys.agent_of(naming.key_of(call, key, agent_id if named else None))
        if named and owner != agent_id:
            text = f'agent "{named}" does not match session key agent "{owner}"'
            raise invalid(f"invalid agent.identity.get params: {text}")
        agent_id = owner
    name = call.gateway.talks.agents.kinds[agent_id].name
    return {"agentId": agent_id, "name": name, "avatar": name[:1].upper()}


def agents_list(call: Call, params: Json) -> Json:
    """The agents that can be talked to."""
    found = [
        {"id": kind.id, "name": kind.name, "identity": {"name": kind.name}}
        for kind in call.gateway.talks.agents.kinds.values()
    ]
    return {"defaultId": keys.MAIN, "mainKey": keys.MAIN, "scope": "per-sender", "agents": found}


METHODS = (
    Method("agent", WRITE, agent),
    Method("agent.wait", WRITE, agent_wait),
    Method("agent.identity.get", READ, agent_identity_get),
    Method("agents.list", READ, agents_list),
)
