"""The gateway: everything that its parts share, built once and passed on."""

import asyncio
import platform
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import anyio

from ars_gateway.access import devices
from ars_gateway.access.auth import Credentials
from ars_gateway.access.connect_tokens import ConnectTokens
from ars_gateway.access.devices import Devices
from ars_gateway.access.internal import Internal
from ars_gateway.access.limiter import Limiter, Rate
from ars_gateway.access.scopes import ADMIN, EVENTS, READ
from ars_gateway.access.signatures import Signatures
from ars_gateway.call import Caller, Method
from ars_gateway.errors import RESTART
from ars_gateway.index import open_index
from ars_gateway.limits import LIMITS, PROTOCOL, Limits
from ars_gateway.methods import METHODS
from ars_gateway.observation.checks import Checks
from ars_gateway.observation.counts import Counts
from ars_gateway.observation.gauges import Gauges
from ars_gateway.observation.health import Health
from ars_gateway.observation.log import Log, Sampled
from ars_gateway.protocol.frames import Event
from ars_gateway.remote.remotes import Remotes
from ars_gateway.settings import Settings
from ars_gateway.sockets.hub import Hub
from ars_gateway.sockets.lobby import Lobby
from ars_gateway.sockets.presence import Presence
from ars_gateway.sockets.watching import Watching
from ars_gateway.talks.talks import Talks

if TYPE_CHECKING:
    from ars_gateway.sockets.connection import Connection

Json = dict[str, Any]

# What clients are told of how long a restart takes.
RESTART_EXPECTED_MS = 1500


