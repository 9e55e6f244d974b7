"""An agent at work for one editor over the network: a process of its own, and its messages on their way.

The editor is the hands: files, terminals and permissions are its own. What its agent says is passed on as it stands;
what it says to its agent is looked at first, as nothing that it names may start a program on this machine, and no
session may be touched but those that its principal has begun here (`owned`); of a list of sessions only those are told.
"""

import contextlib
import secrets
import sqlite3
from collections.abc import Hashable
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import anyio

from acp_wire.errors import INTERNAL_ERROR, INVALID_PARAMS, NOT_FOUND, ConnectionClosed
from acp_wire.framing import BOM, Lines, LineTooLong, NotJson, StreamUnusable, decode, encode
from ars_gateway.call import Caller
from ars_gateway.talks.agents import Kind
from connector import VENDORS, environment
from connector.noise import Noise
from connector.process import Command, spawn
from connector.secrets import Secrets

if TYPE_CHECKING:
    from ars_gateway.gateway import Gateway

Json = dict[str, Any]
INITIALIZE = "initialize"
GATEWAY_ENDS = "the gateway ends"
# What its sessions are kept in: those of one principal are not another one's.
SESSIONS = "remote"
# How much may wait for the agent before its editor has to, and how long its exit may lag behind the end of its stdout.
UNREAD_BYTES = 1024 * 1024
EXIT_SECONDS = 0.5
_UNREADABLE = {"code": INVALID_PARAMS, "message": "nested too deep"}
# Requests that may name MCP servers: a command among them would run here, not where the editor is.
_OPENING = frozenset({"session/new", "session/load", "session/resume", "session/fork"})
_BEGINNING = frozenset({"session/new", "session/fork"})
# Those that take up a session which another process may still have open.
_REATTACHING = frozenset({"session/load", "session/resume"})


class Asked(NamedTuple):
    """A request of the editor's that its agent has not answered; `route` is for its answer."""

    id: Any
    route: str | None
    method: str
    session: str | None


class Ended(Exception):
    """The connection is over; the text says why."""


class Stuck(Exception):
    """The agent takes nothing any more."""


class Way(Protocol):
    """How messages get to the editor."""

    @property
    def full(self) -> bool:
        """Whether the agent had better wait."""

    @property
    def is_read(self) -> bool:
        """Whether the editor is there, as far as one can see."""

    def put(self, message: Json, line: bytes, route: str | None) -> None:
        """One message of the agent's. Of an answer `route` is what was given with its request."""

    async def room(self) -> None:
        """Returns when it is not full, or over."""

    def fault(self, now: float) -> str:
        """Why the connection has to end, if it has."""

    def end(self, why: str, told: bool) -> None:
        """Nothing more will be put. Where the editor is to be `told`, it gets what waits first; may be called again
        when that has taken long enough."""

    async def flushed(self) -> None:
        """Returns when nothing waits any more after `end`."""


