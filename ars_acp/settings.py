"""Settings, and the only reader of the command line's and the environment's values.

Each field can be set, the first that is there wins: on the command line (where `__main__` offers it), as `ARS_<FIELD>`
in the environment, as `OPENAI_API_KEY`, `OPENAI_BASE_URL`, `OPENAI_MODEL`, in the file that `ars-acp login` wrote.
"""

import json
import os
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from ars_acp.errors import SettingsError
from ars_acp.redact import redact

if TYPE_CHECKING:
    from event_log.stores import Store

Mode = Literal["ask", "accept-edits", "read-only", "full"]
OPENAI_NAMES = {"api_key": "OPENAI_API_KEY", "base_url": "OPENAI_BASE_URL", "model": "OPENAI_MODEL"}
# Names that other programs gave a meaning first.
SHARED_NAMES = {**OPENAI_NAMES, "ca_file": "SSL_CERT_FILE"}


class Settings(BaseModel):
    """Everything that can be chosen. Times are seconds, sizes bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    api_key: SecretStr | None = None
    base_url: str | None = None
    model: str | None = None
    script: str | None = None
    mode: Mode = "ask"
    store: str | None = None
    log_file: str | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    proxy: str | None = None
    ca_file: str | None = None
    quirks: str | None = None
    models_file: str | None = None
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0)

    unstable: frozenset[Literal["fork", "turn_usage"]] = frozenset()

    steps_per_turn: int = Field(50, ge=1)
    same_invalid_calls: int = Field(3, ge=1)
    invalid_calls_per_turn: int = Field(5, ge=1)
    parallel_calls: int = Field(8, ge=1)
    mcp_stdio: bool = False
    mcp_start_seconds: float = Field(10, gt=0)
    mcp_call_seconds: float = Field(60, gt=0)
    max_line: int = Field(64 * 1024 * 1024, ge=1024)

    permission_seconds: float = Field(300, gt=0)
    question_seconds: float = Field(1800, gt=0)
    client_seconds: float = Field(30, gt=0)
    command_seconds: float = Field(120, gt=0)
    connect_seconds: float = Field(5, gt=0)
    first_byte_seconds: float = Field(60, gt=0)
    idle_seconds: float = Field(60, gt=0)
    attempts: int = Field(3, ge=1)
    backoff_seconds: float = Field(0.5, ge=0)

    @field_validator("unstable", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value

    @field_validator("api_key")
    @classmethod
    def _fits_a_header(cls, key: SecretStr | None) -> SecretStr | None:
        text = key.get_secret_value() if key else ""
        if not (text.isascii() and text.isprintable()):
            raise ValueError("it holds characters that no HTTP header may carry")
        return key

    @field_validator("base_url", "proxy")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is not None and not _usable(value):
            raise ValueError("it should be an address like https://host/path or http://host:port/path")
        return value

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
    for field in Settings.model_fields:
        for name in (SHARED_NAMES.get(field), f"ARS_{field.upper()}"):
            if name and env.get(name):
                chosen[field] = env[name]
    chosen.update({key: value for key, value in arguments.items() if value is not None})
    if "models_file" not in chosen and (users := config_directory() / "models.toml").exists():
        chosen["models_file"] = str(users)
    settings = checked(chosen)
    redact.add(settings.api_key.get_secret_value() if settings.api_key else None)
    return settings


def unknown_names(environment: Mapping[str, str] | None = None) -> list[str]:
    """Variables that look like settings of ours and are none: slips of the pen, most likely."""
    env = os.environ if environment is None else environment
    known = {f"ARS_{field.upper()}" for field in Settings.model_fields} | {"ARS_STARTED_BY"}
    return sorted(name for name in env if name.startswith("ARS_") and name not in known)


def checked(chosen: Mapping[str, Any]) -> Settings:
    """These values as settings. Raises `SettingsError`, as `load` does."""
    try:
        return Settings(**chosen)
    except ValidationError as exc:
        fault = exc.errors(include_input=False, include_url=False)[0]
        raise SettingsError(f"setting {fault['loc'][0]}: {fault['msg'].removeprefix('Value error, ')}") from None


def _usable(address: str) -> bool:
    try:
        parts = urlsplit(address)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        return False
    return named and parts.scheme in ("http", "https") and address.isprintable() and " " not in address


def open_sessions(settings: Settings) -> "Store":
    """The store of the settings. Raises `SettingsError` where it cannot be opened."""
    from event_log.errors import LogError
    from event_log.stores import open_store

    try:
        return open_store(settings.store_url())
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
    return {key: held[key] for key in OPENAI_NAMES if isinstance(held.get(key), str)}
