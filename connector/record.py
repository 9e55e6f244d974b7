"""Record: a conversation as a numbered log of our own, whatever the agent keeps; written first, told second.

Its entries are plain dicts, numbered from 1, each with a `type`:

`opened`   `agent`, `cwd`, `name`, `sessionId`, `how`: new, resumed, loaded or recreated, `params`
`prompt`   `blocks`, `priority`?; its number is the turn's id, which the others name as `turn`
`begun`    `turn`: it is about to be sent, or sent again
`steered`  `turn`, `blocks`: what the person said while it ran, and the agent took
`update`   `turn` or null, `update`: ACP's, as it came; `late` after the turn's answer, `replayed` by session/load
`asked`    `turn`, `id`, and of the act what `connector.audit` tells
`decided`  the same, with `allowed`, `option`, `by` and `reason`
`ended`    `turn`, `stopReason` or null, `error`?: `kind` and `message`, `partial`?: the reply so far, `withdrawn`?
`state`    `state`, `was`, `why`: what the agent's process is at

All but updates say when, `at`, in seconds of Unix time. Readers pass over types that they do not know.
"""

import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from anyio.lowlevel import checkpoint

from connector.errors import ConversationHeld, NotSent, RecordUnusable, TurnInterrupted
from connector.fold import Folded, folded, recap
from connector.secrets import Secrets
from event_log.encoding import decode, encode
from event_log.errors import LogClosed, LogError, LogExists, LogHeld, LogNotFound
from event_log.stores.memory import MemoryStore

if TYPE_CHECKING:
    from connector.errors import ConnectorError
    from connector.turn import Turn
    from event_log.log import Entry, Log
    from event_log.stores import Store

RECAP_CHARACTERS = 24_000
_AT_ONCE = 256  # entries that are read before the event loop has its turn
PIECES = ("agent_message_chunk", "agent_thought_chunk")
# Logs that a record of this process writes: a store gives the same one to all who ask.
_DRIVEN: "WeakSet[Log]" = WeakSet()
OnEvent = Callable[[str, dict[str, Any]], None]


