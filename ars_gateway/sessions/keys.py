"""Session keys: how a client may spell the name of a conversation, and the one spelling under which it is kept."""

import re

MAIN = "main"
STANDING = ("global", "unknown")
LONGEST = 512

_AGENT_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class KeyInvalid(ValueError):
    """What a client sent names no session; the text says why."""


def canonical(key: str, agent: str = MAIN) -> str:
    """The spelling that stores use: `main` → `agent:main:main`, `x` → `agent:main:x`; `global` and `unknown` stand.

    `agent` is whose session a key without an agent names. Raises `KeyInvalid`.
    """
    plain = key.strip().lower()
    if len(plain) > LONGEST or _CONTROL.search(plain):
        raise KeyInvalid("a session key has at most 512 characters, and no control characters")
    if plain in STANDING:
        return plain
    if plain.startswith("agent:"):
        named, _, rest = plain.removeprefix("agent:").partition(":")
        if not _AGENT_ID.fullmatch(named) or not rest:
            raise KeyInvalid(f'"{key}" is no session key: agent:<agent>:<name> is one')
        return plain
    return f"agent:{agent}:{plain or MAIN}"


def agent_of(key: str) -> str:
    """The id of the agent that a canonical key belongs to."""
    return key.split(":", 2)[1] if key.startswith("agent:") else MAIN


def main_key(agent: str = MAIN) -> str:
    """The key of an agent's main session."""
    return f"agent:{agent}:{MAIN}"


def agent_id(named: str) -> str:
    """An agent's id as it is kept: lower case."""
    return named.strip().lower()


def kind_of(key: str) -> str:
    """direct, group, global or unknown, as sessions.list has it."""
    if key in STANDING:
        return key
    return "group" if ":group:" in key or ":channel:" in key else "direct"