class Remote:
    """One connection. `run` serves it until the end; `id` is known to the editor alone."""

    def __init__(self, gateway: "Gateway", caller: Caller, kind: Kind, way: Way) -> None:
        """Starts the agent. Raises `AgentNotFound`."""
        self.id = secrets.token_urlsafe(32)
        self.principal = caller.principal
        self.device_id = caller.device_id
        self.agent = kind.id
        self.way = way
        self.why = ""
        # Its agent has these open, or had them when it ended, which is over once `gone` is set.
        self.sessions: set[str] = set()
        self.gone = anyio.Event()
        self._gateway, self._owned = gateway, gateway.remotes.owned
        self._ours = kind.vendor.name == VENDORS["ars"].name
        command = _command(gateway, caller, kind)
        self._hidden = Secrets({**environment.inherited(command.passed_on), **command.env})
        self._process = spawn(command, cwd=gateway.talks.workspace)
        self._lines = Lines(gateway.limits.remote_message_bytes)
        self._noise = Noise(self._hidden.hide, self._note)
        self._pending: dict[Hashable, Asked] = {}
        self._first: Hashable = None
        self._answer = b""
        self._answered = anyio.Event()
        self._turn = anyio.Lock()
        self._over = anyio.Event()
        self._note("remote.opened", {"principal": caller.principal, "client": caller.client.get("id")})

    # ── to the agent ────────────────────────────────────────────────────────────────────────────────────────────────

    async def initialize(self, message: Json, data: bytes) -> bytes:
        """The agent's answer to the first request. Raises `Ended`, and TimeoutError where none comes."""
        self._first = key_of(message)
        self.write(message, data, None)
        with anyio.fail_after(self._gateway.limits.remote_start_seconds):
            await self._answered.wait()
        if not self._answer:
            raise Ended(self.why)
        return self._answer

    async def tell(self, message: Json, data: bytes, route: str | None) -> None:
        """A message of the editor's, once the agent has taken those before it. Raises `Ended` and `Stuck`."""
        with anyio.move_on_after(self._gateway.limits.remote_stalled_seconds):
            async with self._turn:
                with contextlib.suppress(ConnectionClosed):  # `write` says so, when it is known why
                    await self._process.stream.drain(UNREAD_BYTES)
                self.write(message, data, route)
                return
        raise Stuck("the agent takes nothing any more")

    def write(self, message: Json, data: bytes, route: str | None) -> None:
        """A message of the editor's, however much waits for the agent. Raises `Ended`."""
        if self.why:
            raise Ended(self.why)
        line, session = _line_of(message, data), session_of(message.get("params"))
        if "method" in message:
            key = key_of(message)
            if error := _UNREADABLE if line is None else self._refusal(message, session):
                if key is not None:
                    self._put_error(message["id"], error, route)
                return
            if key is not None:
                self._pending[key] = Asked(message["id"], route, message["method"], session)
                self._has_open(taken_up(message))
        try:
            self._process.stream.write(line or b"")
        except ConnectionClosed:
            raise Ended(f"agent {self.agent} has ended") from None

    @property
    def unread(self) -> int:
        """Bytes that the agent has not taken."""
        return self._process.stream.buffered

    async def taken(self) -> None:
        """Returns when the agent has taken all, or is gone."""
        try:
            await self._process.stream.drain()
        except ConnectionClosed:
            return

    def _refusal(self, message: Json, session: str | None) -> Json | None:
        if len(self._pending) >= self._gateway.limits.remote_pending:
            return {"code": INTERNAL_ERROR, "message": "too many requests wait for the agent's answers"}
        if not self._ours and message["method"] in _OPENING and _names_a_program(message.get("params")):
            why = "an MCP server on stdio would run where the agent is, not where the editor is: only http and sse"
            return {"code": INVALID_PARAMS, "message": why}
        if session is not None and not self._is_own(session):
            return {"code": NOT_FOUND, "message": "there is no such session of yours"}
        return None

    # ── from the agent ──────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Carries messages until the connection is over; then the agent is ended, and nothing of it is left."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._follow_exit)
                tasks.start_soon(self._serve)
                await self._over.wait()
                tasks.cancel_scope.cancel()
        finally:
            self.close(GATEWAY_ENDS)
            with anyio.CancelScope(shield=True):
                exit = await self._process.stop()
            self.gone.set()
            tail = self._hidden.hide(self._process.stderr_tail()) if exit is None or exit.code != 0 else ""
            self._note("remote.closed", {"why": self.why, "exit": str(exit), **({"stderr": tail} if tail else {})})
        with anyio.move_on_after(self._gateway.limits.remote_linger_seconds):
            await self.way.flushed()
        self.way.end(self.why, False)

    def close(self, why: str, told: bool = True) -> None:
        """The connection is over, for that reason. What the editor still waits for is answered with it, unless it is
        not to be `told`, as it knows."""
        if self.why:
            return
        self.why = why
        pending, self._pending = self._pending, {}
        for asked in pending.values():
            if told and key_of({"id": asked.id}) != self._first:
                self._put_error(asked.id, {"code": INTERNAL_ERROR, "message": why}, asked.route)
        self._answered.set()
        self.way.end(why, told)
        self._over.set()

    def dismiss(self, why: str) -> None:
        """The editor is done with it: nothing is kept for it any more."""
        self.close(why, told=False)
        self.way.end(self.why, False)

    def check(self, now: float) -> None:
        """Ends it where its editor, or its agent, has not moved for too long."""
        if not self.why and (fault := self.way.fault(now)):
            self.close(fault)

    async def _serve(self) -> None:
        try:
            why = await self._read()
        except Exception as fault:
            self._gateway.log.error("remote.fault", exc_info=fault, conn=self.id[:8])
            why = "a fault of the gateway's"
        self.close(why)

    async def _read(self) -> str:
        """Passes on what the agent says until it says nothing more; why that is so."""
        while data := await self._process.stream.receive():
            try:
                for line in self._lines.feed(data):
                    if isinstance(line, LineTooLong):
                        return f"agent {self.agent} has sent a message that is too long to be passed on"
                    self._said(bytes(line))
            except StreamUnusable:
                return f"agent {self.agent} has sent a message that never ends"
            await self.way.room()
        with anyio.move_on_after(EXIT_SECONDS):
            await self._process.child.wait()
        return f"agent {self.agent} has ended: {self._process.child.exit or 'it has closed its stdout'}"

    def _said(self, line: bytes) -> None:
        try:
            message = decode(line)
            line = line.removeprefix(BOM)
        except NotJson:
            message = None
        if not isinstance(message, dict):
            if line.strip():
                self._noise.heard(line)
            return
        route = None
        if (key := key_of(message)) is not None and "method" not in message:
            asked = self._pending.pop(key, None)
            if key == self._first and not self._answered.is_set():
                self._answer = line
                self._answered.set()
                return
            self._has_open(session_of(message.get("result")))
            if asked is not None and "result" in message:
                route, line = asked.route, self._answered_with(asked, message, line)
            elif asked is not None:
                route = asked.route
        self.way.put(message, line, route)

    def _answered_with(self, asked: Asked, message: Json, line: bytes) -> bytes:
        """The line that the editor gets for an answer without an error."""
        result = message["result"]
        begun = session_of(result) if asked.method in _BEGINNING else None
        try:
            if begun is not None:
                self._owned.add(self.principal, self.agent, begun)
            elif asked.method == "session/delete" and asked.session is not None:
                self._owned.remove(self.principal, self.agent, asked.session)
        except sqlite3.Error as why:  # it holds until the gateway ends
            self._gateway.log.warning("remote.session_not_kept", why=str(why), agent=self.agent)
        if asked.method != "session/list":
            return line
        listed = result.get("sessions") if isinstance(result, dict) else None
        told = [it for it in listed if self._is_own(session_of(it))] if isinstance(listed, list) else []
        message["result"] = {**(result if isinstance(result, dict) else {}), "sessions": told}
        return encode(message).rstrip(b"\n")

    def _is_own(self, session: str | None) -> bool:
        return session is not None and self._owned.has(self.principal, self.agent, session)

    def _has_open(self, session: str | None) -> None:
        if session is not None and len(self.sessions) < self._gateway.limits.remote_streams:
            self.sessions.add(session)

    def _put_error(self, id: Any, error: Json, route: str | None) -> None:
        message = {"jsonrpc": "2.0", "id": id, "error": error}
        self.way.put(message, encode(message).rstrip(b"\n"), route)

    async def _follow_exit(self) -> None:
        """What a process has left behind may hold its stdout for ever: that does not make it alive."""
        await self._process.child.wait()
        await anyio.sleep(EXIT_SECONDS)
        await self._process.child.kill()
        await self._process.stream.aclose()

    def _note(self, event: str, fields: Json) -> None:
        self._gateway.log.info(event, conn=self.id[:8], agent=self.agent, **fields)


