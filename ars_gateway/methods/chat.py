"""chat.*: what a person says to an agent, what was said, and stopping it."""

import base64
import binascii
from typing import Any

from ars_gateway.access.scopes import ADMIN, READ, WRITE
from ars_gateway.call import Call, Method
from ars_gateway.errors import MethodError, invalid
from ars_gateway.sessions import choices, history, naming
from ars_gateway.sessions.ledger import Entry, OtherBody, body_of
from ars_gateway.talks import failures
from ars_gateway.talks.runs import Order, Run
from connector import ConnectorError

Json = dict[str, Any]

STOP_WORDS = frozenset({"/stop", "stop", "esc", "abort", "wait", "exit", "interrupt"})
SURFACE = "webchat"
HISTORY_MESSAGES = 200
HISTORY_BYTES = 6 * 1024 * 1024
ATTACHMENT_BYTES = 5 * 1024 * 1024


def chat_send(call: Call, params: Json) -> Json:
    """Begins a run, or says how the one with that key is; a word that stops acts as chat.abort."""
    key = naming.key_of(call, params["sessionKey"])
    room = call.gateway.talks.rooms.find(call.caller.principal, key)
    if params["message"].strip().lower() in STOP_WORDS:
        runs = call.gateway.talks.runs.of(room) if room is not None else []
        return aborted(call.gateway.talks.runs.abort(runs, "stop"))
    if room is not None and room.facts.get("sendPolicy") == "deny":
        raise invalid("send blocked by session policy")
    blocks = prompt(params)
    if room is None:
        room = call.gateway.talks.rooms.open(call.caller.principal, key, call.gateway.talks.workspace)
    order = Order(
        principal=call.caller.principal,
        id=params["idempotencyKey"],
        method="chat.send",
        body=body_of("chat.send", params),
        room=room,
        key=params["sessionKey"],
        blocks=blocks,
        thinking=choices.level_of(params.get("thinking") or ""),
        seconds=(params.get("timeoutMs") or 0) / 1000 or None,
        surface=SURFACE,
    )
    run, entry, begun = start(call, order)
    if begun:
        return {"runId": order.id, "status": "started"}
    if run is not None:
        return {"runId": order.id, "status": "in_flight"}
    if entry.state == "error":
        raise failed(entry)
    return {"runId": order.id, "status": entry.state}


def start(call: Call, order: Order) -> tuple[Run | None, Entry, bool]:
    """`Runs.start`, with whether the run is new. Raises `MethodError`."""
    try:
        return call.gateway.talks.runs.start(order)
    except OtherBody:
        raise invalid("idempotencyKey was used for another request") from None
    except ConnectorError as why:
        raise failures.error(failures.told(why)) from None


def failed(entry: Entry) -> MethodError:
    """The answer for a run that has failed."""
    shape = entry.outcome["error"]
    error = failures.error(shape)
    error.payload = {"runId": entry.id, "status": "error", "summary": shape["message"]}
    return error


def prompt(params: Json, *, front: str | None = None) -> list[Json]:
    """The content blocks of a message and its attachments; `front` is said first, not shown. Raises `MethodError`."""
    blocks = [_behind(front)] if front else []
    blocks.append({"type": "text", "text": params["message"]})
    return blocks + [_attached(one) for one in params.get("attachments") or ()]


def _attached(attachment: Any) -> Json:
    content = attachment.get("content") if isinstance(attachment, dict) else None
    if not isinstance(content, str):
        raise invalid("attachments need content: base64 text")
    name, kind = attachment.get("fileName"), attachment.get("mimeType")
    data = content.partition(",")[2] if content.startswith("data:") else content
    try:
        size = len(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        raise invalid(f"attachment {name or ''}: invalid base64 content") from None
    if size > ATTACHMENT_BYTES:
        raise invalid(f"attachment {name or ''}: {size} bytes exceed {ATTACHMENT_BYTES}")
    mime = kind if isinstance(kind, str) else "application/octet-stream"
    if mime.startswith("image/"):
        return {"type": "image", "mimeType": mime, "data": data}
    if mime.startswith("audio/"):
        return {"type": "audio", "mimeType": mime, "data": data}
    resource = {"uri": f"attachment:{name or 'unnamed'}", "mimeType": mime, "blob": data}
    return {"type": "resource", "resource": resource}


def _behind(text: str) -> Json:
    return {"type": "text", "text": text, "_meta": {history.BEHIND: True}}


async def chat_history(call: Call, params: Json) -> Json:
    """The last messages of a session, as many as fit in 6 MB."""
    room = naming.room_of(call, params["sessionKey"])
    if room is None:
        return {"sessionKey": params["sessionKey"], "messages": [], "thinkingLevel": "off"}
    with failures.as_answers():
        messages = await call.gateway.talks.transcripts.messages(room)
    messages = messages[-(params.get("limit") or HISTORY_MESSAGES) :]
    return {
        "sessionKey": params["sessionKey"],
        "sessionId": room.session_id,
        "messages": history.newest(messages, HISTORY_BYTES),
        "thinkingLevel": room.facts.get("thinkingLevel", "off"),
    }


def chat_abort(call: Call, params: Json) -> Json:
    """Ends a run, or all runs of a session, those that wait too."""
    room = naming.room_of(call, params["sessionKey"])
    runs = call.gateway.talks.runs.of(room) if room is not None else []
    if (wanted := params.get("runId")) is not None:
        run = call.gateway.talks.runs.live.get((call.caller.principal, wanted))
        if run is not None and run.order.room is not room:
            raise invalid("runId does not match sessionKey")
        runs = [run] if run is not None else []
    return aborted(call.gateway.talks.runs.abort(runs, "rpc"))


def aborted(runs: list[str]) -> Json:
    """The answer of what stops runs."""
    return {"ok": True, "aborted": bool(runs), "runIds": runs}


async def chat_inject(call: Call, params: Json) -> Json:
    """Puts a message into a session; its agent is told of it with the next prompt."""
    room = naming.room_of(call, params["sessionKey"])
    if room is None:
        raise invalid("session not found")
    label = params.get("label")
    text = f"[{label}]\n\n{params['message']}" if label else params["message"]
    with failures.as_answers():
        message = await call.gateway.talks.transcripts.inject(room, text)
    injected = message.pop("id")
    room.aside.append(text)
    call.gateway.talks.rooms.save(room)
    payload = {"runId": f"inject-{injected}", "sessionKey": params["sessionKey"], "seq": 0, "state": "final"}
    call.gateway.talks.tell("chat", {**payload, "message": message}, principal=call.caller.principal)
    if (feed := call.gateway.talks.feeds.known(room.session_id)) is not None:
        feed.add("", "injected", {"text": text})
    return {"ok": True, "messageId": injected}


METHODS = (
    Method("chat.send", WRITE, chat_send),
    Method("chat.history", READ, chat_history),
    Method("chat.abort", WRITE, chat_abort),
    Method("chat.inject", ADMIN, chat_inject, advertised=False),
)