class Record:
    """The log of one conversation, which is ours to write. Made by `open` and `fresh`.

    `interrupted` is the turn that it was in when the application that had it ended, `unsent` are the prompts that were
    queued then: both have been given their end. What the store refuses to write is kept in memory, in order, and goes
    to the store as soon as it takes entries again: `failure` says why meanwhile, and followers wait.
    """

    def __init__(self, log: "Log", agent: str, name: str, secrets: Secrets, on_event: OnEvent | None = None) -> None:
        self.agent = agent
        self.name = name
        self.interrupted: Turn | None = None
        self.unsent: list[Turn] = []
        self.failure: LogError | None = None
        self._log = log
        self._secrets = secrets
        self._on_event = on_event
        self._unwritten: list[Entry] = []
        self._found: Folded | None = None
        # The end of the text so far, of each kind of update that brings it in pieces.
        self._text: dict[str, str] = {}
        _DRIVEN.add(log)

    @classmethod
    async def open(
        cls,
        store: "Store",
        agent: str,
        cwd: str,
        name: str,
        *,
        secrets: Secrets | None = None,
        on_event: OnEvent | None = None,
    ) -> "Record":
        """The record of the conversation called `name` with that agent in that directory; a new one the first time.

        What an application that has ended left open in it is closed: `interrupted` and `unsent`. Raises
        `ConversationHeld`, and `RecordUnusable` for a damaged one and a store that does not work.
        """
        try:
            log = await _claimed(store, agent, name, log_name(agent, cwd, name))
            record = cls(log, agent, name, secrets or Secrets({}), on_event)
            try:
                await record._close_what_is_open()
            except BaseException:
                log.close()
                raise
        except LogError as why:
            raise RecordUnusable(agent, name, why) from why
        return record

    @classmethod
    async def fresh(
        cls, store: "Store", agent: str = "", *, secrets: Secrets | None = None, on_event: OnEvent | None = None
    ) -> "Record":
        """The record of a conversation without a name. Raises `RecordUnusable`."""
        if type(store) is MemoryStore:  # nobody finds it there again: it goes with the last one who has it
            store = MemoryStore()
        try:
            log = await store.create(f"unnamed-{os.urandom(16).hex()}")
        except LogError as why:
            raise RecordUnusable(agent, "", why) from why
        return cls(log, agent, "", secrets or Secrets({}), on_event)

    # ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def note(self, kind: str, /, **fields: Any) -> int:
        """Writes one entry and returns its number. The values of the agent's secrets are taken out.

        Raises TypeError or ValueError for what is not JSON. A closed record takes nothing more.
        """
        return self._append(self.without_secrets({"type": kind, "at": round(time.time(), 3), **fields}))

    def update(self, turn: int | None, update: dict[str, Any], *, late: bool = False, replayed: bool = False) -> int:
        """`note` for an update as it came from the agent."""
        entry: Entry = {"type": "update", "turn": turn, "update": update}
        if late:
            entry["late"] = True
        if replayed:
            entry["replayed"] = True
        if self._secrets.longest:
            entry = self._secrets.without_values(self._without_pieces(entry))
        return self._append(entry)

    def without_secrets(self, entry: "Entry") -> "Entry":
        """`entry` without the values of the agent's secrets."""
        return self._secrets.without_values(entry)

    def rest(self) -> None:
        """Releases what the record holds, a descriptor say, until the next entry."""
        self._log.rest()

    def close(self) -> None:
        """Gives the conversation up, so that others can take it; its followers end."""
        self._log.close()

    @property
    def lost(self) -> bool:
        """Whether another application has taken it over: nothing more is written here."""
        return self._log.lost

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def last(self) -> int:
        """The number of the newest entry."""
        return self._log.last + len(self._unwritten)

    def read(self, after: int = 0) -> "Iterator[tuple[int, Entry]]":
        """The entries with numbers above `after`, up to now, or to the closing. Raises `event_log`'s errors."""
        if self._log.closed:
            return self._log.records.read(max(after, 0), self._log.last)
        return self._log.read(after)

    async def follow(self, after: int = 0) -> "AsyncIterator[tuple[int, Entry]]":
        """The entries with numbers above `after`, then each new one, until the record is closed.

        Any number of readers may follow at once, each at its own pace; who comes back with the last number that it has
        seen misses nothing.
        """
        if self._log.closed:
            for found in self.read(after):
                yield found
            return
        async for found in self._log.follow(after):
            yield found

    def folded(self) -> Folded:
        """What all entries mean, for the caller to keep and to change."""
        found, self._found = self._found, None
        return found or folded(self.read(), self.agent)

    @property
    def turns(self) -> "list[Turn]":
        """The turns, in the order in which they began; those without an end and what is queued last."""
        found = self.folded()
        return [*found.turns, *found.queued]

    @property
    def session_id(self) -> str | None:
        """The agent's session for this conversation, the last one that it had."""
        return (self._found or self.folded()).session_id

    def recap(self, limit_chars: int = RECAP_CHARACTERS) -> str:
        """The conversation as text, for an agent that has lost it: as many of the newest exchanges as fit."""
        return recap(self.folded().turns, limit_chars)

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _without_pieces(self, entry: "Entry") -> "Entry":
        """The values of secrets are taken out also where one comes in several pieces of text."""
        update = entry["update"]
        kind, content = update.get("sessionUpdate"), update.get("content")
        if kind not in PIECES or not isinstance(content, dict) or not isinstance(content.get("text"), str):
            return entry
        before, text = self._text.get(kind, ""), content["text"]
        self._text[kind] = (before + text)[-self._secrets.longest :]
        hidden = self._secrets.continued(before, text)
        return entry if hidden == text else {**entry, "update": {**update, "content": {**content, "text": hidden}}}

    def _append(self, entry: "Entry") -> int:
        self._found = None
        if self._unwritten:
            return self._append_after_failure(entry)
        try:
            return self._log.append((entry,))
        except LogClosed as why:
            self._failed(why)
        except LogError as why:
            self._unwritten.append(_copied(entry))
            self._failed(why)
        return self.last

    def _append_after_failure(self, entry: "Entry") -> int:
        if self._log.closed:
            return self.last
        self._unwritten.append(_copied(entry))
        number = self.last
        try:
            # The oldest alone: as long as it is refused, the others cost nothing.
            self._log.append(self._unwritten[:1])
            del self._unwritten[:1]
            self._log.append(self._unwritten)
        except LogError as why:
            self._failed(why)
        else:
            self._unwritten.clear()
            self.failure = None
            self._tell("record.written")
        return number

    def _failed(self, why: LogError) -> None:
        if self.failure is None and (self._log.lost or not self._log.closed):
            self._tell("record.failed", reason=str(why))
        self.failure = why

    async def _close_what_is_open(self) -> None:
        found = Folded(self.agent)
        for number, entry in self.read():
            found.take(number, entry)
            if number % _AT_ONCE == 0:
                await checkpoint()
        last, asked = self.last, list(found.asked.values())
        for turn in found.running:
            self.interrupted = turn
            self._end(turn, TurnInterrupted(self.agent, turn.text), partial=turn.text)
        for turn in found.queued:
            self.unsent.append(turn)
            self._end(turn, NotSent(self.agent))
        for question in asked:
            self.note(
                "decided",
                turn=question.get("turn"),
                id=question["id"],
                allowed=False,
                option=None,
                by="nobody",
                reason="the application ended",
            )
        closing = [*(entry for _, entry in self.read(last)), *self._unwritten]
        for number, entry in enumerate(closing, last + 1):
            found.take(number, entry)
        self._found = found

    def _end(self, turn: "Turn", why: "ConnectorError", **more: Any) -> None:
        self.note("ended", turn=turn.id, stopReason=None, error=told(why), **more)
        self._tell("turn.interrupted" if more else "turn.not_sent", turn=turn.id)

    def _tell(self, event: str, **fields: Any) -> None:
        if self._on_event is not None:
            self._on_event(event, {"agent": self.agent, "conversation": self.name, **fields})