def key_of(message: Json) -> Hashable:
    """What an answer and its request have in common: the id, of which 1 and "1" are two; None where there is none."""
    id = message.get("id")
    return (type(id).__name__, id) if isinstance(id, str | int | float) else None


def _command(gateway: "Gateway", caller: Caller, kind: Kind) -> Command:
    """How the agent is started. Ours gets a store for each principal, unless the configuration names one, and starts no
    MCP servers that its editor names."""
    command = kind.vendor.command()
    if kind.vendor.name != VENDORS["ars"].name:
        return command
    whose = sha256(caller.principal.encode()).hexdigest()[:16]
    store = f"jsonl:{gateway.settings.state_dir / SESSIONS / whose}"
    return replace(command, env={"ARS_STORE": store, **command.env, "ARS_MCP_STDIO": "0"})


def _names_a_program(params: Any) -> bool:
    servers = params.get("mcpServers") if isinstance(params, dict) else None
    if not isinstance(servers, list):
        return servers is not None
    return any(not isinstance(it, dict) or "command" in it or it.get("type") not in ("http", "sse") for it in servers)


def _line_of(message: Json, data: bytes) -> bytes | None:
    """The editor's message as a line: an answer as it came, where that is one; what asks for something as we have read
    it, as names that stand there twice can be read in two ways. None for what is nested too deep."""
    if b"\n" in data or b"\r" in data or data.startswith(BOM) or "method" in message:
        try:
            return encode(message)
        except ValueError:
            return None
    return data + b"\n"


def session_of(params: Any) -> str | None:
    """The session that parameters or a result name."""
    found = params.get("sessionId") if isinstance(params, dict) else None
    return found if isinstance(found, str) else None


def taken_up(message: Json) -> str | None:
    """The session that a request of an editor's takes up, which another process may have open."""
    return session_of(message.get("params")) if message.get("method") in _REATTACHING else None


def is_initialize(message: Json) -> bool:
    """Whether it is the request that a connection begins with."""
    return message.get("method") == INITIALIZE and key_of(message) is not None


def is_message(message: Any) -> bool:
    """Whether it can be a message of JSON-RPC at all: what is wrong with it besides, the agent says."""
    if not isinstance(message, dict):
        return False
    return isinstance(message["method"], str) if "method" in message else "id" in message
