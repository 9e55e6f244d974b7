"""Settings, and the only reader of the command line's and the environment's values.

Each field can be set, the first that is there wins: on the command line (where `__main__` offers it), as `ARS_<FIELD>`
in the environment, as `OPENAI_API_KEY`, `OPENAI_BASE_URL`, `OPENAI_MODEL`, in the file that `ars-acp login` wrote.
"""

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args
from urllib.parse import unquote, urlsplit

from ars_acp.errors import SettingsError
from ars_acp.redact import redact

if TYPE_CHECKING:
    from event_log.stores import Store

MODES = ("ask", "accept-edits", "read-only", "full")
OPENAI_NAMES = {"api_key": "OPENAI_API_KEY", "base_url": "OPENAI_BASE_URL", "model": "OPENAI_MODEL"}
# Names that other programs gave a meaning first.
SHARED_NAMES = {**OPENAI_NAMES, "ca_file": "SSL_CERT_FILE"}
YES, NO = ("1", "true", "t", "yes", "y", "on"), ("0", "false", "f", "no", "n", "off")


class Secret:
    """A text that shows in no representation of what holds it."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.value == self.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return "Secret(…)"


# ── how a value is read: from text, or from what is of its type already; `ValueError` says what it should be ──────────


def _text(value: Any) -> str:
    """Any text."""
    return str(value)


def _key(value: Any) -> Secret:
    """What can be sent in a header."""
    held = str(value)
    if not (held.isascii() and held.isprintable()):
        raise ValueError("it holds characters that no HTTP header may carry")
    return Secret(held)


def _address(value: Any) -> str:
    """An http(s) URL."""
    if not _usable(str(value)):
        raise ValueError("it should be an address like https://host/path or http://host:port/path")
    return str(value)


def _switch(value: Any) -> bool:
    """Yes or no, in the ways in which people say so."""
    said = str(value).lower()
    if said not in (*YES, *NO):
        raise ValueError("it should be 1 or 0")
    return said in YES


def _one_of(*choices: str) -> Callable[[Any], str]:
    """One of these words."""

    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"it should be one of {', '.join(choices)}")
        return str(value)

    return read


def _some_of(*choices: str) -> Callable[[Any], frozenset[str]]:
    """Any of these words, with commas between them."""

    def read(value: Any) -> frozenset[str]:
        words = value.split(",") if isinstance(value, str) else value
        found = frozenset(word.strip() for word in words) - {""}
        if not found <= {*choices}:
            raise ValueError(f"it should be some of {', '.join(choices)}, with commas between them")
        return found

    return read


def _whole(least: int) -> Callable[[Any], int]:
    """A whole number, `least` or more."""

    def read(value: Any) -> int:
        with contextlib.suppress(ValueError):
            if (number := int(value)) >= least:
                return number
        raise ValueError(f"it should be a whole number, {least} or more")

    return read


def _number(value: Any) -> float:
    """A number, 0 or more."""
    with contextlib.suppress(ValueError):
        if (found := float(value)) >= 0:
            return found
    raise ValueError("it should be a number, 0 or more")


def _seconds(value: Any) -> float:
    """A time."""
    with contextlib.suppress(ValueError):
        if (found := float(value)) > 0:
            return found
    raise ValueError("it should be a number of seconds, more than 0")


# ── the settings ──────────────────────────────────────────────────────────────────────────────────────────────────────

Text = Annotated[str, _text]
Key = Annotated[Secret, _key]
Address = Annotated[str, _address]
Switch = Annotated[bool, _switch]
Mode = Annotated[str, _one_of(*MODES)]
Level = Annotated[str, _one_of("debug", "info", "warning", "error")]
Unstable = Annotated[frozenset[str], _some_of("fork", "turn_usage")]
Count = Annotated[int, _whole(1)]
Size = Annotated[int, _whole(1024)]
Number = Annotated[float, _number]
Seconds = Annotated[float, _seconds]


@dataclass(frozen=True)
class Settings:
    """Everything that can be chosen. Times are seconds, sizes bytes."""

    api_key: Key | None = None
    base_url: Address | None = None
    model: Text | None = None
    script: Text | None = None
    mode: Mode = "ask"
    store: Text | None = None
    takes_over: Text | None = None
    log_file: Text | None = None
    log_level: Level = "info"
    proxy: Address | None = None
    ca_file: Text | None = None
    quirks: Text | None = None
    models_file: Text | None = None
    max_tokens: Count | None = None
    temperature: Number | None = None

    unstable: Unstable = frozenset()

    steps_per_turn: Count = 50
    same_invalid_calls: Count = 3
    invalid_calls_per_turn: Count = 5
    parallel_calls: Count = 8
    mcp_stdio: Switch = False
    mcp_start_seconds: Seconds = 10
    mcp_call_seconds: Seconds = 60
    max_line: Size = 64 * 1024 * 1024

    permission_seconds: Seconds = 300
    question_seconds: Seconds = 1800
    client_seconds: Seconds = 30
    command_seconds: Seconds = 120
    connect_seconds: Seconds = 5
    first_byte_seconds: Seconds = 60
    idle_seconds: Seconds = 60
    attempts: Count = 3
    backoff_seconds: Number = 0.5

    def can_reach_a_model(self) -> bool:
        """A script needs nothing, an endpoint on this host no key, any other endpoint a key."""
        return bool(self.script or self.api_key or (self.base_url and _is_loopback(self.base_url)))

    def store_url(self) -> str:
        """Where sessions are kept: as set, else in the user's state directory."""
        return self.store or f"jsonl:{state_directory() / 'sessions'}"