def log_name(agent: str, cwd: str, name: str) -> str:
    """The name of the log of that conversation: the same in each application, so that no index is needed."""
    key = "\0".join((agent, os.path.normpath(cwd), name))
    return f"named-{hashlib.sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()[:40]}"


def opened_with(params: dict[str, Any]) -> dict[str, Any]:
    """What a session was opened with, as its record has it: of MCP servers only what names them."""
    kept = {name: value for name, value in params.items() if name not in ("mcpServers", "_meta")}
    return {"cwd": params["cwd"], "params": {**kept, "mcpServers": [it.get("name") for it in params["mcpServers"]]}}


def _copied(entry: "Entry") -> "Entry":
    """What will be written of it whatever becomes of it meanwhile. Raises TypeError or ValueError for what is not JSON:
    such an entry would keep all behind it from being written."""
    return decode(encode(0, entry))[1]


def told(why: "ConnectorError") -> dict[str, str]:
    """An error as an entry has it."""
    return {"kind": type(why).__name__, "message": str(why)}


async def _claimed(store: "Store", agent: str, name: str, log: str) -> "Log":
    """Raises `ConversationHeld` and LogError."""
    while True:
        try:
            found = await store.open(log)
        except LogNotFound:
            try:
                return await store.create(log)
            except LogExists:  # somebody else was faster
                continue
        try:
            await store.claim(found)
        except LogHeld as why:
            raise ConversationHeld(
                agent, name, f"another application (pid {why.owner.pid} on {why.owner.host})"
            ) from why
        if found in _DRIVEN:
            raise ConversationHeld(agent, name, "another session of this application")
        return found
