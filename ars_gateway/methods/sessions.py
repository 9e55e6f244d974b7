"""sessions.*: which sessions there are, what is chosen in them, and their beginnings and ends."""

import anyio
import orjson

from ars_gateway.access.scopes import ADMIN, READ
from ars_gateway.call import Call, Json, Method
from ars_gateway.errors import invalid
from ars_gateway.sessions import choices, history, keys, naming, patches, rooms
from ars_gateway.sessions.ledger import now
from ars_gateway.sessions.rooms import Room
from ars_gateway.talks import failures
from event_log import LogError

PREVIEWS = 64
PREVIEW_ITEMS = 12
PREVIEW_CHARACTERS = 240
COMPACT_LINES = 400
# How long the agent may take to let go of a session that is to end: longer than it is given to obey a cancel.
QUIET_SECONDS = 10.0


def sessions_list(call: Call, params: Json) -> Json:
    """The caller's sessions, the newest first."""
    talks, lists = call.gateway.talks, call.gateway.talks.lists
    key = orjson.dumps([call.caller.principal, params], option=orjson.OPT_SORT_KEYS)
    # What was active lately changes by itself.
    made = None if "activeMinutes" in params else lists.get(key)
    if made is None:
        made = lists.put(key, [_row(room, params) for room in _chosen(call, params)])
    count, sessions = made
    path, defaults = talks.index_path, talks.defaults()
    return {"ts": now(), "path": path, "count": count, "defaults": defaults, "sessions": sessions}


def _chosen(call: Call, params: Json) -> list[Room]:
    since = now() - params["activeMinutes"] * 60_000 if "activeMinutes" in params else 0
    search = (params.get("search") or "").strip().lower()
    found = [
        room
        for room in call.gateway.talks.rooms.of(call.caller.principal)
        if room.updated >= since and _fits(room, params) and (not search or search in _searched(room))
    ]
    found.sort(key=lambda room: (room.updated, room.saved), reverse=True)
    return found[: params["limit"]] if "limit" in params else found


def _fits(room: Room, params: Json) -> bool:
    if room.key == "global" and not params.get("includeGlobal"):
        return False
    if room.key == "unknown" and not params.get("includeUnknown"):
        return False
    facts = room.facts
    return (
        ("label" not in params or facts.get("label") == params["label"])
        and ("spawnedBy" not in params or facts.get("spawnedBy") == params["spawnedBy"])
        and ("agentId" not in params or room.agent == keys.agent_id(params["agentId"]))
    )


def _searched(room: Room) -> str:
    return "\n".join((room.key, room.session_id, room.facts.get("label") or "", room.title)).lower()


def _row(room: Room, params: Json) -> Json:
    row = rooms.row(room)
    if params.get("includeDerivedTitles") and (title := room.title):
        row["derivedTitle"] = title
    if params.get("includeLastMessage") and room.preview:
        row["lastMessagePreview"] = room.preview
    return row


async def sessions_preview(call: Call, params: Json) -> Json:
    """What was said last in up to 64 sessions."""
    limit, characters = params.get("limit", PREVIEW_ITEMS), params.get("maxChars", PREVIEW_CHARACTERS)
    return {
        "ts": now(),
        "previews": [await _preview(call, key, limit, characters) for key in params["keys"][:PREVIEWS]],
    }


async def _preview(call: Call, key: str, limit: int, characters: int) -> Json:
    try:
        canonical = keys.canonical(key)
    except keys.KeyInvalid:
        return {"key": key, "status": "error", "items": []}
    room = call.gateway.talks.rooms.find(call.caller.principal, canonical)
    if room is None:
        return {"key": key, "status": "missing", "items": []}
    try:
        messages = await call.gateway.talks.transcripts.messages(room)
    except LogError:
        return {"key": key, "status": "error", "items": []}
    items = history.previews(messages, limit, characters)
    return {"key": key, "status": "ok" if items else "empty", "items": items}


def sessions_resolve(call: Call, params: Json) -> Json:
    """The canonical key of the one session that has that key, id or label."""
    named = [name for name in ("key", "sessionId", "label") if params.get(name)]
    if not named:
        raise invalid("Either key, sessionId, or label is required")
    if len(named) > 1:
        raise invalid("Provide either key, sessionId, or label (not multiple)")
    wanted = params[named[0]]
    if named == ["key"]:
        room = naming.room_of(call, wanted)
    elif named == ["sessionId"]:
        room = naming.room_by_id(call, wanted)
    else:
        found = _chosen(call, {**params, "label": wanted.strip()})
        if len(found) > 1:
            raise invalid(f"Multiple sessions found with label: {wanted}")
        room = found[0] if found else None
        if room is None:
            raise invalid(f"No session found with label: {wanted}")
    if room is None:
        raise naming.not_found(wanted)
    return {"ok": True, "key": room.key}


