"""A gateway in this process, on free ports, and clients of it; or the program, in a process of its own."""

import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
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


def starter(state: Path) -> Start:
    """`start(limits=…, methods=…, port=…)`: a gateway in `state` with other settings, limits or further methods."""

    @asynccontextmanager
    async def begin(
        limits: Limits = LIMITS,
        methods: Any = None,
        clock: Any = None,
        wall: Any = None,
        log: Told | None = None,
        **chosen: Any,
    ) -> Any:
        state.mkdir(mode=0o700, exist_ok=True)
        settings = Settings(**({"state_dir": state, "secret": TOKEN, "port": 0} | chosen))
        log = Told() if log is None else log
        # As `anyio.run` does it: what a socket's callback starts is started in asyncio, though no task runs then.
        sniffio.current_async_library_cvar.set("asyncio")
        clocks = {name: it for name, it in (("clock", clock), ("wall", wall)) if it is not None}
        gateway = Gateway(settings, log, limits, **clocks)
        if methods:
            gateway.methods = {**gateway.methods, **{row.name: row for row in methods}}
        async with serving(gateway) as addresses:
            yield Running(gateway, addresses, log)

    return begin


@dataclass
class Program:
    """`ars-gateway` at work."""

    process: anyio.abc.Process
    said: str
    state: Path
    log: Path

    @property
    def url(self) -> str:
        return self.said.split()[3]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def unix(self) -> Path:
        return Path(self.said.rpartition("unix:")[2].partition(";")[0])

    @property
    def rss(self) -> int:
        """KiB in memory."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.partition("VmRSS:")[2].split()[0])

    def socket(self, **options: Any) -> AbstractAsyncContextManager[Client]:
        return client(self.url, **options)

    @asynccontextmanager
    async def client(self, *scopes: str, options: Any = None, **params: Any) -> AsyncIterator[Client]:
        """A client after its hello."""
        async with self.socket(**(options or {})) as one:
            asked = connect_params(params.pop("token", TOKEN), **params)
            await one.connect(asked | ({"scopes": list(scopes)} if scopes else {}))
            yield one


GATEWAY = str(Path(sys.executable).parent / "ars-gateway")
KEPT = ("PATH", "HOME", "LANG", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG", "COVERAGE_FILE")


def environment(**more: str) -> dict[str, str]:
    """What the program gets of ours."""
    return {name: os.environ[name] for name in KEPT if name in os.environ} | more


@asynccontextmanager
async def program(state: Path, *args: str, env: dict[str, str] | None = None) -> AsyncIterator[Program]:
    """The program with the token of the tests, on a free port; ended with SIGTERM, which it has to obey."""
    log = state.parent / "gateway.log"
    given = environment(ARS_GATEWAY_TOKEN=TOKEN) if env is None else env
    command = [GATEWAY, "--port", "0", "--state-dir", str(state), "--log-file", str(log), *args]
    async with await anyio.open_process(command, env=given, stderr=None) as process:
        assert process.stdout is not None
        with anyio.fail_after(60):
            said = b""
            while not said.endswith(b"\n"):
                said += await process.stdout.receive()
        try:
            yield Program(process, said.decode(), state, log)
        finally:
            with anyio.move_on_after(20, shield=True) as late:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                await process.wait()
            if late.cancelled_caught:
                process.kill()
                raise AssertionError("the gateway did not end within 20 s of SIGTERM")
