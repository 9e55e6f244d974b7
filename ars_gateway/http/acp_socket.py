"""The ACP remote transport over a WebSocket: every text message is one of JSON-RPC, binary ones are ignored.

Who comes is settled before the upgrade is answered, by its Authorization header: there is no first frame for it.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import anyio

from acp_wire.errors import INVALID_REQUEST, PARSE_ERROR
from acp_wire.framing import NotJson, decode, encode
from ars_gateway.access import origins
from ars_gateway.access.scopes import WRITE
from ars_gateway.errors import FAILED, POLICY, PROTOCOL_ERROR, RESTART
from ars_gateway.gateway import Gateway
from ars_gateway.http.acp import AGENT, PATH, opened
from ars_gateway.http.errors import FORBIDDEN, HttpError
from ars_gateway.http.sign_in import by_bearer
from ars_gateway.remote.remote import GATEWAY_ENDS, UNREAD_BYTES, Ended, Remote, is_initialize, is_message
from ars_gateway.sessions.keys import MAIN
from ars_gateway.sockets.ws import Socket

Json = dict[str, Any]


class EditorSocket:
    """What goes on over one socket: both the way to the editor and what the socket's messages mean.

    Made, with its agent, before the upgrade is answered; `on` gives it its socket.
    """

    PATH = PATH
    binary = False

    def __init__(self, gateway: Gateway, peer: origins.Peer, headers: origins.Headers, query: bytes) -> None:
        """Raises `HttpError` where nobody comes in."""
        caller = by_bearer(gateway, peer, [it.decode("latin-1") for it in origins.header(headers, b"authorization")])
        if not caller.has(WRITE):
            raise HttpError(403, FORBIDDEN, f"missing scope: {WRITE}", details={"scope": WRITE})
        asked = parse_qs(query.decode("latin-1")).get("agent")
        named = origins.header(headers, AGENT.encode())
        agent = asked[0] if asked else named[0].decode("latin-1") if named else MAIN
        self._limits = gateway.limits
        self._gateway = gateway
        self._socket: Socket
        self._began = False
        self._held_at: float | None = None
        self._late: asyncio.TimerHandle | None = None
        self._closing = ""
        self._over = False
        self._moved = anyio.Event()
        self.remote = opened(gateway, caller, agent, self)

    def on(self, gateway: Gateway, socket: Socket, peer: origins.Peer) -> "EditorSocket":
        """It goes on over this socket."""
        self._socket = socket
        return self

    def told(self) -> dict[str, str]:
        """The headers that the answer to the upgrade has."""
        return {"Acp-Connection-Id": self.remote.id}

    # ── what the socket calls ─────────────────────────────────────────────────────────────────────────────────────────

    def begin(self) -> None:
        """The upgrade has been answered."""
        self._socket.opened(self._limits.remote_message_bytes)
        seconds = self._limits.handshake_seconds
        self._late = asyncio.get_running_loop().call_later(seconds, self._end, POLICY, "initialize has not come")

    def received(self, data: bytes | bytearray) -> None:
        """One whole message."""
        try:
            message = decode(bytes(data))
        except NotJson as why:
            self._refuse(None, PARSE_ERROR, str(why))
            return
        if isinstance(message, list):
            self._refuse(None, INVALID_REQUEST, "JSON-RPC batches are not supported")
        elif not is_message(message):
            self._refuse(None, INVALID_REQUEST, "no JSON-RPC message")
        elif is_initialize(message) == self._began:
            self._out_of_turn(message)
        else:
            self._began = True
            self._pass_on(message, bytes(data))

    def drained(self) -> None:
        """Nothing waits for the editor any more."""
        self._tell()
        if self._closing:
            self._close(self._closing)

    def close(self, code: int, reason: str) -> None:
        """The socket's end, for reasons of the gateway's."""
        self._end(code, reason)

    def lost(self) -> None:
        """The socket is gone, or its upgrade was not answered."""
        self._over = True
        self._tell()
        if self._late is not None:
            self._late.cancel()
        self.remote.close("its editor has left", told=False)

    # ── the way to the editor ─────────────────────────────────────────────────────────────────────────────────────────

    @property
    def full(self) -> bool:
        """See `Way`."""
        return self._socket.queued > self._limits.remote_waiting_bytes

    @property
    def is_read(self) -> bool:
        """See `Way`."""
        return not self._over

    def put(self, message: Json, line: bytes, route: str | None) -> None:
        """See `Way`."""
        if not self._over:
            self._socket.send(line)

    async def room(self) -> None:
        """See `Way`."""
        while self.full and not self._over:
            await self._moved.wait()

    def fault(self, now: float) -> str:
        """See `Way`."""
        if self._socket.stalled(now):
            return f"the editor has taken nothing for {self._limits.stalled_seconds:g} s"
        seconds = self._limits.remote_stalled_seconds
        if self._held_at is not None and now - self._held_at > seconds:
            return f"agent {self.remote.agent} has taken nothing for {seconds:g} s"
        return ""

    def end(self, why: str, told: bool) -> None:
        """See `Way`."""
        if self._over:
            return
        if told and self._socket.queued and not self._socket.stalled(self._gateway.clock()):
            self._closing = why
        else:
            self._close(why)

    async def flushed(self) -> None:
        """See `Way`."""
        while not self._over:
            await self._moved.wait()

    # ── inside ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _out_of_turn(self, message: Json) -> None:
        if self._began:
            self._refuse(message["id"], INVALID_REQUEST, "initialize is not allowed on an existing connection")
        else:
            self._end(PROTOCOL_ERROR, "the first message has to be initialize")

    def _pass_on(self, message: Json, data: bytes) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
        if others := self._gateway.remotes.in_the_way(self.remote, message):
            self._hold(partial(self._pass_on_later, others, message, data))
            return
        with contextlib.suppress(Ended):  # the end of the socket is on its way
            self.remote.write(message, data, None)
        if self.remote.unread > UNREAD_BYTES:
            self._hold(self.remote.taken)

    async def _pass_on_later(self, others: list[Remote], message: Json, data: bytes) -> None:
        await self._gateway.remotes.clear(others)
        with contextlib.suppress(Ended):
            self.remote.write(message, data, None)

    def _hold(self, until: Callable[[], Awaitable[None]]) -> None:
        """Nothing more is read until that is done. Called for a message that was read, so not while it is held."""
        self._held_at = self._gateway.clock()
        self._socket.hold(True)
        self._gateway.spawn(self._go_on, until)

    async def _go_on(self, until: Callable[[], Awaitable[None]]) -> None:
        await until()
        self._held_at = None
        if not self._over:
            self._socket.hold(False)

    def _refuse(self, id: Any, code: int, message: str) -> None:
        answer = {"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}
        self._socket.send(encode(answer).rstrip(b"\n"))

    def _end(self, code: int, reason: str) -> None:
        self._socket.close(code, reason)
        self.remote.close(reason or GATEWAY_ENDS, told=False)

    def _close(self, why: str) -> None:
        code = RESTART if why == GATEWAY_ENDS else FAILED
        self._socket.close(code, why.encode()[:120].decode("utf-8", "ignore"))

    def _tell(self) -> None:
        moved, self._moved = self._moved, anyio.Event()
        moved.set()
