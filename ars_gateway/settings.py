"""Settings of a start, the only reader of the environment's values, and the files that hold what must stay secret.

What is not given on the command line comes from `ARS_GATEWAY_<NAME>`. All that the gateway keeps lies in one directory
(0700); secrets there are files of 0600 that are ours, or the gateway does not start.
"""

import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import platformdirs

from ars_gateway import config
from ars_gateway.access import origins
from ars_gateway.access.auth import OWNER, Credential, digest
from ars_gateway.config import Config, ConfigInvalid
from ars_gateway.errors import StartError
from ars_gateway.observation.log import LEVELS

PREFIX = "ARS_GATEWAY_"
PORT = 18789
LOOPBACK = ("127.0.0.1", "::1")
SHORTEST_SECRET = 16
LONGEST_SOCKET_PATH = 100
TOKEN_FILE, DEVICE_SECRET_FILE, INTERNAL_SECRET_FILE, SOCKET_FILE, INDEX_FILE, CONFIG_FILE = (
    "gateway.token",
    "device.secret",
    "internal.secret",
    "gateway.sock",
    "index.sqlite",
    "config.json",
)
WORKSPACE, TRANSCRIPTS, UNSENT, JOURNAL, LOCK_FILE = "workspace", "transcripts", "wal", "log", "lock"
_SECRET_NAMES = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIALS")


@dataclass(frozen=True)
class Settings:
    """One start of the gateway. `secret` is the token, or the password where `auth_mode` says so."""

    state_dir: Path
    secret: str = field(repr=False)
    secret_from: str = ""  # the file or the variable that it came from
    auth_mode: Literal["token", "password"] = "token"
    internal: str | None = field(default=None, repr=False)  # what services sign with, where it is not the file's
    hosts: tuple[str, ...] = LOOPBACK
    port: int = PORT
    socket_path: Path | None = None
    allowed_hosts: frozenset[str] = frozenset()
    allowed_origins: frozenset[str] = frozenset()
    # The main agent, a vendor's name or a command line; where agents work, and where transcripts are kept.
    agent: str = "ars"
    workspace_path: Path | None = None
    store_url: str | None = field(default=None, repr=False)  # may have a password
    log_level: str = "info"
    log_file: str | None = None
    config: Config = field(default_factory=Config)

    @property
    def index_path(self) -> Path:
        return self.state_dir / INDEX_FILE

    @property
    def workspace(self) -> Path:
        return self.workspace_path or self.state_dir / WORKSPACE

    @property
    def store(self) -> str:
        """The store of transcripts, as `event_log.open_store` takes it."""
        return self.store_url or f"jsonl:{self.state_dir / TRANSCRIPTS}"

    @property
    def unsent_path(self) -> Path:
        """Where transcripts are until a store on a server has them."""
        return self.state_dir / UNSENT

    @property
    def journal_path(self) -> Path:
        """The directory of the log that clients read."""
        return self.state_dir / JOURNAL

    @property
    def config_path(self) -> Path:
        return self.state_dir / CONFIG_FILE

    def credentials(self) -> tuple[Credential, ...]:
        """The shared secrets that let in."""
        return (Credential(OWNER, digest(self.secret)),)

    def device_secret(self) -> bytes:
        """What device tokens are derived from; made when it is first needed."""
        return kept_secret(self.state_dir / DEVICE_SECRET_FILE).encode()

    def internal_secret(self) -> bytes:
        """What services sign their requests with (`X-Internal-Auth`); made when it is first needed."""
        return (self.internal or kept_secret(self.state_dir / INTERNAL_SECRET_FILE)).encode()


