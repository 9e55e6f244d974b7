"""The listening sockets and uvicorn behind them; an upgraded socket goes to `ws.Socket`, without ASGI in between.

Every request is looked at before anything else happens: its Host, the credentials that no address may carry, and for
an upgrade its Origin.
"""

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from errno import EADDRINUSE
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio
import h11
import orjson
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from ars_gateway import descriptors
from ars_gateway.access import origins
from ars_gateway.clean import clean
from ars_gateway.errors import StartError, http_body
from ars_gateway.gateway import Gateway
from ars_gateway.http.acp_socket import EditorSocket
from ars_gateway.http.errors import HttpError
from ars_gateway.http.lingering import lingering
from ars_gateway.settings import LOOPBACK, Settings
from ars_gateway.sockets.connection import Connection
from ars_gateway.sockets.lobby import Ticket
from ars_gateway.sockets.ws import Socket

BACKLOG = 1024
# A peer that has vanished without a word is gone after a minute or so. Accepted sockets have it from the listening one.
_DEAD_PEERS = [
    ((level, getattr(socket, name)), value)
    for level, name, value in (
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 60),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 10),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 60_000),
    )
    if hasattr(socket, name)
]
END_SECONDS = 5
HEAD_BYTES = 16 * 1024
# What a client hears whose socket would be one too many.
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 5\r\ncontent-length: 0\r\n\r\n"
App = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass(frozen=True)
class Addresses:
    """Where the gateway listens."""

    port: int
    urls: tuple[str, ...]
    socket_path: Path | None


