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


def rewind_result(to: int, turns: int, files: Sequence[Json], commands: int) -> Json:
    """The result of `_ars/session/rewind`."""
    return {"to": to, "turns": turns, "files": list(files), "commands": commands}


def rewound_file(path: str, outcome: str, reason: str | None = None) -> Json:
    """`outcome` is `restored`, `unchanged`, or `left` for a `reason`."""
    return {"path": path, "outcome": outcome} | ({} if reason is None else {"reason": reason})
