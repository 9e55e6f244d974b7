"""The doors of the ARS specification: a message to an agent, its answer as it comes, and the tools that a client does.

A `session_id` is a session key as WebSocket clients have it, case aside: `agent:<id>:<name>`, or a name alone, of the
agent that `agent` names (`main`). (session_id, message_id) is one run, however often it is sent: it goes on when its
client leaves, and who sends it again follows it.
"""

import contextlib
from collections.abc import Callable, Container, Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ars_gateway.access.scopes import APPROVALS, READ, WRITE
from ars_gateway.call import Caller
from ars_gateway.gateway import Gateway
from ars_gateway.http.agent_events import Encoding, Events, Lines, Names, hidden_from
from ars_gateway.http.bodies import json_body
from ars_gateway.http.errors import (
    CONFLICT,
    FORBIDDEN,
    GATEWAY_UNREACHABLE,
    INVALID_MESSAGE,
    NOT_ACCEPTABLE,
    NOT_FOUND,
    HttpError,
    json_response,
)
from ars_gateway.http.following import Following, View, reply, run_of, watch
from ars_gateway.http.openapi import problems
from ars_gateway.http.sign_in import caller_of
from ars_gateway.http.sse import EVENTS, LINES, Streamed, last_event_id
from ars_gateway.sessions import keys
from ars_gateway.sessions.feed import Feed
from ars_gateway.sessions.ledger import Entry, OtherBody, body_of
from ars_gateway.sessions.rooms import Room
from ars_gateway.talks import approvals, failures, hands
from ars_gateway.talks.runs import Order, Run
from connector import ConnectorError

Json = dict[str, Any]

METHOD = "agent/message"
RESULT_BYTES = 8 * 1024 * 1024


async def message(request: Request) -> Response:
    """Begins a run; the answer is followed by `GET /agent/stream`, or by a WebSocket."""
    caller = caller_of(request, WRITE)
    _begin(request.app.state.gateway, caller, await json_body(request, "AgentMessage"))
    return json_response({"status": "accepted"})


async def message_stream(request: Request) -> Response:
    """Begins a run, or finds the one that has begun, and tells it to its end."""
    encoding = _encoding(request)
    caller = caller_of(request, WRITE)
    body = await json_body(request, "AgentMessage")
    gateway: Gateway = request.app.state.gateway
    room, run, entry = _begin(gateway, caller, body)
    names = Names(body["session_id"], body["message"]["message_id"])
    return _reply(request, caller, room, run, entry, names, encoding)


async def stream(request: Request) -> Response:
    """Tells all that happens in a session, or with `message_id` one message to its end."""
    encoding = _encoding(request)
    gateway: Gateway = request.app.state.gateway
    caller = caller_of(request, READ)
    asked = {name: it for name, it in request.query_params.items() if name in ("session_id", "agent", "message_id")}
    if wrong := problems("AgentStreamQuery", asked):
        raise HttpError(400, INVALID_MESSAGE, f"invalid query: {'; '.join(wrong)}", details={"problems": wrong})
    room = _room(gateway, caller, asked)
    if (named := asked.get("message_id")) is not None:
        found = gateway.talks.runs.find(caller.principal, run_of(room, named))
        if found is None:
            raise _unknown("message", named)
        run, entry = (found, found.entry) if isinstance(found, Run) else (None, found)
        return _reply(request, caller, room, run, entry, Names(asked["session_id"], named), encoding)
    view = _view(gateway, caller, room, gateway.talks.feeds.of(room.session_id), encoding)
    source = watch(view, gateway.talks.runs, room, asked["session_id"], last_event_id(request))
    return _streamed(request, source, encoding)


