"""_ars.chat.*, _ars.session.*, _ars.state: what a page needs to show sessions as they go on, and to have a say in them.

Extensions of ours, for clients that name `ars` in their connect's `caps`.
"""

import os
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import anyio.to_thread

from ars_gateway.access.scopes import ADMIN, READ, WRITE
from ars_gateway.call import Call, Caller, Json, Method
from ars_gateway.errors import invalid
from ars_gateway.observation import gauges
from ars_gateway.sessions import choices, keys, naming, patches, rooms
from ars_gateway.sessions.feed import Feed
from ars_gateway.sessions.ledger import now
from ars_gateway.sessions.rooms import Room
from ars_gateway.sockets.watching import hidden
from ars_gateway.talks import failures
from ars_gateway.talks.conversations import page
from ars_gateway.talks.runs import Run
from ars_gateway.talks.turns import Turn
from connector import NotOffered, Session
from connector.errors import ConnectorError

NOTHING: Json = {"modes": None, "models": None, "options": []}
# A session may begin anew while its transcript is read: so often it is tried again.
TRIES = 3
AT_WORK = ("ready", "busy")


async def chat_open(call: Call, params: Json) -> Json:
    """The newest part of a conversation; from the answer on whoever asks is told what happens in it (`_ars.feed`).

    Where `after` is a place in its feed that is still known, the answer has nothing: what came behind it is told.
    """
    key, principal = naming.key_of(call, params["sessionKey"]), call.caller.principal
    talks, watching = call.gateway.talks, call.gateway.watching
    after = (params["after"]["feed"], int(params["after"]["n"])) if "after" in params else None
    room = talks.rooms.find(principal, key)
    if room is None:
        watching.begin(call.connection, principal, key, None)
        return _opened(call, key, None, None, [], None)
    if after is not None:
        feed, resumed = watching.begin(call.connection, principal, key, room, after)
        if resumed:
            return {**_opened(call, key, room, feed, [], None), "resumed": True, "last": after[1]}
    turns, room = await _conversation(call, room)
    # From here on nothing else happens until the answer is on its way.
    feed, _ = watching.begin(call.connection, principal, key, room)
    entries, older = page(turns, unseen=hidden(call.caller))
    return _opened(call, key, room, feed, entries, older)


async def _conversation(call: Call, room: Room) -> tuple[list[Turn], Room]:
    """A session's turns as they are now. Raises `MethodError`."""
    talks = call.gateway.talks
    for _ in range(TRIES):
        transcript = room.session_id
        with failures.as_answers():
            log = await talks.conversations.log(room)
            if talks.rooms.find(room.principal, room.key) is room and room.session_id == transcript:
                return talks.conversations.turns(room, log), room
    raise invalid("the session has begun anew meanwhile")


def _opened(call: Call, key: str, room: Room | None, feed: Feed | None, entries: list[Any], older: str | None) -> Json:
    runs = call.gateway.talks.runs.of(room) if room is not None else []
    live = [
        {"runId": run.order.id, "text": rooms.preview_of(run.order.text), "waiting": run.turn is None} for run in runs
    ]
    facts = room.facts if room is not None else {}
    return {
        "key": key,
        "sessionId": room.session_id if room is not None else None,
        "agentId": keys.agent_of(key),
        "title": room.title if room is not None else "",
        "label": facts.get("label"),
        "resumed": False,
        "entries": entries,
        "older": older,
        "feed": feed.id if feed is not None else None,
        "last": feed.last if feed is not None else 0,
        "live": live,
    }


async def chat_older(call: Call, params: Json) -> Json:
    """What came before a cursor."""
    room = naming.room_of(call, params["sessionKey"])
    if room is None:
        raise naming.not_found(params["sessionKey"])
    turns, _ = await _conversation(call, room)
    try:
        entries, older = page(turns, params["before"], hidden(call.caller))
    except LookupError:
        raise invalid("unknown cursor: open the session anew") from None
    return {"entries": entries, "older": older}


def chat_close(call: Call, params: Json) -> Json:
    """Tells nothing more of a session."""
    key = naming.key_of(call, params["sessionKey"])
    return {"ok": True, "closed": call.gateway.watching.end(call.connection, call.caller.principal, key)}


async def chat_steer(call: Call, params: Json) -> Json:
    """Has a message join the turn that is running: `injected`, or why not: `noRun`, `unsupported`."""
    room = naming.room_of(call, params["sessionKey"])
    if room is not None and room.facts.get("sendPolicy") == "deny":
        raise invalid("send blocked by session policy")
    runs = call.gateway.talks.runs.of(room) if room is not None else []
    run = next((run for run in runs if run.turn is not None), None)
    if run is None:
        return {"outcome": "noRun"}
    with failures.as_answers():
        return {"outcome": await call.gateway.talks.steering.steer(run, params["message"], params["idempotencyKey"])}


# ── what can be chosen ────────────────────────────────────────────────────────────────────────────────────────────────


