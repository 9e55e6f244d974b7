"""Redis and PostgreSQL for tests: those that run on this machine, and own ones in a temporary folder, to be killed."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from event_log.stores.address import parse
from event_log.stores.postgres import PostgresServer
from event_log.stores.redis import RedisServer
from event_log.stores.server import Server

ORDINARY = {
    "redis": os.environ.get("TEST_REDIS", "redis://127.0.0.1:6379/9"),
    "postgresql": os.environ.get("TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432/test"),
}
_UNPRIVILEGED = "postgres"  # who runs PostgreSQL when we are root: it refuses root
_START_SECONDS = 60


def ordinary(scheme: str) -> str:
    """The URL of the server that runs here. Without one the test is skipped, and CI fails."""
    port = {"redis": 6379, "postgresql": 5432}[scheme]
    address = ORDINARY[scheme].rpartition("@")[2].removeprefix("redis://").partition("/")[0]
    host, _, told = address.partition(":")
    try:
        socket.create_connection((host, int(told or port)), 2).close()
    except OSError:
        missing(f"no {scheme} server at {address}")
    return ORDINARY[scheme]


def missing(what: str) -> None:
    """Skips the test loudly; where everything has to be there, in CI, it fails."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}: CI needs it")
    pytest.skip(f"*** {what}: NOT TESTED ***")


class OwnServer:
    """A server of one test. What it has told is in a file until the folder goes."""

    def __init__(self, url: str, command: list[str], ready: bytes, user: str | None) -> None:
        self.url = url
        self.kind = url.partition(":")[0]
        self.port = int(url.rpartition(":")[2].partition("/")[0])
        self._command, self._ready, self._user = command, ready, user
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it takes connections."""
        process = self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            user=self._user,
            start_new_session=True,
        )
        ready = threading.Event()
        threading.Thread(target=self._listen, args=(process, ready), daemon=True).start()
        if not ready.wait(_START_SECONDS) or process.poll() is not None:
            raise RuntimeError(f"{self._command[0]} did not start")

    def kill(self) -> None:
        """End it at once, with all its processes, as `kill -9` and `pg_ctl stop -m immediate` do."""
        if self._process is not None:
            self._stop(self._process)
            self._process.wait(_START_SECONDS)
            self._process = None

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()

    def _listen(self, process: subprocess.Popen[bytes], ready: threading.Event) -> None:
        with process.stdout:  # type: ignore[union-attr]
            for line in process.stdout or ():
                if self._ready in line:
                    ready.set()
        ready.set()


class OwnPostgres(OwnServer):
    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGQUIT)  # what `pg_ctl stop -m immediate` sends


@contextmanager
def own_redis() -> Iterator[OwnServer]:
    program = shutil.which("redis-server") or missing("no redis-server here")
    port = _free_port()
    with _folder() as folder:
        command = f"{program} --bind 127.0.0.1 --port {port} --appendonly yes --appendfsync everysec --save".split()
        server = OwnServer(
            f"redis://127.0.0.1:{port}/0", [*command, "", "--dir", folder], b"Ready to accept connections", None
        )
        yield from _running(server)


@contextmanager
def own_postgres() -> Iterator[OwnServer]:
    user = _UNPRIVILEGED if os.geteuid() == 0 else None
    port = _free_port()
    with _folder(user) as folder:
        data = f"{folder}/data"
        # Nobody pulls the plug here, so nothing is gained by waiting for the disk.
        initdb = [_postgres_program("initdb"), "-D", data, "-U", "ars", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, user=user, timeout=_START_SECONDS)
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": folder, "fsync": "off"}
        command = [_postgres_program("postgres"), "-D", data, "-p", str(port)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        server = OwnPostgres(
            f"postgresql://ars@127.0.0.1:{port}/postgres", command, b"ready to accept connections", user
        )
        yield from _running(server)


OWN: dict[str, Callable[[], AbstractContextManager[OwnServer]]] = {"redis": own_redis, "postgresql": own_postgres}


def _running(server: OwnServer) -> Iterator[OwnServer]:
    server.start()
    try:
        yield server
    finally:
        server.kill()


def _postgres_program(name: str) -> str:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    program = str(found[-1]) if found else shutil.which(name)
    if program is None:
        missing(f"no {name} here")
    return str(program)


@contextmanager
def _folder(user: str | None = None) -> Iterator[str]:
    """A folder that this user too can use, which pytest's own cannot."""
    with tempfile.TemporaryDirectory(prefix="ars-server-", ignore_cleanup_errors=True) as folder:
        if user is not None:
            shutil.chown(folder, user)
        yield folder


def _free_port() -> int:
    """A port that nobody else gets while its server is down: below those that systems hand out by themselves."""
    while True:
        port = 20_000 + secrets.randbelow(10_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def made(url: str) -> Server:
    """The server at this URL, as a store has it."""
    address = parse(url)
    kind: type[RedisServer | PostgresServer] = RedisServer if address.scheme.startswith("redis") else PostgresServer
    return kind(address)


async def everything(server: Server, name: str = "s-1") -> bytes:
    """All lines that it has of a log."""
    found = b""
    while lines := await server.read(name, found.count(b"\n")):
        found += lines
    return found


@asynccontextmanager
async def space(url: str) -> AsyncIterator[str]:
    """A URL for logs that nobody else sees on the server, and that are gone at the end."""
    name = f"test_{os.urandom(6).hex()}"
    if url.startswith("redis:"):
        url = f"{url}?prefix={name}:"
        yield url
        await forget(url)
        return
    database = await asyncpg.connect(url)
    try:
        await database.execute(f"create schema {name}")
        yield f"{url}?search_path={name}"
        await database.execute(f"set client_min_messages to warning; drop schema {name} cascade")
    finally:
        await database.close()


async def forget(url: str) -> None:
    """Have the server lose all logs of a space."""
    if not url.startswith("redis:"):
        database = await asyncpg.connect(url)
        await database.execute("truncate ars_logs, ars_entries, ars_owners")
        await database.close()
        return
    address, _, prefix = url.partition("?prefix=")
    async with Redis.from_url(address) as redis:
        if keys := [key async for key in redis.scan_iter(match=f"{prefix}*", count=10_000)]:
            await redis.delete(*keys)