async def tool_result(request: Request) -> Response:
    """What a client's tool has come to. What the model reads: see `hands`."""
    caller = caller_of(request, WRITE)
    body = await json_body(request, "AgentToolResult", RESULT_BYTES)
    gateway: Gateway = request.app.state.gateway
    room = _room(gateway, caller, body)
    said = {name: it for name, it in body.items() if name in ("result", "error")}
    try:
        gateway.talks.hands.answer(room, body["call_id"], said, may_approve=caller.has(APPROVALS))
    except hands.Unknown:
        raise _unknown("call", body["call_id"]) from None
    except hands.Twice:
        raise HttpError(409, CONFLICT, "this call has another result already") from None
    return json_response({"status": "received"})


async def approval(request: Request) -> Response:
    """Answers what an agent asks to be permitted, by a decision or by one of the options; the first answer counts."""
    caller = caller_of(request, APPROVALS)
    body = await json_body(request, "AgentApproval")
    gateway: Gateway = request.app.state.gateway
    room, asked = _room(gateway, caller, body), gateway.talks.approvals
    id, decision, option = body["approval_id"], body.get("decision"), body.get("option_id")
    _asked_here(gateway, room, asked.pending, "approval", id)

    def same(before: approvals.Unknown) -> bool:
        return before.decision == decision if option is None else before.option == option

    with _answering("approval", id, "decision", same):
        if option is None:
            asked.resolve(caller.principal, id, body["decision"], by=_name(caller), who=caller.who)
        else:
            asked.choose(caller.principal, id, option, by=_name(caller), who=caller.who)
    return json_response({"status": "received"})


async def form(request: Request) -> Response:
    """Answers a form that an agent wants filled; the first answer counts."""
    caller = caller_of(request, WRITE)
    body = await json_body(request, "AgentForm")
    gateway: Gateway = request.app.state.gateway
    room, asked = _room(gateway, caller, body), gateway.talks.forms
    id, action, content = body["form_id"], body["action"], body.get("content")
    _asked_here(gateway, room, asked.pending, "form", id)
    with _answering("form", id, "action", lambda why: asked.was_answered(caller.principal, id, action, content)):
        asked.resolve(caller.principal, id, action, content, by=_name(caller), may_approve=caller.has(APPROVALS))
    return json_response({"status": "received"})


def _asked_here(gateway: Gateway, room: Room, pending: Container[str], what: str, id: str) -> None:
    """Raises `HttpError` where that waits in another session: to this one it is unknown."""
    if id in pending and not gateway.talks.asked_in(room, id):
        raise _unknown(what, id)


@contextlib.contextmanager
def _answering(what: str, id: str, said: str, same: Callable[[approvals.Unknown], bool]) -> Iterator[None]:
    """An answer to what waits, as an HTTP answer where it is not taken; the `same` one once more is as good as taken.

    What was answered before is told under the name `said`.
    """
    try:
        yield
    except approvals.Forbidden as why:
        raise HttpError(403, FORBIDDEN, str(why), details={"scope": APPROVALS}) from None
    except approvals.Refused as why:
        raise HttpError(400, INVALID_MESSAGE, str(why)) from None
    except approvals.Unknown as why:
        if not why.decided:
            raise _unknown(what, id) from None
        if not same(why):
            details = {said: why.decision, "resolved_by": why.by}
            details |= {} if why.option is None else {"option_id": why.option}
            raise HttpError(409, CONFLICT, "it was answered already", details=details) from None


async def abort(request: Request) -> Response:
    """Ends a message's run, or all of a session, those that wait too."""
    caller = caller_of(request, WRITE)
    body = await json_body(request, "AgentAbort")
    gateway: Gateway = request.app.state.gateway
    room = _room(gateway, caller, body)
    going = gateway.talks.runs.of(room)
    if (named := body.get("message_id")) is not None:
        going = [run for run in going if run.order.id == run_of(room, named)]
    return json_response({"status": "aborted", "runs": len(gateway.talks.runs.abort(going, "rpc"))})


ROUTES = (
    Route("/agent/message", message, methods=["POST"]),
    Route("/agent/message/stream", message_stream, methods=["POST"]),
    Route("/agent/stream", stream, methods=["GET"]),
    Route("/agent/tool_result", tool_result, methods=["POST"]),
    Route("/agent/approval", approval, methods=["POST"]),
    Route("/agent/form", form, methods=["POST"]),
    Route("/agent/abort", abort, methods=["POST"]),
)


