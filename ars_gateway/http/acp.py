"""The ACP remote transport over HTTP, so that an editor elsewhere can have an agent here: `Streamable HTTP` of the
protocol's RFD, as the official SDKs speak it.

POST `initialize` opens a connection, which every other request names in `Acp-Connection-Id`; what the editor says is
posted, what the agent says comes as server-sent events: on the connection's stream, or on a session's. Ours goes
further than the RFD: each event has an id, and a GET with `Last-Event-ID` goes on behind it.
"""

import json
import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from acp_wire.framing import NotJson, decode
from ars_gateway.access.scopes import WRITE
from ars_gateway.call import Caller
from ars_gateway.gateway import Gateway
from ars_gateway.http import bodies
from ars_gateway.http.errors import (
    AGENT_UNAVAILABLE,
    CONFLICT,
    INVALID_MESSAGE,
    METHOD_NOT_ALLOWED,
    NOT_ACCEPTABLE,
    NOT_FOUND,
    RATE_LIMITED,
    HttpError,
)
from ars_gateway.http.sign_in import caller_of
from ars_gateway.http.sse import EVENTS, Streamed
from ars_gateway.remote.outlets import Entry, Forgotten, Outlet, Outlets, Reader
from ars_gateway.remote.remote import Ended, Remote, Stuck, Way, is_initialize, is_message, session_of, taken_up
from ars_gateway.remote.remotes import Crowded, NoSuchAgent
from ars_gateway.sessions.keys import MAIN
from connector import AgentNotFound

Json = dict[str, Any]
CONNECTION, SESSION, AGENT = "acp-connection-id", "acp-session-id", "acp-agent"
PATH = "/acp"
# A session's id that can stand in a header; of another one the messages come on the connection's stream.
_SESSION_ID = re.compile(r"[\x21-\x7e]{1,256}")
_EVENT_ID = re.compile(r"(\d{1,9})-(\d{1,18})")
# What both official SDKs name their session for in a header; the one leaves it out where the other does not.
_OF_A_SESSION = frozenset(
    {"session/prompt", "session/cancel", "session/close", "session/set_mode", "session/set_config_option"}
)
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")


class Streams:
    """The way to an editor over HTTP: which message goes on which stream.

    A session has one of its own once the editor has been told its id, has opened that stream, or names it in a header
    when it loads the session. Until then its messages are on the connection's stream; if some have been there, the
    stream that is opened later stays silent, so that their order is kept.
    """

    def __init__(self, gateway: Gateway) -> None:
        self.outlets = Outlets(gateway.limits, gateway.clock)
        self._limits = gateway.limits
        self._own: set[str] = set()
        self._on_connection: set[str] = set()

    @property
    def full(self) -> bool:
        return self.outlets.full

    @property
    def is_read(self) -> bool:
        return self.outlets.any_is_read

    def put(self, message: Json, line: bytes, route: str | None) -> None:
        if "method" in message:
            self._outlet(session_of(message.get("params"))).put(line)
            return
        self._outlet(route).put(line)
        if (opened := session_of(message.get("result"))) is not None:
            self._has_its_own(opened)

    async def room(self) -> None:
        await self.outlets.room()

    def fault(self, now: float) -> str:
        outlets = self.outlets
        outlets.age(now)
        if outlets.full and now - outlets.moved_at > self._limits.remote_stalled_seconds:
            return f"the editor has taken nothing for {self._limits.remote_stalled_seconds:g} s"
        if not outlets.any_is_read and now - outlets.used_at > self._limits.remote_idle_seconds:
            return f"no stream was open for {self._limits.remote_idle_seconds:g} s"
        return ""

    def end(self, why: str, told: bool) -> None:
        if told:
            self.outlets.finish()
        else:
            self.outlets.abandon()

    async def flushed(self) -> None:
        await self.outlets.abandoned.wait()

    def asked(self, message: Json, session: str | None) -> str | None:
        """The stream for the answer to a message of the editor's; `session` is what its header names."""
        if taken_up(message) is not None and session is not None:
            self._has_its_own(session)
        # The RFD has the answer to session/load on the connection's stream. Where the session's is read already it
        # comes there, so that it stays behind what is replayed.
        if message.get("method") == "session/load" and not self.outlets.is_read(session):
            return None
        return session

    def opened(self, session: str | None) -> Outlet | None:
        """The stream that an editor wants to read; None where there are too many."""
        if session is not None and session not in self._on_connection:
            self._has_its_own(session)
        return self.outlets.of(session)

    def _outlet(self, session: str | None) -> Outlet:
        if session in self._own and (found := self.outlets.of(session)) is not None:
            return found
        if session is not None and len(self._on_connection) < self._limits.remote_streams:
            self._on_connection.add(session)
        found = self.outlets.of(None)
        assert found is not None, "it is there from the beginning"
        return found

    def _has_its_own(self, session: str) -> None:
        if _SESSION_ID.fullmatch(session) and len(self._own) < self._limits.remote_streams:
            self._own.add(session)
            self._on_connection.discard(session)


