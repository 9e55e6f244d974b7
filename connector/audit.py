"""Who decided what, and why: one record for each decision, without secrets."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from connector.permissions import Act, Decision
from connector.secrets import Secrets

OnDecision = Callable[[dict[str, Any]], None]
MOST_CHARACTERS = 2000


def record(act: Act, decision: Decision, secrets: Secrets) -> dict[str, Any]:
    """The record of a decision, as JSON can hold it. Contents of files are not in it."""
    said = {"allowed": decision.allowed, "option": decision.option_id, "by": decision.by, "reason": decision.reason}
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {
        "time": time,
        "session": act.session,
        **described(act, secrets),
        **_hidden(_with_who(said, decision), secrets),
    }


def described(act: Act, secrets: Secrets) -> dict[str, Any]:
    """What an act is, as JSON can hold it, without secrets and without the contents of files."""
    told = {
        "kind": act.kind,
        "title": act.title,
        "paths": list(act.paths),
        "argv": list(act.argv),
        "cwd": act.cwd,
        "env": list(act.env),
        "asked": act.asked,
        "protected": act.protected,
    }
    if act.tool_call.tool_call_id:
        told["toolCallId"] = act.tool_call.tool_call_id
    return _hidden(told, secrets)


def _hidden(told: dict[str, Any], secrets: Secrets) -> dict[str, Any]:
    hidden = secrets.hide_in({name: _short(value) for name, value in told.items()})
    assert isinstance(hidden, dict)
    return hidden


def _with_who(said: dict[str, Any], decision: Decision) -> dict[str, Any]:
    return {**said, "who": decision.who} if decision.who else said


def to_file(path: str) -> OnDecision:
    """Appends each record to a file that only its user can read, one JSON object a line."""

    def write(told: dict[str, Any]) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, json.dumps(told, ensure_ascii=True).encode() + b"\n")
        finally:
            os.close(fd)

    return write


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value[:MOST_CHARACTERS]
    return [one[:MOST_CHARACTERS] for one in value[:100]] if isinstance(value, list) else value
