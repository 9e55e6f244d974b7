"""What can be chosen about a running gateway: one typed model, kept as JSON in the state directory.

Agents' commands and environments are written in the file itself, by whoever owns it: what comes over the wire names
vendors only, so that nobody starts a program of their own from there.
"""

import os
import secrets
import shlex
import stat
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from ars_gateway.access import origins
from ars_gateway.clean import clean
from ars_gateway.config_words import BELOW, issues_of, listed
from ars_gateway.limits import Limits
from ars_gateway.observation.log import HIDDEN
from connector import VENDORS

Json = dict[str, Any]
AgentId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
# Shown as they are set by name only; written in the file only.
SECRET_FIELDS, FILE_FIELDS = ("env",), ("command", "env")
MOST_BYTES = 1024 * 1024
MOST_ISSUES, MOST_SAID = 50, 3


class ConfigInvalid(Exception):
    """The configuration is none; `issues` say where and why, the text on one line the first of them."""

    def __init__(self, issues: list[Json]) -> None:
        said = [f"{clean(it['path']) or 'it'} {it['message']}" for it in issues[:MOST_SAID]]
        more = [f"and {len(issues) - MOST_SAID} more"] if len(issues) > MOST_SAID else []
        super().__init__("; ".join(said + more))
        self.issues = issues


def _fits(is_one: Callable[[str], object], what: str) -> AfterValidator:
    """Lets pass only values for which `is_one` is true and no ValueError."""

    def check(value: str) -> str:
        try:
            fits = is_one(value)
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(f"must be {what}")
        return value

    return AfterValidator(check)


Vendor = Annotated[str, _fits(VENDORS.__contains__, listed(VENDORS, "or"))]
Command = Annotated[str, StringConstraints(min_length=1), _fits(shlex.split, "a command line, quotations closed")]
Host = Annotated[str, _fits(lambda it: origins.listed([it], origins.as_host), "a host: name[:port]")]
Origin = Annotated[str, _fits(lambda it: origins.listed([it], origins.as_origin), "an origin: http(s)://name[:port]")]
Directory = Annotated[
    str, _fits(lambda it: os.path.isabs(it) and os.path.isdir(it), "a directory that is there, named from the root")
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, alias_generator=to_camel, populate_by_name=True)


class AgentConfig(_Model):
    """One agent: a vendor's row, or in the file a command."""

    name: str | None = Field(
        default=None, min_length=1, max_length=64, title="Name", description="What clients call it"
    )
    vendor: Vendor | None = Field(default=None, title="Vendor", description=f"One of {', '.join(VENDORS)}")
    command: Command | None = Field(default=None, title="Command", description="Set in the file only")
    env: dict[str, str] = Field(
        default={}, title="Environment", description="Set in the file only; values are not shown"
    )
    model: str | None = Field(
        default=None, min_length=1, title="Model", description="Answers where a session chose no other"
    )

    @model_validator(mode="after")
    def _one_program(self) -> "AgentConfig":
        if self.vendor is not None and self.command is not None:
            raise ValueError("must have a vendor or a command, not both")
        return self


class DoorConfig(_Model):
    """Who may knock, besides this machine."""

    allowed_hosts: list[Host] = Field(
        default=[], title="Hosts", description="Further Host headers that are ours: name[:port]"
    )
    allowed_origins: list[Origin] = Field(default=[], title="Origins", description="Further pages: https://name[:port]")
    remote_agents: list[AgentId] | None = Field(
        default=None,
        title="Remote agents",
        description="Whom editors may have a process of their own of, at /acp: `main` where it is ars, as others touch"
        " the files of this machine",
    )


class ApprovalsConfig(_Model):
    """What happens when an agent asks."""

    policy: Literal["ask", "ask-always", "deny"] = Field(
        default="ask",
        title="Policy",
        description="ask: reading inside the session's directory is allowed; ask-always: nothing is; deny: as ask, and"
        " what would be asked is refused",
    )
    seconds: float = Field(default=120, ge=1, le=3600, title="Seconds", description="How long a question waits")


class LimitsConfig(_Model):
    """What a client can cost."""

    tick_seconds: float = Field(default=30, ge=1, le=300, title="Tick", description="Seconds between ticks")
    queued_bytes: int = Field(
        default=1_572_864, ge=65_536, le=67_108_864, title="Queue", description="Bytes that wait for one"
    )
    queued_frames: int = Field(default=1_000, ge=10, le=100_000, title="Queue", description="Events that wait for one")
    unauthorised_calls: int = Field(
        default=20, ge=1, le=1_000, title="Refusals", description="In ten seconds, then the end"
    )
    kept_events: int = Field(
        default=10_000, ge=0, le=1_000_000, title="Kept", description="Events that a resume can replay"
    )


class Config(_Model):
    """All of it."""

    agents: dict[AgentId, AgentConfig] = Field(
        default={}, title="Agents", description="By id; `main` is the default one"
    )
    workspace: Directory | None = Field(default=None, title="Workspace", description="The directory where agents work")
    gateway: DoorConfig = Field(default=DoorConfig(), title="Door")
    approvals: ApprovalsConfig = Field(default=ApprovalsConfig(), title="Approvals")
    limits: LimitsConfig = Field(default=LimitsConfig(), title="Limits")

    @model_validator(mode="after")
    def _programs(self) -> "Config":
        for id, agent in self.agents.items():
            if agent.vendor is None and agent.command is None and id != "main":
                text, about = "must have a vendor or a command", {BELOW: f"agents.{id}"}
                raise PydanticCustomError("no_program", text, about)
        return self

    def limited(self, limits: Limits) -> Limits:
        """`limits` with what is chosen here."""
        given = {name: getattr(self.limits, name) for name in self.limits.model_fields_set}
        return Limits(**{**vars(limits), **given})