class Events:
    """A stream as server-sent events."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._number = reader.outlet.number

    def ready(self) -> bytes | None:
        """See `sse.Source`."""
        found = self._reader.ready()
        return None if found is None else b"".join(map(self._event, found))

    async def more(self) -> None:
        """See `sse.Source`."""
        await self._reader.more()

    def _event(self, entry: Entry) -> bytes:
        return b"id: %d-%d\ndata: %b\n\n" % (self._number, entry.n, _ascii(entry.data))


class Reading(Streamed):
    """The answer that is a stream."""

    def __init__(self, reader: Reader, stalled: float) -> None:
        super().__init__(Events(reader), stalled=stalled)
        self._reader = reader

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._reader.close()


# ── the requests ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def post(request: Request) -> Response:
    """A message of the editor's: `initialize`, or one for the connection that a header names."""
    caller = caller_of(request, WRITE)
    bodies.is_json(request)
    session = _session(request)
    data = await bodies.read(request, request.app.state.gateway.limits.remote_message_bytes)
    message = _message(data)
    if is_initialize(message):
        if CONNECTION in request.headers:
            raise HttpError(400, INVALID_MESSAGE, "initialize is not allowed on an existing connection")
        return await _initialize(request, caller, message, data)
    remote, streams = _connection(request, caller)
    named = session_of(message.get("params"))
    if session is None and message.get("method") in _OF_A_SESSION:
        raise HttpError(400, INVALID_MESSAGE, "Acp-Session-Id is missing")
    if session is not None and named is not None and session != named:
        raise HttpError(400, INVALID_MESSAGE, "Acp-Session-Id is not the session of the message")
    streams.outlets.used()
    remotes = request.app.state.gateway.remotes
    await remotes.clear(remotes.in_the_way(remote, message))
    try:
        await remote.tell(message, data, streams.asked(message, session))
    except Ended as why:
        raise HttpError(404, NOT_FOUND, str(why)) from None
    except Stuck as why:
        raise HttpError(503, AGENT_UNAVAILABLE, str(why), retryable=True) from None
    return Response(status_code=202)


async def get(request: Request) -> Response:
    """A stream of what the agent says, instead of one that is open already."""
    caller = caller_of(request, WRITE)
    if request.method == "HEAD":  # it would take the stream from whoever reads it
        raise HttpError(405, METHOD_NOT_ALLOWED, "Method Not Allowed", headers={"allow": "DELETE, GET, POST"})
    if not _accepts_events(request.headers.getlist("accept")):
        raise HttpError(406, NOT_ACCEPTABLE, f"only {EVENTS} is offered")
    gateway: Gateway = request.app.state.gateway
    _, streams = _connection(request, caller)
    outlet = streams.opened(_session(request))
    if outlet is None:
        raise HttpError(429, RATE_LIMITED, f"more than {gateway.limits.remote_streams} streams", retryable=True)
    try:
        reader = outlet.read(_last_event(request, outlet))
    except Forgotten:
        raise HttpError(409, CONFLICT, "what came after that event is not kept: load the session again") from None
    return Reading(reader, gateway.limits.remote_stalled_seconds)


async def delete(request: Request) -> Response:
    """The end of a connection, and of its agent."""
    remote, _ = _connection(request, caller_of(request, WRITE))
    remote.dismiss("its editor has closed it")
    return Response(status_code=202)