class Door(H11Protocol):
    """One accepted socket until it is upgraded, or for the HTTP requests on it."""

    def __init__(self, gateway: Gateway, doors: origins.Doors, most: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._gateway = gateway
        self._doors = doors
        self._most = most
        self._unix = False
        self._address = ""
        self._ticket: Ticket | None = None
        self._editor: EditorSocket | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        sock: socket.socket = transport.get_extra_info("socket")
        self._unix = sock.family == socket.AF_UNIX
        super().connection_made(transport)
        if self._unix:
            if peer_uid(sock) != os.geteuid():
                self._gateway.sampled.warning("gateway.foreign_user", uid=peer_uid(sock))
                transport.abort()
                return
        else:
            self._address = transport.get_extra_info("peername")[0]
            if len(self.connections) > self._most:  # the owner's own socket is never too many
                self._gateway.sampled.warning("gateway.full", sockets=self._most)
                transport.write(_FULL)
                transport.close()
                return
        self._enter_lobby()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave_lobby()
        super().connection_lost(exc)

    def _drop(self) -> None:
        """Ends the connection of a client that takes nothing of a long answer."""
        waiting = self.transport.get_write_buffer_size()
        self._gateway.sampled.warning("gateway.slow_reader", path=clean(self.scope["path"]), waiting=waiting)
        self.transport.abort()

    def _leave(self, why: str) -> None:
        self._ticket = None
        self.transport.abort()

    def _enter_lobby(self) -> None:
        address = origins.UNIX if self._unix else origins.normalised(self._address)
        self._ticket = self._gateway.lobby.enter(address, self._leave)

    def _leave_lobby(self) -> None:
        if self._ticket is not None:
            self._gateway.lobby.left(self._ticket)
            self._ticket = None

    def _should_upgrade(self) -> bool:
        """Called once a request's head is whole: whether it becomes a WebSocket. One that may not come in is answered
        by an application that says so."""
        upgrade = self._get_upgrade() == b"websocket"
        # For an answer that is given before the request is whole: see `lingering`.
        self.scope["state"]["unread"] = self._unread
        self.scope["state"]["hang_up"] = self.transport.close
        if (refusal := self._refusal()) is not None:
            self._refuse(refusal)
            return False
        # A request has the lobby's time, unless its door says that somebody has signed in: `request.state.signed_in()`.
        self.scope["state"]["signed_in"] = self._leave_lobby
        # For an answer that goes on: how much of it waits for the client, and the end of one that takes nothing.
        self.scope["state"]["unsent"] = self.transport.get_write_buffer_size
        self.scope["state"]["drop"] = self._drop
        self.scope["state"]["peer"] = origins.peer_of(self._address, self._unix, self.headers)
        if upgrade and self.scope["path"] == EditorSocket.PATH:
            try:
                self._editor = EditorSocket(
                    self._gateway, self.scope["state"]["peer"], self.headers, self.scope["query_string"]
                )
            except HttpError as why:
                why.headers |= {name.decode(): value.decode() for name, value in _REFUSING}
                self._refuse(why.response())
                return False
        return upgrade

    def _unread(self) -> bool:
        return self.conn.their_state is h11.SEND_BODY

    def _refuse(self, app: App) -> None:
        self.app = cast("Any", lingering(app, self._gateway.limits))

    def _refusal(self) -> App | None:
        if sum(len(name) + len(value) for name, value in self.headers) > HEAD_BYTES:
            return self._refused(431, "TOO_LARGE", "head", b"", "headers of more than 16 KiB")
        hosts = origins.header(self.headers, b"host")
        if not self._doors.host_is_ours(hosts, self._unix):
            return self._refused(421, "FORBIDDEN", "host", b",".join(hosts), "ars-gateway --allow-host NAME:PORT")
        if origins.carries_credential(self.scope["query_string"]):
            cure = "credentials are sent in a header or in the first frame, never in an address"
            return self._refused(400, "INVALID_MESSAGE", "query", b"", cure)
        found = origins.header(self.headers, b"origin")
        if not self._doors.origin_is_ours(found):
            cure = "ars-gateway --allow-origin SCHEME://NAME:PORT"
            return self._refused(403, "FORBIDDEN", "origin", b",".join(found), cure)
        return None

    def _refused(self, status: int, code: str, what: str, value: bytes, cure: str) -> App:
        said = clean(value.decode("latin-1"))
        self._gateway.sampled.warning("gateway.refused", what=what, value=said, status=status)
        return refusing(status, code, f"{what} {said!r} is not let in ({cure})" if said else f"{what}: {cure}")

    def send_400_response(self, msg: str) -> None:
        """What has come is no HTTP. Where an answer is on its way already, or was given, nothing can be said of it."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        body = orjson.dumps(http_body("INVALID_MESSAGE", msg))
        head = [*_REFUSING, (b"content-length", str(len(body)).encode())]
        events = [h11.Response(status_code=400, headers=head, reason=b"Bad Request"), h11.Data(data=body)]
        for event in [*events, h11.EndOfMessage()]:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        transport = self.transport
        self.connections.discard(self)
        self._unset_keepalive_if_required()
        peer = origins.peer_of(self._address, self._unix, self.headers)
        if self._ticket is None and not transport.is_closing():  # a request before this one had signed in
            self._enter_lobby()
        ticket, self._ticket = self._ticket, None
        if ticket is None:  # thrown out of the lobby in this very turn
            if self._editor is not None:
                self._editor.lost()
            return
        above = Connection if self._editor is None else self._editor.on
        told = {} if self._editor is None else self._editor.told()
        upgraded = Socket(self._gateway, peer, ticket, cast("set[Any]", self.connections), above)
        transport.set_protocol(upgraded)
        early, _ = self.conn.trailing_data
        if upgraded.accept(transport, event.target.decode("ascii"), self.headers, told) and early:
            upgraded.data_received(early)


_REFUSING = [
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"connection", b"close"),
]


def refusing(status: int, code: str, message: str) -> App:
    """An ASGI application that refuses, and ends the connection."""
    body = orjson.dumps(http_body(code, message))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [*_REFUSING, (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def peer_uid(sock: socket.socket) -> int:
    """Whose process is at the other end of a Unix socket."""
    if hasattr(socket, "SO_PEERCRED"):
        _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        return int(uid)
    # macOS: LOCAL_PEERCRED (1) at level 0 gives struct xucred: version, uid, groups.
    return int(struct.unpack("2I", sock.getsockopt(0, 1, 8))[1])


# ── listening ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def bound(settings: Settings) -> list[socket.socket]:
    """Sockets on every address of the settings, on one port. Raises `OSError` or `StartError`."""
    found: list[socket.socket] = []
    try:
        port = settings.port
        for host in settings.hosts:
            try:
                sock = _bound_tcp(host, port)
            except OSError as error:
                # A machine without IPv6 has no ::1; where it was asked for by name, that is an error.
                if settings.hosts == LOOPBACK and found:
                    continue
                where = f"cannot listen on {_in_url(host)}:{port}: {error.strerror}"
                raise OSError(f"{where}: name another --port" if error.errno == EADDRINUSE else where) from None
            found.append(sock)
            port = sock.getsockname()[1]
        if settings.socket_path is not None:
            found.append(_bound_unix(settings.socket_path))
    except BaseException:
        for sock in found:
            sock.close()
        raise
    return found


def _bound_tcp(host: str, port: int) -> socket.socket:
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        for option, value in _DEAD_PEERS:
            sock.setsockopt(*option, value)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _bound_unix(path: Path) -> socket.socket:
    if path.is_socket():
        with socket.socket(socket.AF_UNIX) as probe, suppress(ConnectionRefusedError, FileNotFoundError):
            probe.connect(str(path))
            raise StartError(f"a gateway is already listening on {path}")
        path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        sock.bind(str(path))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise OSError(f"cannot listen on {path}: {error.strerror}") from None
    finally:
        os.umask(before)
    return sock


class _Open(set[Any]):
    """The sockets that are open; uvicorn's protocol and ours put themselves in and out."""

    _waits: asyncio.Event | None = None

    def discard(self, one: Any) -> None:
        super().discard(one)
        if self._waits is not None and not self:
            self._waits.set()

    async def gone(self) -> None:
        """Returns when none is open."""
        if self:
            self._waits = asyncio.Event()
            await self._waits.wait()


@asynccontextmanager
async def serving(gateway: Gateway) -> AsyncIterator[Addresses]:
    """The gateway, listening. At the end clients are told and the sockets closed. Raises as `bound` does."""
    sockets = bound(gateway.settings)
    with ExitStack() as closing:  # also where the start fails behind them
        for sock in sockets:
            closing.callback(sock.close)
        async with _serving(gateway, sockets) as addresses:
            yield addresses


@asynccontextmanager
async def _serving(gateway: Gateway, sockets: list[socket.socket]) -> AsyncIterator[Addresses]:
    settings = gateway.settings
    tcp = [sock.getsockname()[:2] for sock in sockets if sock.family != socket.AF_UNIX]
    port: int = tcp[0][1]
    own = frozenset(f"{_in_url(host)}:{port}" for host, _ in tcp)
    doors = origins.Doors(frozenset({port}), settings.allowed_hosts | own, settings.allowed_origins)
    state = ServerState()
    state.connections = open_sockets = _Open()
    most = descriptors.for_clients()
    door = partial(Door, gateway, doors, most, config=_config(gateway), server_state=state, app_state={})
    loop = asyncio.get_running_loop()
    async with gateway.running():
        servers = [await loop.create_server(cast("Any", door), sock=sock, backlog=BACKLOG) for sock in sockets]
        try:
            gateway.urls = urls = tuple(f"ws://{_in_url(host)}:{port}" for host, _ in tcp)
            yield Addresses(port, urls, settings.socket_path)
        finally:
            for server in servers:
                server.close()
            gateway.say_goodbye()
            for connection in list(state.connections):
                connection.shutdown()
            with anyio.move_on_after(END_SECONDS, shield=True):
                await open_sockets.gone()
            if settings.socket_path is not None:
                settings.socket_path.unlink(missing_ok=True)


def _config(gateway: Gateway) -> uvicorn.Config:
    """What uvicorn's protocol reads. Its server is not used: it looks ten times a second whether it should end."""
    from ars_gateway.http.app import make_app

    config = uvicorn.Config(
        lingering(make_app(gateway), gateway.limits),
        http=cast("Any", Door),
        ws=cast("Any", Socket),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=HEAD_BYTES,
    )
    config.load()
    return config


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