def load(arguments: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process. Raises `SettingsError`, whose one line names the setting and never its value."""
    env = os.environ if environment is None else environment
    chosen: dict[str, Any] = _read_login()
    for field in Settings.__annotations__:
        for name in (SHARED_NAMES.get(field), f"ARS_{field.upper()}"):
            if name and env.get(name):
                chosen[field] = env[name]
    chosen.update({key: value for key, value in arguments.items() if value is not None})
    if "models_file" not in chosen and (users := config_directory() / "models.toml").exists():
        chosen["models_file"] = str(users)
    settings = checked(chosen)
    redact.add(settings.api_key.value if settings.api_key else None)
    for password in _passwords(settings.store):
        redact.add(password)
    return settings


def _passwords(store: str | None) -> set[str]:
    """The password in a store's URL, as it stands there and as it is."""
    try:
        password = urlsplit(store or "").password or ""
    except ValueError:  # no URL; the store says so
        password = ""
    return {password, unquote(password)}


def unknown_names(environment: Mapping[str, str] | None = None) -> list[str]:
    """Variables that look like settings of ours and are none: slips of the pen, most likely."""
    env = os.environ if environment is None else environment
    known = {f"ARS_{field.upper()}" for field in Settings.__annotations__}
    return sorted(name for name in env if name.startswith("ARS_") and name not in known)


def checked(chosen: Mapping[str, Any]) -> Settings:
    """These values as settings; None is none. Raises `SettingsError`, as `load` does."""
    read = {}
    for field, value in chosen.items():
        try:
            if value is not None:
                read[field] = _reader(Settings.__annotations__[field])(value)
        except ValueError as why:
            raise SettingsError(f"setting {field}: {why}") from None
    return Settings(**read)


def _reader(kind: Any) -> Callable[[Any], Any]:
    """How a field of this type is read: as its `Annotated` says, which in `X | None` is X."""
    annotated = kind if hasattr(kind, "__metadata__") else get_args(kind)[0]
    read: Callable[[Any], Any] = annotated.__metadata__[0]
    return read


def _usable(address: str) -> bool:
    try:
        parts = urlsplit(address)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        return False
    return named and parts.scheme in ("http", "https") and address.isprintable() and " " not in address


def open_sessions(settings: Settings, tell: Callable[[str], None] = lambda line: None) -> "Store":
    """The store of the settings; `tell` gets a line where there is something to know of it later.

    Raises `SettingsError` where it cannot be opened.
    """
    from event_log.errors import LogError
    from event_log.stores import SERVERS, open_store

    try:
        url = settings.store_url()
        beside = str(state_directory() / "wal") if url.partition(":")[0] in SERVERS else ""
        return open_store(url, (settings.takes_over or "").split(), beside, tell)
    except (LogError, ValueError, OSError) as exc:
        raise SettingsError(f"setting store: {exc}") from None


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def config_directory() -> Path:
    """Where the user's own choices are kept."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or _home() / ".config") / "ars-acp"


def state_directory() -> Path:
    """Where sessions are kept."""
    return Path(os.environ.get("XDG_STATE_HOME") or _home() / ".local" / "state") / "ars-acp"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # a container's user may have none
        raise SettingsError("there is no home directory: set HOME, or XDG_CONFIG_HOME and XDG_STATE_HOME") from None


def forget_login() -> None:
    """Removes what `ars-acp login` wrote."""
    login_file().unlink(missing_ok=True)


def login_file() -> Path:
    """What `ars-acp login` writes."""
    return config_directory() / "login.json"


def _read_login() -> dict[str, Any]:
    path = login_file()
    try:
        held = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError):
        raise SettingsError(f"{path} cannot be read; run `ars-acp login` to write it anew, or remove it") from None
    if not isinstance(held, dict):
        raise SettingsError(f"{path} is not what `ars-acp login` writes; run it again, or remove the file")
    return {key: held[key] for key in OPENAI_NAMES if isinstance(held.get(key), str) and held[key]}