ROUTES = (
    Route(PATH, post, methods=["POST"]),
    Route(PATH, get, methods=["GET"]),
    Route(PATH, delete, methods=["DELETE"]),
)


def opened(gateway: Gateway, caller: Caller, agent: str, way: Way) -> Remote:
    """A new connection. Raises `HttpError`."""
    try:
        return gateway.remotes.open(caller, gateway.remotes.kind(agent), way)
    except NoSuchAgent:
        why = "no agent of that name serves editors elsewhere: see gateway.remoteAgents"
        raise HttpError(404, NOT_FOUND, why) from None
    except Crowded as why:
        raise HttpError(429, RATE_LIMITED, str(why), retryable=True) from None
    except AgentNotFound as why:
        gateway.log.warning("remote.not_started", why=str(why))
        raise HttpError(503, AGENT_UNAVAILABLE, "the agent cannot be started") from None


async def _initialize(request: Request, caller: Caller, message: Json, data: bytes) -> Response:
    gateway: Gateway = request.app.state.gateway
    agent = request.query_params.get("agent") or request.headers.get(AGENT) or MAIN
    remote = opened(gateway, caller, agent, Streams(gateway))
    try:
        answer = await remote.initialize(message, data)
    except Ended as why:
        raise HttpError(503, AGENT_UNAVAILABLE, str(why), retryable=True) from None
    except TimeoutError:
        late = f"agent {remote.agent} has not answered initialize in time"
        remote.dismiss(late)
        raise HttpError(504, AGENT_UNAVAILABLE, late, retryable=True) from None
    return Response(answer, headers={CONNECTION: remote.id}, media_type="application/json")


# ── what a request says ───────────────────────────────────────────────────────────────────────────────────────────────


def _message(data: bytes) -> Json:
    try:
        message = decode(data)
    except NotJson as why:
        raise HttpError(400, INVALID_MESSAGE, f"the body is {why}") from None
    if isinstance(message, list):
        raise HttpError(501, INVALID_MESSAGE, "JSON-RPC batches are not supported")
    if not is_message(message):
        raise HttpError(400, INVALID_MESSAGE, "the body is no JSON-RPC message")
    found: Json = message
    return found


def _connection(request: Request, caller: Caller) -> tuple[Remote, Streams]:
    gateway: Gateway = request.app.state.gateway
    named = request.headers.getlist(CONNECTION)
    if len(named) != 1:
        raise HttpError(400, INVALID_MESSAGE, "Acp-Connection-Id is missing")
    remote = gateway.remotes.find(named[0], caller.principal)
    if remote is None or not isinstance(remote.way, Streams) or remote.way.outlets.abandoned.is_set():
        raise HttpError(404, NOT_FOUND, "unknown Acp-Connection-Id")
    return remote, remote.way


def _session(request: Request) -> str | None:
    named = request.headers.getlist(SESSION)
    if not named:
        return None
    if len(named) != 1 or not _SESSION_ID.fullmatch(named[0]):
        raise HttpError(400, INVALID_MESSAGE, "Acp-Session-Id is one id of at most 256 visible ASCII characters")
    return named[0]


def _accepts_events(accept: list[str]) -> bool:
    kinds = {it.partition(";")[0].strip().lower() for line in accept for it in line.split(",")}
    return bool(kinds & {EVENTS, "text/*", "*/*"})


def _last_event(request: Request, outlet: Outlet) -> int | None:
    last = request.headers.get("last-event-id")
    if last is None:
        return None
    found = _EVENT_ID.fullmatch(last)
    if found is None:
        raise HttpError(400, INVALID_MESSAGE, "Last-Event-ID is no id of an event of ours")
    if int(found[1]) != outlet.number or int(found[2]) > outlet.sent:
        raise HttpError(409, CONFLICT, "Last-Event-ID is of no event of this stream")
    return int(found[2])


def _ascii(line: bytes) -> bytes:
    """The same JSON on one line, in ASCII: the Python SDK decodes what it reads piece by piece, and a character that is
    cut in two is none to it."""
    if b"\r" in line:  # between two tokens, where it means nothing; to a reader of events it would end the line
        line = line.replace(b"\r", b" ")
    if line.isascii():
        return line
    return _NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], line.decode("utf-8", "surrogatepass")).encode()
