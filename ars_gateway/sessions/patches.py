"""What sessions.patch may change, one row a field: what a value becomes, and what is said of one that is none."""

from collections.abc import Callable, Collection
from typing import Any

from ars_gateway.sessions import choices
from ars_gateway.sessions.rooms import Room

Json = dict[str, Any]


class PatchInvalid(ValueError):
    """A value that its field does not take; the text says what it takes."""


# Returns what is kept; None where the value is the standing one, and nothing is.
Check = Callable[[str], str | None]


def _one_of(field: str, *values: str, standing: str | None = None, aliases: Json | None = None) -> Check:
    def check(value: str) -> str | None:
        plain = value.strip().lower()
        plain = (aliases or {}).get(plain, plain)
        if plain not in values:
            shown = "|".join(f'"{one}"' for one in values)
            raise PatchInvalid(f"invalid {field} (use {shown})")
        return None if plain == standing else plain

    return check


def _level(value: str) -> str | None:
    level = choices.level_of(value)
    if level is None:
        raise PatchInvalid("invalid thinkingLevel (use off|minimal|low|medium|high)")
    return None if level == "off" else level


FIELDS: dict[str, Check] = {
    "thinkingLevel": _level,
    "verboseLevel": _one_of("verboseLevel", "on", "off", "full"),
    "reasoningLevel": _one_of("reasoningLevel", "on", "off", "stream", standing="off"),
    "responseUsage": _one_of("responseUsage", "off", "tokens", "full", standing="off", aliases={"on": "tokens"}),
    "elevatedLevel": _one_of("elevatedLevel", "on", "off", "ask", "full"),
    "execHost": _one_of("execHost", "sandbox", "gateway", "node"),
    "execSecurity": _one_of("execSecurity", "deny", "allowlist", "full"),
    "execAsk": _one_of("execAsk", "off", "on-miss", "always"),
    "execNode": lambda value: value.strip() or None,
    "sendPolicy": _one_of("sendPolicy", "allow", "deny"),
    "groupActivation": _one_of("groupActivation", "mention", "always"),
}


def changes(room: Room, patch: Json, *, taken: Callable[[str], bool], standing: Collection[str]) -> Json:
    """What `patch` makes of a session's facts: new values by name, None for what is cleared. Raises `PatchInvalid`.

    `taken(label)` tells whether another session has that label; `standing` are the names of the model that answers
    anyway.
    """
    found: Json = {}
    for name, value in patch.items():
        if name == "key":
            continue
        if name == "label":
            found |= _label(value, taken)
        elif name == "model":
            found |= _model(value, standing)
        elif name == "spawnedBy":
            found |= _spawned_by(room, value)
        else:
            found[name] = None if value is None else FIELDS[name](value)
    return found


def _label(value: str | None, taken: Callable[[str], bool]) -> Json:
    label = None if value is None else value.strip()
    if label == "":
        raise PatchInvalid("invalid label: empty")
    if label is not None and taken(label):
        raise PatchInvalid(f"label already in use: {label}")
    return {"label": label}


def _model(value: str | None, standing: Collection[str]) -> Json:
    if value is None or value.strip() in ("", *standing):
        return {"providerOverride": None, "modelOverride": None}
    provider, model = choices.split(value.strip())
    return {"providerOverride": provider, "modelOverride": model}


def _spawned_by(room: Room, value: str | None) -> Json:
    known = room.facts.get("spawnedBy")
    if value is None:
        if known is not None:
            raise PatchInvalid("spawnedBy cannot be cleared once set")
    elif known is not None and known != value:
        raise PatchInvalid("spawnedBy cannot be changed once set")
    return {"spawnedBy": value}
