"""What a client over HTTP is told of a session's runs: the entries of its feed in the words of the specification.

`token` and `complete` have its bytes; whoever knows these two alone has the whole text. The others say what else goes
on: `thought`, `plan`, `tool`, `usage`, `update`, `tool_call` (to be carried out by the client: not told any more once
its result is there), `tool_result` (it was),
`approval`, `form`, `steer`, `terminal`, and `reset`: what was told of the text before it is void.
"""

import json
from typing import Any, Protocol

from ars_gateway.access.scopes import APPROVALS, WRITE
from ars_gateway.call import Caller
from ars_gateway.errors import UNAVAILABLE
from ars_gateway.http import sse
from ars_gateway.http.errors import (
    AGENT_UNAVAILABLE,
    GATEWAY_UNREACHABLE,
    INTERNAL,
    INVALID_MESSAGE,
    LLM_ERROR,
    LLM_STREAM_INTERRUPTED,
    TOOL_TIMEOUT,
)
from ars_gateway.sessions.feed import Entry
from ars_gateway.talks import failures
from ars_gateway.talks.approvals import DECISIONS
from ars_gateway.talks.runs import RESTART

Json = dict[str, Any]

# What an agent may itself say of why it has failed.
SPECIFIED = {INVALID_MESSAGE, TOOL_TIMEOUT, LLM_ERROR, LLM_STREAM_INTERRUPTED, GATEWAY_UNREACHABLE}
CANCELLED = "cancelled"
# Entries that only those see who may answer.
_QUESTIONS, _FORMS = frozenset({"question", "answered"}), frozenset({"form", "filled"})
# Ends of lines to some who read lines, but not to JSON.
_BREAKS = (("\x85", "\\u0085"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029"))


class Encoding(Protocol):
    """How events are written."""

    media_type: str

    def event(self, name: str, data: Json, id: str) -> str: ...
    def token(self, names: "Names", text: str, id: str) -> str: ...


class Events:
    """As server-sent events, each with the id that it can be taken up after."""

    media_type = sse.EVENTS

    def event(self, name: str, data: Json, id: str) -> str:
        """Any event."""
        return sse.event(name, dumped(data), id)

    def token(self, names: "Names", text: str, id: str) -> str:
        """A piece of the answer."""
        return f'event: token\ndata: {names.token}{dumped(text)}, "is_final": false}}\nid: {id}\n\n'


class Lines:
    """As lines of JSON: the `data` of the events."""

    media_type = sse.LINES

    def event(self, name: str, data: Json, id: str) -> str:
        """Any event."""
        return f"{dumped(data)}\n"

    def token(self, names: "Names", text: str, id: str) -> str:
        """A piece of the answer."""
        return f'{names.token}{dumped(text)}, "is_final": false}}\n'


class Names:
    """What the client calls the session and the message. `token` is how every token of the message begins."""

    __slots__ = ("message_id", "session_id", "token")

    def __init__(self, session_id: str, message_id: str) -> None:
        self.session_id = session_id
        self.message_id = message_id
        self.token = f'{dumped(self.data("assistant_message"))[:-1]}, "token": '

    def data(self, kind: str, /, **more: Any) -> Json:
        """The data of an event."""
        return {"type": kind, "session_id": self.session_id, "message_id": self.message_id, **more}


def dumped(data: Any) -> str:
    """JSON on one line, whatever one takes for the end of a line; spaced as the specification has it."""
    text = json.dumps(data, ensure_ascii=False)
    for found, told in _BREAKS:
        if found in text:
            text = text.replace(found, told)
    return text


def told(entry: Entry, names: Names) -> tuple[str, Json] | None:
    """The name and the data of the event for an entry that is neither text nor an end; None where nothing is told."""
    data = entry.data
    match entry.kind:
        case "thought":
            return "thought", names.data("thought", text=data)
        case "update":
            return _update(data, names)
        case "call":
            return "tool_call", {"type": "tool_call", "session_id": names.session_id, **data}
        case "called":
            return "tool_result", {"type": "tool_result", "session_id": names.session_id, **data}
        case "question":
            return "approval", names.data("approval", **_question(data))
        case "answered":
            answer = {"approval_id": data["id"], "decision": data["decision"], "resolved_by": data["resolvedBy"]}
            picked = {"option_id": data["_ars"]["optionId"]} if "_ars" in data else {}
            return "approval_resolved", names.data("approval_resolved", **answer, **picked)
        case "form":
            form = {"form_id": data["id"], "message": data["message"], "schema": data["requestedSchema"]}
            opens = {"url": data["url"]} if "url" in data else {}
            return "form", names.data("form", **form, **opens)
        case "filled":
            return "form_resolved", names.data("form_resolved", form_id=data["id"], action=data["action"])
        case "steer":
            return "steer", names.data("steer", text=data["text"])
        case "terminal":
            return "terminal", names.data("terminal", terminal_id=data["terminalId"], data=data["data"])
    return None


def hidden_from(caller: Caller) -> frozenset[str]:
    """The kinds of entries that this client is not told: what only those see who may answer it."""
    questions = frozenset() if caller.has(APPROVALS) else _QUESTIONS
    return questions if caller.has(WRITE) else questions | _FORMS


def _update(update: Json, names: Names) -> tuple[str, Json]:
    """An update of the agent: what is known of it by name, the rest as it stands."""
    match update.get("sessionUpdate"):
        case "tool_call" | "tool_call_update":
            return "tool", names.data("tool", call_id=update.get("toolCallId"), update=update)
        case "plan":
            return "plan", names.data("plan", entries=update.get("entries") or [])
        case "usage_update":
            known = {name: update[name] for name in ("used", "size", "cost") if update.get(name) is not None}
            return "usage", names.data("usage", **known)
    return "update", names.data("update", update=update)


def _question(asked: Json) -> Json:
    request = asked["request"]
    more = request.get("_ars") or {}
    shown = {name: more.get(name) for name in ("title", "kind", "paths", "protected", "diffs")}
    offered = more.get("options") or []
    picking = {"deny", *(one.get("decision") for one in offered)}
    return {
        "approval_id": asked["id"],
        "command": request["command"],
        "cwd": request["cwd"],
        **shown,
        "options": [one for one in offered if "optionId" in one],
        "decisions": [decision for decision in DECISIONS if decision in picking],
        "expires_at_ms": asked["expiresAtMs"],
    }


def end_of(state: str, outcome: Json, begun: bool, names: Names) -> tuple[str, Json]:
    """The last event of a message: `complete`, with `stop_reason` where it did not end by itself, or `error`.

    `begun` says whether the agent had been at it.
    """
    reason = outcome.get("stopReason")
    if state == "error":
        return "error", names.data("error", error=error_of(outcome["error"], begun))
    if state == "aborted" and reason == RESTART:
        return "error", names.data("error", error=error_of(failures.INTERRUPTED, begun))
    complete: Json = names.data("assistant_message", is_final=True)
    if state != "ok":
        complete["stop_reason"] = "timeout" if state == "timeout" else CANCELLED
    elif reason:
        complete["stop_reason"] = reason
    return "complete", complete


def error_of(shape: Json, begun: bool) -> Json:
    """A failure (`failures.told`) in the codes of the specification, and ours where it has none."""
    details: Json = dict(shape.get("details") or {})
    code = details.get("code")
    if code not in SPECIFIED:
        code = _code(shape, begun)
    if (wait := shape.get("retryAfterMs")) is not None:
        details["retryAfterMs"] = wait
    return {"code": code, "retryable": shape.get("retryable") is True, "details": details, "message": shape["message"]}


def _code(shape: Json, begun: bool) -> str:
    if shape == failures.INTERRUPTED:
        return LLM_STREAM_INTERRUPTED
    if shape == failures.INTERNAL:
        return INTERNAL
    if shape["code"] == "INVALID_REQUEST":
        return INVALID_MESSAGE
    if shape["code"] != UNAVAILABLE or not begun:
        return AGENT_UNAVAILABLE
    # An agent that ends in the middle can be tried again; one that says that it has failed, cannot.
    return LLM_STREAM_INTERRUPTED if shape.get("retryable") else LLM_ERROR