def parsed(text: str | bytes) -> Any:
    """The JSON of a text. Raises `ConfigInvalid` for JSON5, of which nothing more is read than JSON."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        more = "comments, trailing commas, single quotes and bare names of JSON5 are not read"
        raise ConfigInvalid([{"path": "", "message": f"is not JSON: {error.msg} ({where}); {more}"}]) from None


def validated(tree: Any) -> Config:
    """The configuration that `tree` is. Raises `ConfigInvalid`."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigInvalid(issues_of(error, Config, MOST_ISSUES)) from None


# ── the file ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def read(path: Path) -> bytes | None:
    """What the file holds, None where there is none. Raises OSError, and PermissionError where it is not ours alone."""
    try:  # not blocking: what stands there may be a pipe
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise PermissionError(f"{path} is no plain file")
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise PermissionError(f"{path} is open to others, or belongs to somebody else: chmod 600 it")
        with open(fd, "rb", closefd=False) as file:
            return file.read(MOST_BYTES)
    finally:
        os.close(fd)


def write(path: Path, tree: Json) -> None:
    """Replaces the file at once, 0600. Raises OSError."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(text_of(tree))
            file.flush()
            os.fsync(fd)
        os.replace(beside, path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def load(path: Path) -> Config:
    """The configuration in the file, that of a new one where there is none. Raises `ConfigInvalid` and OSError."""
    raw = read(path)
    return Config() if raw is None else validated(parsed(raw))


def text_of(tree: Any) -> bytes:
    """As it is written."""
    return orjson.dumps(tree, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def hash_of(raw: bytes | None) -> str:
    """By what a writer says which version it has read."""
    return sha256(raw or b"").hexdigest()


# ── secrets, and what only the file says ──────────────────────────────────────────────────────────────────────────────


def shown(tree: Any) -> Any:
    """`tree` with the secrets out: each is the mark that `restored` takes back."""
    if not isinstance(tree, dict) or not isinstance(tree.get("agents"), dict):
        return tree
    return {**tree, "agents": {id: _agent_shown(agent) for id, agent in tree["agents"].items()}}


def masked(tree: Any) -> Any:
    """`tree` of whatever shape, without what stands under a name that means a secret: for a file that is no config."""
    if isinstance(tree, list):
        return [masked(one) for one in tree]
    if not isinstance(tree, dict):
        return tree
    return {name: _hidden(it) if name.lower() in SECRET_FIELDS else masked(it) for name, it in tree.items()}


def _agent_shown(agent: Any) -> Any:
    if not isinstance(agent, dict):
        return agent
    hidden = {name: _hidden(agent[name]) for name in SECRET_FIELDS if name in agent}
    return {**agent, **hidden}


def _hidden(value: Any) -> Any:
    return dict.fromkeys(value, HIDDEN) if isinstance(value, dict) else HIDDEN


def restored(tree: Any, before: Any) -> Any:
    """`tree` as a client sent it, with the mark where a secret stands replaced by the secret of `before`.

    Raises `ConfigInvalid` where the mark stands for nothing, and where the tree says what only the file may say.
    """
    if not isinstance(tree, dict) or not isinstance(tree.get("agents"), dict):
        return tree
    agents: Json = {}
    issues: list[Json] = []
    for id, agent in tree["agents"].items():
        known = _member(_member(before, "agents"), id)
        agents[id] = agent
        if not isinstance(agent, dict):
            continue
        if isinstance(env := agent.get("env"), dict):
            held = _member(known, "env")
            agents[id] = agent = {**agent, "env": {k: _member(held, k) if v == HIDDEN else v for k, v in env.items()}}
        changed = (name for name in FILE_FIELDS if agent.get(name) and agent[name] != _member(known, name))
        issues += ({"path": f"agents.{id}.{name}", "message": "is set in the file itself"} for name in changed)
    if issues:
        raise ConfigInvalid(issues)
    return {**tree, "agents": agents}


def _member(tree: Any, name: str) -> Any:
    return tree.get(name) if isinstance(tree, dict) else None


def merged(tree: Any, patch: Any) -> Any:
    """RFC 7396: `patch` over `tree`, null takes a member out."""
    if not isinstance(patch, dict):
        return patch
    found = dict(tree) if isinstance(tree, dict) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), value)
    return found


# ── for a form ────────────────────────────────────────────────────────────────────────────────────────────────────────


def hints() -> dict[str, Json]:
    """What a form shows of each path: label, help, group, order, and what is sensitive or for those who know."""
    found: dict[str, Json] = {}

    def walk(model: type[BaseModel], path: str, group: str) -> None:
        for field, info in model.model_fields.items():
            here = f"{path}{to_camel(field)}"
            title = info.title or field
            hint = {"label": title, "group": group or title, "order": len(found) + 1}
            found[here] = hint | ({"help": info.description} if info.description else {})
            if field in FILE_FIELDS or (group or title) == "Limits":
                found[here]["advanced"] = True
            if field in SECRET_FIELDS:
                found[here] |= {"sensitive": True, "placeholder": HIDDEN}
            inner = AgentConfig if field == "agents" else info.annotation
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                walk(inner, f"{here}.*." if field == "agents" else f"{here}.", title)

    walk(Config, "", "")
    return found
