"""The transcripts of sessions: the connector's records, read whether their session is open or not."""

import uuid
from collections import OrderedDict
from typing import Any

from ars_gateway.sessions.history import INJECTED, History
from ars_gateway.sessions.ledger import Entry, now
from ars_gateway.sessions.rooms import Room
from ars_gateway.sessions.story import Story
from ars_gateway.talks.agents import Agents
from connector.record import Record, log_name
from event_log import Log, LogNotFound, Store

Json = dict[str, Any]
# Folds that are kept: what is asked for again is read on from where it was left.
MOST_FOLDED = 64


class Transcripts:
    """All of them. Raises `event_log`'s errors where a store cannot be read."""

    def __init__(self, store: Store, agents: Agents) -> None:
        self._store = store
        self._agents = agents
        self._folds: OrderedDict[str, tuple[History, int]] = OrderedDict()

    async def messages(self, room: Room) -> list[Json]:
        """What was said in a session, oldest first."""
        log = await self.log(room)
        if log is None:
            return []
        fold, last = self._folds.pop(room.session_id, (History(), 0))
        for number, entry in log.read(last):
            fold.take(number, entry)
            last = number
        self._folds[room.session_id] = (fold, last)
        if len(self._folds) > MOST_FOLDED:
            self._folds.popitem(last=False)
        return fold.all()

    async def inject(self, room: Room, text: str) -> Json:
        """Adds a message to a session that nobody was asked for, and returns it with its `id`."""
        message: Json = {
            "role": "assistant",
            "content": [{"type": "text", "text": text}],
            "timestamp": now(),
            "stopReason": "injected",
            "usage": {"input": 0, "output": 0, "totalTokens": 0},
        }
        async with self._agents.lock(room):
            session = self._agents.open_session(room)
            if session is not None and not session.closed:
                session.record.note(INJECTED, message=message)
            else:
                record = await Record.open(self._store, room.agent, room.cwd, room.session_id)
                try:
                    record.note(INJECTED, message=message)
                finally:
                    record.close()
        return {"id": uuid.uuid4().hex[:8], **message}

    async def forget(self, room: Room) -> bool:
        """Removes a session's transcript; whether there was one. The session is to be closed before."""
        self._folds.pop(room.session_id, None)
        try:
            await self._store.delete(self._name(room))
        except LogNotFound:
            return False
        return True

    async def partial(self, entry: Entry, room: Room | None) -> str:
        """What an agent has said in a run that has lost its own telling of it: as its clients were told it."""
        if room is None or room.session_id != entry.session_id or (log := await self.log(room)) is None:
            return ""
        turn, story = 0, Story()
        for number, said in log.read():
            match said.get("type"):
                case "prompt":
                    turn, story = 0, Story()
                    if round(said.get("at", 0) * 1000) >= entry.accepted:
                        turn = number
                case "update" if turn and said.get("turn") == turn:
                    story.take(said.get("update") or {})
        return story.text

    async def log(self, room: Room) -> Log | None:
        """A session's transcript as it is; None where nothing was said yet."""
        try:
            return await self._store.open(self._name(room))
        except LogNotFound:
            return None

    def _name(self, room: Room) -> str:
        return log_name(room.agent, room.cwd, room.session_id)