async def session_options(call: Call, params: Json) -> Json:
    """What the agent offers to choose in its session; where that is not open, what it offers in a new one."""
    key, agents = naming.key_of(call, params["sessionKey"]), call.gateway.talks.agents
    room = call.gateway.talks.rooms.find(call.caller.principal, key)
    if room is not None and (session := agents.open_session(room)) is not None:
        return _options(session)
    agent = keys.agent_of(key) if room is None else room.agent
    offers = NOTHING
    if call.caller.has(WRITE) or "offers" in agents.facts.get(agent, {}):
        with suppress(ConnectorError, OSError):
            offers = await agents.offers(agent, call.caller.principal)
    if room is not None:
        offers = choices.elsewhere(offers, room.facts.get("modelOverride"))
    return {"open": False, **offers, "commands": []}


def _options(session: Session) -> Json:
    commands = [choices.command_of(command) for command in session.commands]
    return {"open": True, **choices.offers(session), "commands": commands}


async def session_choose(call: Call, params: Json) -> Json:
    """Chooses in an agent's session, which is opened where it is not; what came of it, as _ars.session.options.

    For admins, as sessions.patch is: a mode may say that nobody is asked any more.
    """
    talks = call.gateway.talks
    key = naming.key_of(call, params["sessionKey"])
    room = talks.rooms.open(call.caller.principal, key, talks.workspace)
    with failures.as_answers():
        session = await talks.agents.session(room)
        try:
            category = await choices.choose(session, params["id"], params["value"])
        except (NotOffered, ValueError) as why:
            raise invalid(str(why)) from None
    _keep(call, room, category, params["value"])
    return _options(session)


def _keep(call: Call, room: Room, category: str | None, value: Any) -> None:
    """What is chosen before each run has to be what was chosen last."""
    talks = call.gateway.talks
    if category == "model":
        standing = choices.names_of_standing(talks.agents.facts.get(room.agent) or {})
        changed = patches.changes(room, {"model": value}, taken=lambda label: False, standing=standing)
    elif category == "thought_level":
        changed = {"thinkingLevel": choices.level_of(value)}
    else:
        return
    room.facts = {name: it for name, it in {**room.facts, **changed}.items() if it is not None}
    talks.rooms.save(room)


# ── how the gateway is ────────────────────────────────────────────────────────────────────────────────────────────────


async def state(call: Call, params: Json) -> Json:
    """How the gateway and its agents are, and what goes on, as far as it is the caller's."""
    gateway, talks, principal = call.gateway, call.gateway.talks, call.caller.principal
    states = talks.agents.states()
    found: Json = {}
    async with anyio.create_task_group() as tasks:
        at_work = [id for id, told in states.items() if told["state"] in AT_WORK]
        tasks.start_soon(_note, found, "models", gateway.checks.models, at_work)
        tasks.start_soon(_note, found, "store", gateway.checks.store)
    leaders = [told["pid"] for told in states.values() if told.get("pid")]
    sizes = await anyio.to_thread.run_sync(gauges.rss_of_groups, leaders)
    agents = [
        {"id": id, "name": kind.name, **states[id], "rssBytes": sizes.get(states[id].get("pid") or 0)}
        for id, kind in talks.agents.kinds.items()
    ]
    callers = [it.caller for it in gateway.hub.connections.values() if it.caller is not None]
    mine = [_client(it, call) for it in callers if it.principal == principal]
    return {
        "ts": now(),
        "version": gateway.version,
        "pid": os.getpid(),
        "uptimeMs": round((gateway.clock() - gateway.started) * 1000),
        "memory": {"rssBytes": gauges.rss()},
        "cpu": {"percent": (gateway.gauges.series["cpuPercent"] or [None])[-1]},
        "agents": [{**it, "model": found["models"].get(it["id"])} for it in agents],
        "store": asdict(found["store"]),
        "runs": [_run(run) for (owner, _), run in talks.runs.live.items() if owner == principal],
        "connections": {"count": len(callers), "pages": gateway.watching.count, "list": mine},
        "sessions": {"count": sum(1 for _ in talks.rooms.of(principal))},
        "questions": sum(it.principal == principal for it in talks.approvals.pending.values()),
        "forms": sum(it.principal == principal for it in talks.forms.pending.values()),
        "series": {"seconds": gauges.SECONDS, **{name: list(it) for name, it in gateway.gauges.series.items()}},
    }


async def _note(found: Json, name: str, ask: Any, *given: Any) -> None:
    found[name] = await ask(*given)


def _run(run: Run) -> Json:
    return {
        "runId": run.order.id,
        "sessionKey": run.order.room.key,
        "agentId": run.order.room.agent,
        "acceptedAtMs": run.entry.accepted,
        "startedAtMs": run.entry.started,
        "waiting": run.turn is None,
    }


def _client(caller: Caller, call: Call) -> Json:
    client = caller.client
    return {
        "client": client["id"],
        "displayName": client.get("displayName"),
        "mode": client["mode"],
        "you": caller.conn_id == call.caller.conn_id,
    }


METHODS = (
    Method("_ars.chat.open", READ, chat_open),
    Method("_ars.chat.older", READ, chat_older),
    Method("_ars.chat.close", READ, chat_close),
    Method("_ars.chat.steer", WRITE, chat_steer),
    Method("_ars.session.options", READ, session_options),
    Method("_ars.session.choose", ADMIN, session_choose),
    Method("_ars.state", READ, state),
)