def load(given: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """The settings of one start. Raises `StartError`, whose text says what to change."""

    def value(name: str) -> Any:
        found = given.get(name)
        return environ.get(f"{PREFIX}{name.upper()}") if found in (None, [], ()) else found

    state_dir = private_dir(Path(os.path.abspath(value("state_dir") or platformdirs.user_state_path("ars-gateway"))))
    hosts = tuple(given.get("host") or _split(environ.get("ARS_GATEWAY_HOST"))) or LOOPBACK
    if not given.get("allow_remote") and not all(host == "localhost" or origins.is_loopback(host) for host in hosts):
        raise StartError(
            f"{', '.join(hosts)} can be reached from other machines, and what is said there is not encrypted:"
            " give --allow-remote as well where that is meant, or put a proxy with TLS in front"
        )
    mode = _auth_mode(value("auth"))
    chosen = _config(state_dir / CONFIG_FILE)
    main = chosen.agents.get("main")
    door = chosen.gateway
    more_hosts = _listed(value("allow_host"), origins.as_host, "host: name[:port] (--allow-host)")
    more_origins = _listed(value("allow_origin"), origins.as_origin, "origin: http(s)://name[:port] (--allow-origin)")
    port = _port(value("port"))
    secret, secret_from = _secret(mode, given, environ, state_dir)
    return Settings(
        state_dir=state_dir,
        secret=secret,
        secret_from=secret_from,
        auth_mode=mode,
        internal=_long_enough("ARS_GATEWAY_INTERNAL_SECRET", environ.get("ARS_GATEWAY_INTERNAL_SECRET")),
        hosts=hosts,
        port=port,
        socket_path=_socket_path(given, value("socket"), state_dir),
        allowed_hosts=more_hosts | origins.listed(door.allowed_hosts, origins.as_host),
        allowed_origins=more_origins | origins.listed(door.allowed_origins, origins.as_origin),
        agent=value("agent") or (main and (main.vendor or main.command)) or "ars",
        workspace_path=_workspace(value("workspace") or chosen.workspace),
        store_url=value("store"),
        log_level=_log_level(value("log_level") or "info"),
        log_file=value("log_file"),
        config=chosen,
    )


def _config(path: Path) -> Config:
    try:
        return config.load(path)
    except ConfigInvalid as why:
        raise StartError(f"{path}: {why}") from None
    except OSError as why:
        raise StartError(f"{path} cannot be read: {why.strerror}" if why.strerror else str(why)) from None


def secret_values(environ: Mapping[str, str]) -> list[str]:
    """What of the environment, which agents inherit from us, must not get into a log: keys, tokens, passwords."""
    return [value for name, value in environ.items() if name.upper().endswith(_SECRET_NAMES)]


def store_passwords(store: str) -> set[str]:
    """The password in a store's URL, as it stands there and as it is."""
    try:
        password = urlsplit(store).password or ""
    except ValueError:  # no URL; the store says so
        password = ""
    return {password, unquote(password)}


def _auth_mode(value: str | None) -> Literal["token", "password"]:
    if value in (None, "token"):
        return "token"
    if value == "password":
        return "password"
    raise StartError(f"{value} is no way to sign in: token or password, never without one (--auth)")


def _secret(mode: str, given: Mapping[str, Any], environ: Mapping[str, str], state_dir: Path) -> tuple[str, str]:
    name = f"ARS_GATEWAY_{mode.upper()}"
    said = environ.get(name)
    if said is None:
        if mode == "password":
            raise StartError("the password is read from ARS_GATEWAY_PASSWORD, which is not set")
        path = state_dir / TOKEN_FILE
        return kept_secret(path, renew=bool(given.get("rotate_token"))), str(path)
    _long_enough(name, said)
    return said, name


def _long_enough(name: str, said: str | None) -> str | None:
    if said is not None and len(said) < SHORTEST_SECRET:
        raise StartError(f"{name} is too short: {SHORTEST_SECRET} characters or more, better 43 random ones")
    return said


def _socket_path(given: Mapping[str, Any], value: str | None, state_dir: Path) -> Path | None:
    if given.get("no_socket"):
        return None
    path = Path(value) if value else state_dir / SOCKET_FILE
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise StartError(f"{path} is too long for a Unix socket: name a shorter one with --socket, or give --no-socket")
    return path


def _workspace(value: str | None) -> Path | None:
    if value is None:
        return None
    path = Path(value).expanduser().resolve()
    if not path.is_dir():
        raise StartError(f"{value} is no directory: agents work in one (--workspace)")
    return path


def _log_level(value: str) -> str:
    if value not in LEVELS:
        raise StartError(f"{value} is no log level: {', '.join(LEVELS)} (--log-level)")
    return value


def _port(value: Any) -> int:
    try:
        port = PORT if value is None else int(value)
    except ValueError:
        port = -1
    if not 0 <= port <= 65535:
        raise StartError(f"{value} is no port: a number up to 65535, or 0 for a free one (--port)")
    return port


def _listed(value: Any, read: Callable[[str], str | None], what: str) -> frozenset[str]:
    found: set[str] = set()
    for one in _split(value):
        try:
            found |= origins.listed([one], read)
        except ValueError:
            raise StartError(f"{one} is no {what}") from None
    return frozenset(found)


def _split(value: Any) -> list[str]:
    if value is None:
        return []
    words = value.split(",") if isinstance(value, str) else value
    return [word.strip() for word in words if word.strip()]


# ── the directory and its secrets ─────────────────────────────────────────────────────────────────────────────────────


def private_dir(path: Path) -> Path:
    """The directory, made as 0700 where it lacks. Raises `StartError` where others may enter it."""
    try:
        path.mkdir(parents=True, mode=0o700, exist_ok=True)
        found = path.stat()
    except OSError as error:
        raise StartError(f"{path} cannot be made or read ({error.strerror}): name another --state-dir") from None
    if found.st_uid != os.geteuid():
        raise StartError(f"{path} belongs to somebody else: name another --state-dir")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise StartError(f"{path} is open to others: chmod 700 it")
    return path


@contextmanager
def alone(state_dir: Path) -> Iterator[None]:
    """Holds the directory: two gateways would each end the runs of the other. Raises `StartError` where one has it."""
    fd = os.open(state_dir / LOCK_FILE, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(
                f"a gateway is already at work in {state_dir}: end it, or name another --state-dir"
            ) from None
        yield
    finally:
        os.close(fd)


def kept_secret(path: Path, renew: bool = False) -> str:
    """The secret in this file (0600), made at random where there is none or `renew` asks for another one.

    Raises `StartError` where the file is not ours alone.
    """
    if renew:
        path.unlink(missing_ok=True)
    try:
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        return _read_secret(path)
    except OSError as error:
        raise StartError(f"{path}: {error.strerror}") from None
    with os.fdopen(fd, "w") as file:
        os.fchmod(fd, 0o600)
        file.write(secret := secrets.token_urlsafe(32))
    return secret


def _read_secret(path: Path) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise StartError(f"{path}: {error.strerror}") from None
    with os.fdopen(fd) as file:
        found = os.fstat(fd)
        if found.st_uid != os.geteuid() or not stat.S_ISREG(found.st_mode):
            raise StartError(f"{path} belongs to somebody else, or is no file")
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise StartError(f"{path} can be read by others: chmod 600 it, and have a new one made (--rotate-token)")
        secret = file.read().strip()
    if len(secret) < SHORTEST_SECRET:
        raise StartError(f"{path} holds no secret: remove it, and a new one is made")
    return secret
