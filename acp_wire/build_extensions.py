"""What goes out of our own extensions, as plain dicts; as `build` for what ACP v1 has."""

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]


def replay_result(
    updates: Sequence[Json], last: int, *, more: bool, taken_back: Sequence[tuple[int, int]] = ()
) -> Json:
    """The result of `_ars/session/replay`; `updates` are params of `session/update`."""
    gone = [{"after": after, "through": through} for after, through in taken_back]
    return {"updates": list(updates), "last": last, "more": more} | ({"takenBack": gone} if gone else {})


def tool_call(session_id: str, call_id: str, name: str, arguments: Json) -> Json:
    """The params of `_ars/tool/call`; `name` as in the specification of the tools ("git.diff")."""
    return {"sessionId": session_id, "toolCallId": call_id, "name": name, "arguments": arguments}


def tool_result(
    content: str, *, ok: bool = True, raw: Any = None, code: str | None = None, approved: bool = False
) -> Json:
    """The result of `_ars/tool/call`. `approved`: a person who may decide it accepts the patch that `content` is."""
    optional = {"raw": raw, "code": code, "approved": approved or None}
    return {"ok": ok, "content": content} | {name: value for name, value in optional.items() if value is not None}


def health(model: str, *, endpoint: str | None, reachable: bool, ms: float, why: str | None = None) -> Json:
    """The result of `_ars/health`."""
    optional = {"endpoint": endpoint, "why": why}
    answer: Json = {"model": model, "reachable": reachable, "ms": ms}
    return answer | {name: value for name, value in optional.items() if value is not None}


def rewind_result(to: int, turns: int, files: Sequence[Json], commands: int) -> Json:
    """The result of `_ars/session/rewind`."""
    return {"to": to, "turns": turns, "files": list(files), "commands": commands}


def rewound_file(path: str, outcome: str, reason: str | None = None) -> Json:
    """`outcome` is `restored`, `unchanged`, or `left` for a `reason`."""
    return {"path": path, "outcome": outcome} | ({} if reason is None else {"reason": reason})
