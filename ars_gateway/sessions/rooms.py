"""The sessions there are, by principal and key: which agent and transcript each stands for, and what was chosen in it.

All of them are held in memory and written through, so that a list costs no query. One principal's sessions do not exist
for another: what is not yours is answered as what is not there, by the same look-up.
"""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from ars_gateway.index import Index
from ars_gateway.protocol.frames import encoded, whole
from ars_gateway.sessions import keys
from ars_gateway.sessions.ledger import now

Json = dict[str, Any]

_TABLE = """CREATE TABLE IF NOT EXISTS sessions (
    principal TEXT NOT NULL, key TEXT NOT NULL, session_id TEXT NOT NULL UNIQUE, updated INTEGER NOT NULL,
    agent TEXT NOT NULL, cwd TEXT NOT NULL, title TEXT NOT NULL, preview TEXT NOT NULL, facts BLOB NOT NULL,
    aside BLOB NOT NULL,
    PRIMARY KEY (principal, key)) WITHOUT ROWID"""
_COLUMNS = "principal, key, session_id, updated, agent, cwd, title, preview, facts, aside"

# What a reset keeps of what was chosen.
_KEPT = (
    *("thinkingLevel", "verboseLevel", "reasoningLevel", "responseUsage", "contextTokens", "sendPolicy", "label"),
    *("origin", "deliveryContext", "lastChannel", "chatType", "spawnedBy"),
)
TITLE_CHARACTERS = 60
PREVIEW_CHARACTERS = 240


@dataclass(eq=False)
class Room:
    """One session. `facts` are named as the protocol names them; `session_id` is its transcript's name as well.

    `agent` is the id of the agent that it belongs to, `cwd` the directory where that works in it: both stay. `aside` is
    what was said there without the agent, which it is told with the next prompt.
    """

    principal: str
    key: str
    session_id: str
    updated: int
    agent: str
    cwd: str
    title: str = ""
    preview: str = ""
    facts: Json = field(default_factory=dict)
    aside: list[str] = field(default_factory=list)
    # Which write was its last, as several may fall into one millisecond.
    saved: int = 0

    def entry(self) -> Json:
        """The `entry` of answers."""
        return {"sessionId": self.session_id, "updatedAt": self.updated, **self.facts}


class Rooms:
    """All sessions. `changed` is called after each write, `made` with each new one."""

    def __init__(self, index: Index) -> None:
        self.changed: Callable[[], None] = lambda: None
        self.made: Callable[[Room], None] = lambda room: None
        self._saves = 0
        self._index = index
        index.execute(_TABLE)
        found = index.execute(f"SELECT {_COLUMNS} FROM sessions")
        rooms = [_room(*columns) for columns in found]
        self._by_key = {(room.principal, room.key): room for room in rooms}
        self._by_id = {(room.principal, room.session_id): room for room in rooms}

    def find(self, principal: str, key: str) -> Room | None:
        """The session of a canonical key."""
        return self._by_key.get((principal, key))

    def by_id(self, principal: str, session_id: str) -> Room | None:
        """The session of that id. Another principal's takes as long, and comes to the same, as one that is not."""
        return self._by_id.get((principal, session_id))

    def of(self, principal: str) -> Iterator[Room]:
        """A principal's sessions, in no order."""
        return (room for room in self._by_key.values() if room.principal == principal)

    def all(self) -> list[Room]:
        """Everybody's, in no order."""
        return list(self._by_key.values())

    def count(self) -> int:
        """How many there are in all."""
        return len(self._by_key)

    def open(self, principal: str, key: str, cwd: str) -> Room:
        """The session of a canonical key, made where there was none; `cwd` is where its agent will work."""
        room = self.find(principal, key)
        if room is None:
            room = Room(principal, key, str(uuid.uuid4()), now(), keys.agent_of(key), cwd)
            self._by_key[principal, key] = self._by_id[principal, room.session_id] = room
            self.save(room)
            self.made(room)
        return room

    def save(self, room: Room) -> None:
        """Writes what was changed in a session; it is the newest then."""
        room.updated = max(now(), room.updated)
        self._saves += 1
        room.saved = self._saves
        values: tuple[Any, ...] = (room.principal, room.key, room.session_id, room.updated, room.agent, room.cwd)
        values = (*values, room.title, room.preview, encoded(room.facts), encoded(room.aside))
        self._index.write((f"REPLACE INTO sessions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values))
        self.changed()

    def renew(self, room: Room) -> None:
        """Gives a session a new transcript; most of what was chosen in it stays."""
        del self._by_id[room.principal, room.session_id]
        room.session_id = str(uuid.uuid4())
        self._by_id[room.principal, room.session_id] = room
        room.title = room.preview = ""
        room.aside = []
        kept = {name: value for name, value in room.facts.items() if name in _KEPT}
        sums = {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}
        room.facts = {"systemSent": False, "abortedLastRun": False, **kept, **sums}
        self.save(room)

    def remove(self, room: Room) -> None:
        """Forgets a session."""
        del self._by_key[room.principal, room.key]
        del self._by_id[room.principal, room.session_id]
        self._index.write(("DELETE FROM sessions WHERE principal = ? AND key = ?", (room.principal, room.key)))
        self.changed()


def _room(*columns: Any) -> Room:
    room = Room(*columns)
    room.facts, room.aside = orjson.loads(room.facts), orjson.loads(room.aside)  # type: ignore[arg-type]
    return room


def row(room: Room) -> Json:
    """A session as sessions.list shows it."""
    facts = room.facts
    label = facts.get("label")
    told: Json = {"key": room.key, "kind": keys.kind_of(room.key)}
    if label:
        told |= {"label": label, "displayName": label}
    for name in ("chatType", "origin"):
        if name in facts:
            told[name] = facts[name]
    told |= {"updatedAt": room.updated, "sessionId": room.session_id}
    for name in ("systemSent", "abortedLastRun", "thinkingLevel", "verboseLevel", "reasoningLevel", "elevatedLevel"):
        if name in facts:
            told[name] = facts[name]
    for name in ("sendPolicy", "inputTokens", "outputTokens"):
        if name in facts:
            told[name] = facts[name]
    told["totalTokens"] = facts.get("totalTokens", 0)
    for name in ("responseUsage", "modelProvider", "model", "contextTokens", "deliveryContext", "lastChannel"):
        if name in facts:
            told[name] = facts[name]
    return told


def title_of(text: str) -> str:
    """What a session that begins with `text` is called."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= TITLE_CHARACTERS else f"{line[: TITLE_CHARACTERS - 1].rstrip()}…"


def preview_of(text: str, characters: int = PREVIEW_CHARACTERS) -> str:
    """The beginning of a text on one line."""
    line = " ".join(text.split())
    return whole(line if len(line) <= characters else f"{line[: characters - 1].rstrip()}…")