# ── inside ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _begin(gateway: Gateway, caller: Caller, body: Json) -> tuple[Room, Run | None, Entry]:
    """The run of a message, begun where there was none. Raises `HttpError`."""
    room = _room(gateway, caller, body, opened=True)
    if room.facts.get("sendPolicy") == "deny":
        raise HttpError(403, FORBIDDEN, "send blocked by session policy")
    said, tools = body["message"], frozenset(body.get("tools") or ())
    order = Order(
        principal=caller.principal,
        id=run_of(room, said["message_id"]),
        method=METHOD,
        body=body_of(METHOD, {"content": said["content"], "tools": sorted(tools)}),
        room=room,
        key=room.key,
        blocks=[{"type": "text", "text": said["content"]}],
        tools=tools,
        forms=body.get("forms", False),
    )
    try:
        run, entry, _ = gateway.talks.runs.start(order)
    except OtherBody:
        raise HttpError(409, CONFLICT, "another message of this session had that message_id") from None
    except ConnectorError as why:
        shape = failures.told(why)
        raise HttpError(503, GATEWAY_UNREACHABLE, shape["message"], retryable=shape["retryable"]) from None
    return room, run, entry


def _room(gateway: Gateway, caller: Caller, named: Json, *, opened: bool = False) -> Room:
    """The session that a client names, made where there is none and it may be (`opened`). Another principal's is as
    unknown. Raises `HttpError`."""
    talks, session_id = gateway.talks, named["session_id"]
    try:
        key = keys.canonical(session_id, keys.agent_id(named.get("agent") or keys.MAIN))
    except keys.KeyInvalid as why:
        raise HttpError(400, INVALID_MESSAGE, str(why)) from None
    agent = keys.agent_of(key)
    if agent not in talks.agents.kinds:
        raise _unknown("agent", agent)
    if named.get("agent") and keys.agent_id(named["agent"]) != agent:
        raise HttpError(409, CONFLICT, f'the session {session_id} is of the agent "{agent}"')
    room = talks.rooms.find(caller.principal, key)
    if room is None and opened:
        room = talks.rooms.open(caller.principal, key, talks.workspace)
    if room is None:
        raise _unknown("session", session_id)
    return room


def _reply(
    request: Request, caller: Caller, room: Room, run: Run | None, entry: Entry, names: Names, encoding: Encoding
) -> Response:
    gateway: Gateway = request.app.state.gateway
    feed = run.feed if run is not None else gateway.talks.feeds.of(entry.session_id)
    view = _view(gateway, caller, room, feed, encoding)
    return _streamed(request, reply(view, run, entry, names, last_event_id(request)), encoding)


def _view(gateway: Gateway, caller: Caller, room: Room, feed: Feed, encoding: Encoding) -> View:
    return View(feed, encoding, gateway.talks.hands.waits(room), hidden_from(caller))


def _streamed(request: Request, source: Following, encoding: Encoding) -> Response:
    return Streamed(source, encoding.media_type, stalled=request.app.state.gateway.limits.stalled_seconds)


def _encoding(request: Request) -> Encoding:
    """What the client accepts: events where it does not say. Raises `HttpError`."""
    accepted = ",".join(request.headers.getlist("accept")) or "*/*"
    for one in (it.partition(";")[0].strip().lower() for it in accepted.split(",")):
        if one == LINES:
            return Lines()
        if one in (EVENTS, "text/*", "*/*"):
            return Events()
    raise HttpError(406, NOT_ACCEPTABLE, f"the answer is {EVENTS} or {LINES}")


def _name(caller: Caller) -> str:
    return str(caller.client["displayName"] or caller.client["id"])


def _unknown(what: str, name: str) -> HttpError:
    return HttpError(404, NOT_FOUND, f"unknown {what}: {name}")