def sessions_patch(call: Call, params: Json) -> Json:
    """Changes what is chosen in a session, which is made where there was none; null clears."""
    talks, principal = call.gateway.talks, call.caller.principal
    key = naming.key_of(call, params["key"])
    known = talks.rooms.find(principal, key)
    room = known or Room(principal, key, "", 0, keys.agent_of(key), "")

    def taken(label: str) -> bool:
        return any(it.facts.get("label") == label and it.key != key for it in talks.rooms.of(principal))

    standing = choices.names_of_standing(talks.agents.facts.get(room.agent) or {})
    try:
        changed = patches.changes(room, params, taken=taken, standing=standing)
    except patches.PatchInvalid as why:
        raise invalid(str(why)) from None
    room = known or talks.rooms.open(principal, key, talks.workspace)
    facts = {**room.facts, **changed}
    room.facts = {name: value for name, value in facts.items() if value is not None}
    talks.rooms.save(room)
    return {"ok": True, "path": talks.index_path, "key": key, "entry": room.entry()}


async def sessions_reset(call: Call, params: Json) -> Json:
    """Begins a session anew: its runs end, the next prompt begins another transcript."""
    talks = call.gateway.talks
    key = naming.key_of(call, params["key"])
    with anyio.CancelScope(shield=True):  # a client that leaves leaves nothing half done
        if (room := talks.rooms.find(call.caller.principal, key)) is not None:
            await _end(call, room)
        # Meanwhile somebody may have deleted it.
        room = talks.rooms.open(call.caller.principal, key, talks.workspace)
        talks.feeds.gone(room.session_id, "reset")
        talks.rooms.renew(room)
    entry = talks.rooms.open(call.caller.principal, key, talks.workspace).entry()
    return {"ok": True, "key": key, "entry": entry}


async def sessions_delete(call: Call, params: Json) -> Json:
    """Forgets a session and, unless told otherwise, its transcript."""
    talks = call.gateway.talks
    key = naming.key_of(call, params["key"])
    if key == keys.main_key(keys.agent_of(key)):
        raise invalid(f"Cannot delete the main session ({key}).")
    room = talks.rooms.find(call.caller.principal, key)
    if room is None:
        return {"ok": True, "key": key, "deleted": False, "archived": []}
    with anyio.CancelScope(shield=True):
        await _end(call, room)
        if talks.rooms.find(call.caller.principal, key) is room:
            talks.feeds.gone(room.session_id, "deleted")
            talks.rooms.remove(room)
            if params.get("deleteTranscript", True):
                await talks.transcripts.forget(room)
    return {"ok": True, "key": key, "deleted": True, "archived": []}


async def _end(call: Call, room: Room) -> None:
    talks = call.gateway.talks
    runs = talks.runs.of(room)
    talks.runs.abort(runs, "rpc")
    with anyio.move_on_after(QUIET_SECONDS):
        for run in runs:
            await run.quiet.wait()
    await talks.agents.close_session(room)


async def sessions_compact(call: Call, params: Json) -> Json:
    """Lets the session's agent make its conversation shorter, where the transcript has more than `maxLines` messages.

    The transcript keeps all of it: what is shorter is what the agent is told.
    """
    talks = call.gateway.talks
    key = naming.key_of(call, params["key"])
    room = talks.rooms.find(call.caller.principal, key)
    with failures.as_answers():
        messages = await talks.transcripts.messages(room) if room is not None else []
    if room is None or not messages:
        return {"ok": True, "key": key, "compacted": False, "reason": "no transcript"}
    most = params.get("maxLines", COMPACT_LINES)
    if len(messages) <= most:
        return {"ok": True, "key": key, "compacted": False, "kept": len(messages)}
    with failures.as_answers():
        reason = await talks.agents.compact(room)
    if reason:
        return {"ok": True, "key": key, "compacted": False, "kept": len(messages), "reason": reason}
    return {"ok": True, "key": key, "compacted": True, "kept": len(messages)}


METHODS = (
    Method("sessions.list", READ, sessions_list),
    Method("sessions.preview", READ, sessions_preview),
    Method("sessions.resolve", ADMIN, sessions_resolve, advertised=False),
    Method("sessions.patch", ADMIN, sessions_patch),
    Method("sessions.reset", ADMIN, sessions_reset),
    Method("sessions.delete", ADMIN, sessions_delete),
    Method("sessions.compact", ADMIN, sessions_compact),
)
