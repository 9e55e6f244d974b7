"""A gateway in this process, on free ports, and clients of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sniffio

from ars_gateway.gateway import Gateway
from ars_gateway.limits import LIMITS, Limits
from ars_gateway.server import Addresses, serving
from ars_gateway.settings import Settings
from tests.gateway.client import Client, Device, client, connect_params

TOKEN = "golden-token-123"


@dataclass
class Told:
    """A log that keeps what it is told."""

    lines: list[dict[str, Any]] = field(default_factory=list)

    def debug(self, event: str, **fields: Any) -> None:
        self.lines.append({"level": "debug", "event": event, **fields})

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append({"level": "info", "event": event, **fields})

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append({"level": "warning", "event": event, **fields})

    def error(self, event: str, **fields: Any) -> None:
        self.lines.append({"level": "error", "event": event, **fields})

    def named(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]


@dataclass
class Running:
    """A gateway that listens, and how to get in."""

    gateway: Gateway
    addresses: Addresses
    log: Told
    token: str = TOKEN

    @property
    def url(self) -> str:
        return self.addresses.urls[0]

    def socket(self, **options: Any) -> AbstractAsyncContextManager[Client]:
        """A socket before its hello."""
        return client(options.pop("url", self.url), **options)

    @asynccontextmanager
    async def client(
        self, *scopes: str, device: Device | None = None, version: str = "v2", options: Any = None, **params: Any
    ) -> AsyncIterator[Client]:
        """A client after its hello, with these scopes (none: admin). `params` go into its connect."""
        async with self.socket(**(options or {})) as one:
            asked = connect_params(params.pop("token", self.token), **params)
            if scopes:
                asked["scopes"] = list(scopes)
            await one.connect(asked, device, version)
            yield one


Start = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """`start(limits=…, methods=…, port=…)`: a gateway with other settings, limits or further methods."""

    @asynccontextmanager
    async def begin(limits: Limits = LIMITS, methods: Any = None, clock: Any = None, **chosen: Any) -> Any:
        state = tmp_path / "state"
        state.mkdir(mode=0o700, exist_ok=True)
        settings = Settings(**({"state_dir": state, "secret": TOKEN, "port": 0} | chosen))
        log = Told()
        # As `anyio.run` does it: what a socket's callback starts is started in asyncio, though no task runs then.
        sniffio.current_async_library_cvar.set("asyncio")
        gateway = Gateway(settings, log, limits, **({} if clock is None else {"clock": clock}))
        if methods:
            gateway.methods = {**gateway.methods, **{row.name: row for row in methods}}
        async with serving(gateway) as addresses:
            yield Running(gateway, addresses, log)

    return begin


@pytest.fixture
async def running(start: Start) -> AsyncIterator[Running]:
    """A gateway as it comes. In a task of its own: what opens a task group has to close it, and a fixture may not."""
    ready: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def host() -> None:
        async with start() as one:
            ready.set_result(one)
            await over.wait()

    hosting = asyncio.ensure_future(host())
    await asyncio.wait([hosting, ready], return_when=asyncio.FIRST_COMPLETED)
    if hosting.done():
        hosting.result()
    yield ready.result()
    over.set()
    await hosting
