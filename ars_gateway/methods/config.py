"""config.*: what can be chosen about the gateway, read and written by its admins; secrets neither shown nor lost."""

import os
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from ars_gateway import config
from ars_gateway.access.scopes import ADMIN
from ars_gateway.call import Call, Json, Method
from ars_gateway.config import Config, ConfigInvalid
from ars_gateway.errors import invalid, unavailable

RATE = (3, 60.0)
RESTART_MS, LONGEST_MS = 2_000, 60_000


def config_get(call: Call, params: Json) -> Json:
    """The file as it is, without its secrets, and the hash that a writer has to show."""
    raw = _read(call)
    tree: Any = {}
    issues: list[Json] = []
    chosen = Config()
    try:
        tree = config.parsed(raw) if raw is not None else {}
        chosen = config.validated(tree)
    except ConfigInvalid as why:
        issues = why.issues
    told = config.masked(tree) if issues else config.shown(tree)
    return {
        "path": str(call.gateway.settings.config_path),
        "exists": raw is not None,
        "raw": config.text_of(told).decode() if raw is not None else None,
        "parsed": told,
        "valid": not issues,
        "config": _told(chosen),
        "hash": config.hash_of(raw),
        "issues": issues,
        "warnings": [],
        "legacyIssues": [],
    }


def config_schema(call: Call, params: Json) -> Json:
    """The schema of the file, and what a form shows of it."""
    return {
        "schema": Config.model_json_schema(by_alias=True),
        "uiHints": config.hints(),
        "version": version("ars-acp"),
        "generatedAt": datetime.now(UTC).isoformat(),
    }


def config_set(call: Call, params: Json) -> Json:
    """Writes the whole file. It holds from the next start on."""
    return _write(call, params, "config.set", lambda before: _parsed(params))


def config_patch(call: Call, params: Json) -> Json:
    """Merges into the file (RFC 7396), then the gateway starts anew."""

    def patched(before: Any) -> Any:
        patch = _parsed(params)
        if not isinstance(patch, dict):
            raise invalid("config.patch raw must be an object")
        return config.merged(config.shown(before), patch)

    return _write(call, params, "config.patch", patched) | _restart(call, params, "config-patch")


def config_apply(call: Call, params: Json) -> Json:
    """Writes the whole file, then the gateway starts anew."""
    return _write(call, params, "config.apply", lambda before: _parsed(params)) | _restart(call, params, "config-apply")


# ── inside ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _write(call: Call, params: Json, method: str, make: Any) -> Json:
    raw = _read(call)
    if raw is not None:
        shown = (params.get("baseHash") or "").strip()
        if not shown:
            raise invalid("config base hash required; re-run config.get and retry")
        if shown != config.hash_of(raw):
            raise invalid("config changed since last load; re-run config.get and retry")
    try:
        before = config.parsed(raw) if raw is not None else {}
    except ConfigInvalid as why:
        if method == "config.patch":
            raise invalid("invalid config; fix before patching", {"issues": why.issues}) from None
        before = {}
    try:
        tree = config.restored(make(before), before)
        chosen = config.validated(tree)
    except ConfigInvalid as why:
        raise invalid("invalid config", {"issues": why.issues}) from None
    path = call.gateway.settings.config_path
    try:
        config.write(path, tree)
    except OSError as why:
        raise unavailable(f"the config cannot be written: {why.strerror}") from None
    call.gateway.log.info("config.written", method=method, conn=call.connection.id, by=call.caller.name)
    return {"ok": True, "path": str(path), "config": _told(chosen)}


def _restart(call: Call, params: Json, kind: str) -> Json:
    delay = min(int(params.get("restartDelayMs", RESTART_MS)), LONGEST_MS)
    reason = kind.replace("-", ".")
    call.gateway.restart(delay / 1000, reason)
    note = {"kind": kind, "status": "ok", "ts": call.gateway.now_ms(), "stats": {"mode": reason}}
    said = {
        name: params[given] for name, given in (("sessionKey", "sessionKey"), ("message", "note")) if given in params
    }
    restart = {
        "ok": True,
        "pid": os.getpid(),
        "signal": "none",
        "delayMs": delay,
        "reason": reason,
        "mode": "in-process",
    }
    return {"restart": restart, "sentinel": {"path": None, "payload": note | said}}


def _read(call: Call) -> bytes | None:
    try:
        return config.read(call.gateway.settings.config_path)
    except OSError as why:
        raise unavailable(f"the config cannot be read: {why.strerror or why}") from None


def _parsed(params: Json) -> Any:
    return config.parsed(params["raw"])


def _told(chosen: Config) -> Any:
    return config.shown(chosen.model_dump(by_alias=True, exclude_none=True))


METHODS = (
    Method("config.get", ADMIN, config_get),
    Method("config.schema", ADMIN, config_schema),
    Method("config.set", ADMIN, config_set, rate=RATE, allowance="config"),
    Method("config.patch", ADMIN, config_patch, rate=RATE, allowance="config"),
    Method("config.apply", ADMIN, config_apply, rate=RATE, allowance="config"),
)
