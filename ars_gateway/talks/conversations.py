"""The conversations of sessions, ready to be shown: kept folded for a while, read on from where they were left."""

from collections import OrderedDict
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson
from anyio.lowlevel import checkpoint

from ars_gateway.protocol.frames import encoded
from ars_gateway.sessions.feed import Feeds
from ars_gateway.sessions.rooms import Room
from ars_gateway.talks import failures
from ars_gateway.talks.runs import Runs
from ars_gateway.talks.transcripts import Transcripts
from ars_gateway.talks.turns import KINDS, Past, Turn, joined, recent
from event_log import Log

Json = dict[str, Any]

# What is shown at once: so many entries, and so many bytes of JSON, to which the last one may add what it has.
MOST_ENTRIES = 400
MOST_BYTES = 1024 * 1024
# Transcripts that are kept folded: so many, and together of so many entries.
MOST_KEPT = 16
MOST_READ = 400_000
# Entries that are read before the event loop has its turn; as many are left for the last step, in which nothing else
# happens: more than may be on their way from an agent to the feed.
AT_ONCE = 1024


@dataclass(eq=False)
class Conversation:
    """What was folded of one session: its transcript, and its feed from `first` up to `last`."""

    past: Past = field(default_factory=Past)
    feed: str = ""
    first: int = 0
    last: int = 0
    told: dict[str, Turn] = field(default_factory=dict)


class Conversations:
    """Those of all sessions."""

    def __init__(self, transcripts: Transcripts, feeds: Feeds, runs: Runs) -> None:
        self._transcripts = transcripts
        self._feeds = feeds
        self._runs = runs
        self._kept: OrderedDict[str, Conversation] = OrderedDict()

    async def log(self, room: Room) -> Log | None:
        """The transcript of a session, most of it read: to be handed to `turns` at once. Raises `LogError`."""
        log = await self._transcripts.log(room)
        if log is None:
            return None
        past = self._of(room).past
        while log.last - past.last > 2 * AT_ONCE:
            for number, entry in islice(_read(log, past.last), AT_ONCE):
                past.take(number, entry)
            await checkpoint()
        return log

    def turns(self, room: Room, log: Log | None) -> list[Turn]:
        """The whole conversation as it is in this moment, up to the newest entry of its feed."""
        kept = self._of(room)
        live = {run.order.id: run.turn for run in self._runs.of(room)}
        if log is not None:
            waiting = {turn.id: turn.unread for turn in live.values() if turn is not None}
            for number, entry in _without(list(_read(log, kept.past.last)), waiting):
                kept.past.take(number, entry)
        feed = self._feeds.known(room.session_id)
        if feed is None:
            return joined(kept.past, {}, live, failures.INTERRUPTED)
        if (kept.feed, kept.first) != (feed.id, feed.first):
            kept.feed, kept.first, kept.last, kept.told = feed.id, feed.first, feed.first - 1, {}
        recent(feed.since(kept.last) or (), kept.told)
        kept.last = feed.last
        return joined(kept.past, kept.told, live, failures.INTERRUPTED)

    def forget(self, transcript: str) -> None:
        """The session of that transcript is no more."""
        self._kept.pop(transcript, None)

    def _of(self, room: Room) -> Conversation:
        kept = self._kept.get(room.session_id)
        if kept is None:
            kept = self._kept[room.session_id] = Conversation()
        self._kept.move_to_end(room.session_id)
        while len(self._kept) > 1 and (
            len(self._kept) > MOST_KEPT or sum(it.past.last for it in self._kept.values()) > MOST_READ
        ):
            self._kept.popitem(last=False)
        return kept


def _read(log: Log, after: int) -> Iterator[tuple[int, Json]]:
    """The entries above `after`; of a log that was closed meanwhile those up to then."""
    return log.records.read(after, log.last) if log.closed else log.read(after)


def _without(entries: list[tuple[int, Json]], waiting: dict[int, int]) -> list[tuple[int, Json]]:
    """Entries of a transcript but for those from the first one on that is not in the feed yet: of each turn that goes
    on as many updates as are `waiting`."""
    for at in range(len(entries) - 1, -1, -1):
        if not any(waiting.values()):
            return entries[: at + 1]
        entry = entries[at][1]
        turn = entry.get("turn") or 0
        known = entry.get("type") == "update" and entry["update"].get("sessionUpdate") in KINDS
        if known and not entry.get("late") and waiting.get(turn, 0):
            waiting[turn] -= 1
    return []


def page(
    turns: list[Turn], before: str | None = None, unseen: Container[str] = ()
) -> tuple[list[orjson.Fragment], str | None]:
    """The newest entries, of those before a cursor: as many as are shown at once, oldest first, and the cursor of what
    comes before them, None where nothing does. Kinds that are `unseen` are left out. A tool call is never in two.

    Raises `LookupError` for a cursor of another time.
    """
    end, most = len(turns), None
    if before is not None:
        end, most = _place(turns, before)
    found: list[orjson.Fragment] = []
    size = 0
    for turn in reversed(turns[:end]):
        entries = turn.entries()[:most]
        most = None
        for index in range(len(entries), 0, -1):
            if len(found) >= MOST_ENTRIES or size >= MOST_BYTES:
                return found[::-1], f"{turn.key}:{index}"
            if entries[index - 1]["kind"] in unseen:
                continue
            one = encoded(entries[index - 1])
            size += len(one)
            found.append(orjson.Fragment(one))
    return found[::-1], None


def _place(turns: list[Turn], cursor: str) -> tuple[int, int]:
    """Where a cursor points: how many turns, and how many entries of the last of them."""
    key, _, index = cursor.rpartition(":")
    if not (index.isascii() and index.isdigit() and len(index) < 10):
        raise LookupError(cursor)
    for at, turn in enumerate(turns):
        if turn.key == key:
            return at + 1, int(index)
    raise LookupError(cursor)
