"""A session as one file of JSON lines, for machines: what it is in the first line, then its log's entries as they are.

{"ars":"session","version":1,"id":"sess_…","entries":2}
{"n":1,"type":"session",…}
{"n":2,"type":"prompt",…}
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ars_acp.permissions import MODES
from ars_acp.replay import replay
from ars_acp.session import VERSION, Entry
from ars_acp.state import state
from event_log.encoding import decode, encode
from event_log.errors import LogNameInvalid
from event_log.stores import check_name

FORMAT = 1


class Refused(Exception):
    """A file that cannot be imported, a log that is no session's. Its text is one line, and says what is wrong."""


@dataclass(frozen=True)
class Imported:
    """What a file holds: the id that the session had, its entries in order, its state."""

    id: str
    entries: list[Entry]
    state: dict[str, Any]


def lines(session_id: str, entries: Iterable[tuple[int, Entry]]) -> Iterator[bytes]:
    """The file's lines, of a session's numbered entries from the first one on."""
    held = list(entries)
    head = {"ars": "session", "version": FORMAT, "id": session_id, "entries": len(held)}
    yield json.dumps(head, separators=(",", ":")).encode() + b"\n"
    for number, entry in held:
        yield encode(number, entry)


def read(data: bytes) -> Imported:
    """The session in a file. Raises `Refused` unless every entry is there, readable, and of a version that we know."""
    head, *rest = data.splitlines(keepends=True) or [b""]
    session_id, count = _head(head)
    if len(rest) != count:
        raise Refused(f"it is not whole: {count} entries are announced, {len(rest)} are there")
    entries = [_entry(line, number) for number, line in enumerate(rest, 1)]
    return Imported(session_id, entries, checked(session_id, entries))


def _head(line: bytes) -> tuple[str, int]:
    try:
        head = json.loads(line)
        if head["ars"] != "session" or type(head["entries"]) is not int:
            raise ValueError
        if head["version"] != FORMAT:
            raise Refused(f"it has format {head['version']}, of a newer version of ARS; this one reads {FORMAT}")
        check_name(head["id"])
        return head["id"], head["entries"]
    except (ValueError, TypeError, LookupError, LogNameInvalid):
        raise Refused("its first line is not that of an exported session") from None


def _entry(line: bytes, number: int) -> Entry:
    try:
        if not line.endswith(b"\n"):
            raise ValueError
        found, entry = decode(line)
    except ValueError:
        raise Refused(f"line {number + 1} is damaged: it is not an entry") from None
    if found != number:
        raise Refused(f"line {number + 1} is damaged: entry {number} should stand there, not {found}")
    if entry.get("type") == "session" and entry.get("version") != VERSION:
        raise Refused(
            f"line {number + 1} is of a newer version of ARS ({entry.get('version')}); this one reads {VERSION}"
        )
    return entry


def checked(session_id: str, entries: list[Entry]) -> dict[str, Any]:
    """The state that these entries make. Raises `Refused` unless all that opening the session needs can be made."""
    numbered = list(enumerate(entries, 1))
    try:
        if entries[0]["type"] != "session":
            raise ValueError
        for _ in replay(session_id, numbered, compactions=True):
            pass
        found = state(session_id, numbered)
        if found["llm_state"]["config"].get("mode", "ask") not in MODES:
            raise ValueError
    except (ValueError, TypeError, LookupError, AttributeError):
        raise Refused("its entries are not those of a session") from None
    return found