class Gateway:
    """Made by `running`. `clock` is monotonic seconds; `wall`, in nanoseconds, may jump."""

    def __init__(
        self,
        settings: Settings,
        log: Log,
        limits: Limits = LIMITS,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        self.settings = settings
        self.log = log
        self.limits = limits = settings.config.limited(limits)
        self.clock = clock
        self._wall = wall
        self.started = clock()
        self.methods: dict[str, Method] = METHODS
        self.index = open_index(settings.index_path, [devices.TABLES])
        self.hub = Hub(limits, log, clock)
        self.lobby = Lobby(limits, clock)
        self.limiter = Limiter(clock)
        self.signatures = Signatures(self.now_ms)
        self.internal = Internal(settings.internal_secret(), self.now_ms)
        self.connect_tokens = ConnectTokens(clock)
        self.urls: tuple[str, ...] = ()  # where it listens, once it does
        self.reading = 0  # bytes of requests' bodies that are still coming in
        self.sampled = Sampled(log, 5, 60, clock)
        self.index.tell = self.sampled.warning
        self.credentials = Credentials(settings.auth_mode, settings.credentials())
        self.devices = Devices(self.index, settings.device_secret(), self.now_ms)
        self.version = version("ars-acp")  # read from a file: once, not at each hello
        self.presence = Presence(_itself(), self.now_ms)
        self.counts = Counts()
        self.checks = Checks(self)
        self.talks = Talks(self)
        self.remotes = Remotes(self)
        self.watching = Watching(self)
        self.talks.rooms.made = self.watching.made
        self.gauges = Gauges(clock, self.counts.first_words)
        self.crypto_loaded = "cryptography.hazmat.primitives.asymmetric.ed25519" in sys.modules
        self.health = Health(self)
        self._rates: dict[str, Rate] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._presence_due: asyncio.TimerHandle | None = None
        # Set when the gateway is to start anew, as whoever runs it does then.
        self.restarting = anyio.Event()
        self._restart_reason = ""
        self._restart_due: asyncio.TimerHandle | None = None

    def now_ms(self) -> int:
        """The wall clock."""
        return self._wall() // 1_000_000

    @property
    def state_version(self) -> dict[str, int]:
        """How often what snapshots show has changed."""
        return {"presence": self.presence.version, "health": self.health.version}

    def spawn(self, job: Callable[..., Any], *args: Any) -> None:
        """Starts `job(*args)` as a task that belongs to the gateway and ends with it. May be called by a callback. What
        goes wrong in it that should not ends it alone."""
        assert self._tasks is not None, "the gateway runs"
        self._tasks.create_task(self._alone(job, *args), name=job.__qualname__)

    async def _alone(self, job: Callable[..., Any], *args: Any) -> None:
        try:
            await job(*args)
        except Exception as why:
            self.log.error("gateway.job_failed", job=job.__qualname__, exc_info=why)

    def rate(self, method: Method) -> Rate:
        """The allowance of a method that has one."""
        assert method.rate is not None, "asked for methods with a rate only"
        name = method.allowance or method.name
        found = self._rates.get(name)
        if found is None:
            found = self._rates[name] = Rate(*method.rate, self.clock)
        return found

    def hello(self, caller: Caller) -> Json:
        """The payload of hello-ok. Of the snapshot a caller sees what its scopes would let it ask for."""
        reads = caller.has(READ)
        snapshot: Json = {
            "presence": self.presence.listed() if reads else [],
            "health": self.health.summary(caller.principal) if reads else {},
            "stateVersion": self.state_version,
            "uptimeMs": round((self.clock() - self.started) * 1000),
            "sessionDefaults": {
                "defaultAgentId": "main",
                "mainKey": "main",
                "mainSessionKey": "agent:main:main",
                "scope": "per-sender",
            },
        }
        if caller.has(ADMIN):
            snapshot["configPath"] = str(self.settings.config_path)
            snapshot["stateDir"] = str(self.settings.state_dir)
        auth: Json = {"role": caller.role, "scopes": list(caller.granted)}
        if caller.device_id is not None:
            pairing = self.devices.pairing(caller.device_id, caller.role)
            auth["deviceToken"] = self.devices.token(caller.device_id, caller.role)
            auth["issuedAtMs"] = pairing.created_ms if pairing else self.now_ms()
        return {
            "type": "hello-ok",
            "protocol": PROTOCOL,
            "server": {"version": self.version, "host": socket.gethostname(), "connId": caller.conn_id},
            "features": {
                "methods": [name for name, method in self.methods.items() if method.advertised],
                "events": [*EVENTS],
            },
            "snapshot": snapshot,
            "auth": auth,
            "policy": {
                "maxPayload": self.limits.frame_bytes,
                "maxBufferedBytes": self.limits.queued_bytes,
                "tickIntervalMs": round(self.limits.tick_seconds * 1000),
            },
        }

    # ── coming and going ──────────────────────────────────────────────────────────────────────────────────────────────

    def joined(self, connection: "Connection") -> None:
        """A connection has got its hello."""
        caller = connection.caller
        assert caller is not None, "settled by the handshake"
        self.hub.joined(connection)
        peer = connection.peer
        self.log.info(
            "gateway.connected",
            conn=connection.id,
            client=caller.client["id"],
            version=caller.client["version"],
            address=peer.address,
            agent=peer.user_agent,
            role=caller.role,
            scopes=list(caller.granted),
            device=caller.device_id,
        )
        self._present(caller, "connect", peer.shown)
        for name, payload in self.talks.for_newcomer(caller):
            connection.deliver(Event(name, payload, EVENTS[name], False, None, None))

    def left(self, connection: "Connection") -> None:
        """A connection is over, before its hello or after it."""
        caller = connection.caller
        if caller is None or connection.id not in self.hub.connections:
            return
        self.hub.left(connection)
        self.watching.left(connection)
        self.log.info("gateway.disconnected", conn=connection.id)
        self._present(caller, "disconnect", connection.peer.shown)

    def _present(self, caller: Caller, reason: str, address: str | None) -> None:
        if self.presence.noted(caller, reason, address):
            self.presence_changed()

    def presence_changed(self) -> None:
        """Tells who is here, soon: of several changes the last."""
        if self._presence_due is None:
            # The list grows with the clients that it is told to: told less often, it costs no more a second.
            seconds = self.limits.presence_seconds * (1 + len(self.hub.connections) / 100)
            self._presence_due = asyncio.get_running_loop().call_later(seconds, self._tell_presence)

    def _tell_presence(self) -> None:
        self._presence_due = None
        self.hub.broadcast(
            "presence", {"presence": self.presence.listed()}, droppable=True, state_version=self.state_version
        )

    async def _beat(self) -> None:
        while True:
            await anyio.sleep(self.limits.tick_seconds)
            self.hub.broadcast("tick", {"ts": self.now_ms()}, droppable=True)

    async def _sweep(self) -> None:
        while True:
            await anyio.sleep(self.limits.stalled_seconds / 6)
            self.hub.sweep()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Gateway"]:
        """The gateway at work. At the end clients are told, their connections closed, and the index with them."""
        try:
            # Not anyio's group: that one starts tasks from tasks only, and a request arrives in a callback.
            with anyio.CancelScope() as scope:
                async with asyncio.TaskGroup() as tasks:
                    self._tasks = tasks
                    # Without one of these it is no gateway: what goes wrong there ends it.
                    for part in (self._beat, self._sweep, self.health.run, self.remotes.run, self.gauges.run):
                        tasks.create_task(part())
                    tasks.create_task(self.index.keep_up())
                    try:
                        async with self.talks.running():
                            try:
                                yield self
                            finally:
                                self.say_goodbye()
                    finally:
                        scope.cancel()
        finally:
            self._tasks = None
            self.index.finish()

    def restart(self, seconds: float, reason: str) -> None:
        """Has the gateway start anew in `seconds`; where that is due already, then."""
        if self._restart_due is None:
            self._restart_reason = reason
            self._restart_due = asyncio.get_running_loop().call_later(seconds, self.restarting.set)

    def say_goodbye(self) -> None:
        """Tells every client that the gateway ends, and closes them. The second time there is nobody left."""
        if self._presence_due is not None:
            self._presence_due.cancel()
        self.health.stop()
        if self._restart_due is not None:
            self._restart_due.cancel()
        expected = RESTART_EXPECTED_MS if self.restarting.is_set() else None
        reason = self._restart_reason or "service restart"
        self.hub.broadcast("shutdown", {"reason": reason, "restartExpectedMs": expected})
        self.talks.stop()
        self.remotes.stop()
        self.hub.close_all(RESTART, "service restart")
        self.lobby.close()


def _itself() -> Json:
    host = socket.gethostname()
    system = f"{platform.system().lower()} {platform.release()}"
    return {
        "host": host,
        "version": version("ars-acp"),
        "platform": system,
        "deviceFamily": platform.system(),
        "modelIdentifier": platform.machine(),
        "mode": "gateway",
        "reason": "self",
        "text": f"Gateway: {host} · mode gateway · reason self",
    }
