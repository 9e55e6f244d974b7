"""Who follows which session: connections that are told what happens in a feed, each as fast as it takes it.

A feed is read once for all that are at the same place of it, and what came together is told together. Who is behind is
told later, of nothing that it had before; who takes nothing for long is closed as any slow consumer is.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import orjson

from ars_gateway.access.scopes import EVENTS
from ars_gateway.call import Caller
from ars_gateway.errors import MethodError, invalid
from ars_gateway.protocol.frames import Event, encoded
from ars_gateway.sessions.feed import Entry, Feed
from ars_gateway.sessions.rooms import Room

if TYPE_CHECKING:
    from ars_gateway.gateway import Gateway
    from ars_gateway.sockets.connection import Connection

Json = dict[str, Any]

CAP = "ars"
FEED = "_ars.feed"
GONE = "gone"
# Entries that are events too: whoever may not see the one does not see the other.
_GUARDED = {
    "question": "exec.approval.requested",
    "answered": "exec.approval.resolved",
    "form": "_ars.elicitation.requested",
    "filled": "_ars.elicitation.resolved",
}
# Sessions that one connection may follow.
MOST_WATCHED = 64
# What one event holds at most, but for one entry that is larger.
EVENT_ENTRIES = 512
EVENT_BYTES = 64 * 1024
# After each round of telling nothing is told for so many times as long as the processor was busy with it: what comes
# meanwhile is told together, and readers take a fifth of the time at most. Seconds at most.
REST, LONGEST_REST = 4, 0.1
# The place of one that is told nothing more.
OVER = -1
# When those that were behind are looked at again.
BEHIND_SECONDS = 0.05


@dataclass(eq=False)
class Watch:
    """Those who follow one feed: up to which number each has been told."""

    room: Room
    transcript: str
    feed: Feed
    told: dict["Connection", int] = field(default_factory=dict)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    waits: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class Watching:
    """All of them. A session that there is not yet can be followed too: from its beginning on."""

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway
        self._watches: dict[str, Watch] = {}
        self._waiting: dict[tuple[str, str], set[Connection]] = {}
        self._of: dict[Connection, set[tuple[str, str]]] = {}

    def begin(
        self,
        connection: "Connection",
        principal: str,
        key: str,
        room: Room | None,
        after: tuple[str, int] | None = None,
    ) -> tuple[Feed | None, bool]:
        """From here on the connection is told what happens in that session. Returns its feed, and whether what came
        `after` a number of that very feed is told as well: where that is still known.

        `room` is None where there is no such session yet: then there is no feed either. Raises `MethodError`.
        """
        caller = connection.caller
        if caller is None or connection.id not in self._gateway.hub.connections:
            raise invalid("the connection is over")
        if CAP not in caller.caps:
            raise invalid(f'sessions are followed by clients that name "{CAP}" in their caps')
        self.end(connection, principal, key)
        mine = self._of.setdefault(connection, set())
        if len(mine) >= MOST_WATCHED:
            raise MethodError("UNAVAILABLE", f"{MOST_WATCHED} sessions are followed on this connection already")
        mine.add((principal, key))
        if room is None:
            self._waiting.setdefault((principal, key), set()).add(connection)
            return None, False
        watch = self._watch(room)
        feed, number = watch.feed, watch.feed.last
        resumed = after is not None and after[0] == feed.id and feed.first - 1 <= after[1] <= feed.last
        if after is not None and resumed:
            number = after[1]
        watch.told[connection] = number
        watch.waits.cancel()
        return feed, resumed

    def end(self, connection: "Connection", principal: str, key: str) -> bool:
        """Tells nothing more of that session; whether anything was."""
        if (principal, key) not in self._of.get(connection, ()):
            return False
        self._of[connection].discard((principal, key))
        if not self._of[connection]:
            del self._of[connection]
        waiting = self._waiting.get((principal, key), set())
        waiting.discard(connection)
        if not waiting:
            self._waiting.pop((principal, key), None)
        for watch in [it for it in self._watches.values() if _is_of(it, principal, key) and connection in it.told]:
            self._leave(watch, connection)
        return True

    def left(self, connection: "Connection") -> None:
        """The connection is over."""
        for principal, key in list(self._of.get(connection, ())):
            self.end(connection, principal, key)

    def made(self, room: Room) -> None:
        """There is a session now that there was none of: those who waited for it follow it."""
        waiting = self._waiting.pop((room.principal, room.key), None)
        if waiting:
            watch = self._watch(room)
            watch.told |= dict.fromkeys(waiting, 0)

    @property
    def count(self) -> int:
        """How many connections follow something."""
        return len(self._of)

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _watch(self, room: Room) -> Watch:
        watch = self._watches.get(room.session_id)
        if watch is None:
            feed = self._gateway.talks.feeds.of(room.session_id)
            feed.fresh = None
            watch = self._watches[room.session_id] = Watch(room, room.session_id, feed)
            self._gateway.spawn(self._follow, watch)
        return watch

    def _leave(self, watch: Watch, connection: "Connection") -> None:
        watch.told.pop(connection, None)
        if not watch.told:
            watch.scope.cancel()
            if self._watches.get(watch.transcript) is watch:
                del self._watches[watch.transcript]

    async def _follow(self, watch: Watch) -> None:
        with watch.scope:
            try:
                while True:
                    behind = [it for it in watch.told if it.socket.behind]
                    places = [number for it, number in watch.told.items() if it not in behind]
                    with anyio.move_on_after(BEHIND_SECONDS if behind else None) as watch.waits:
                        await watch.feed.more(min(places, default=watch.feed.last))
                    began = time.thread_time()
                    self._round(watch)
                    await anyio.sleep(min(REST * (time.thread_time() - began), LONGEST_REST))
            except Exception as error:
                self._gateway.log.error("gateway.feed_failed", session=watch.room.key, exc_info=error)
                self._give_up(watch)

    def _give_up(self, watch: Watch) -> None:
        for connection in list(watch.told):
            self.end(connection, watch.room.principal, watch.room.key)
            connection.deliver(self._made(watch, {"over": "lost"}))

    def _round(self, watch: Watch) -> None:
        """Tells each as much as there is and as it takes."""
        fresh, watch.feed.fresh = watch.feed.fresh, None
        made: dict[tuple[int, frozenset[str]], tuple[Event | None, int]] = {}
        for connection, number in list(watch.told.items()):
            unseen = hidden(connection.caller)
            while number < watch.feed.last and not connection.socket.behind and connection in watch.told:
                if (number, unseen) not in made:
                    made[number, unseen] = self._event(watch, number, unseen)
                event, number = made[number, unseen]
                watch.told[connection] = number
                if event is not None:
                    connection.deliver(event)
                if number == OVER:
                    self.end(connection, watch.room.principal, watch.room.key)
        if fresh is not None:
            self._gateway.gauges.noted("deliverMs", time.monotonic() - fresh)

    def _event(self, watch: Watch, after: int, unseen: frozenset[str]) -> tuple[Event | None, int]:
        """What is told of the entries above `after`, None for nothing, and the number of the last one in it."""
        entries = watch.feed.since(after, EVENT_ENTRIES)
        if entries is None or entries[0].kind == GONE:
            why = "lost" if entries is None else entries[0].data["why"]
            return self._made(watch, {"over": why}), OVER
        parts: list[bytes] = []
        size = 0
        for entry in together(entries):
            if entry.kind == GONE:
                break
            if entry.kind not in unseen:
                one = encoded({"n": entry.n, "run": entry.run, "kind": entry.kind, "data": entry.data})
                size += len(one)
                if parts and size > EVENT_BYTES:
                    break
                parts.append(one)
            after = entry.n
        if not parts:
            return None, after
        return self._made(watch, {"entries": orjson.Fragment(b"[" + b",".join(parts) + b"]")}), after

    def _made(self, watch: Watch, told: Json) -> Event:
        payload = {"key": watch.room.key, "feed": watch.feed.id, **told}
        event = Event(FEED, payload, EVENTS[FEED], False, None, None)
        event.number = self._gateway.hub.number  # it is not kept: who comes back asks for its feed
        return event


def hidden(caller: Caller | None) -> frozenset[str]:
    """The kinds of entries that a caller may not see: those whose events ask for a scope that it lacks."""
    return frozenset(kind for kind, event in _GUARDED.items() if caller is None or not caller.has(EVENTS[event]))


def together(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Entries, but pieces of one text that follow each other as one, under the number of the last of them."""
    pieces: list[Entry] = []
    for entry in entries:
        if pieces and _goes_on(pieces[-1], entry):
            pieces.append(entry)
            continue
        if pieces:
            yield _one(pieces)
        pieces = [entry]
    if pieces:
        yield _one(pieces)


def _goes_on(one: Entry, other: Entry) -> bool:
    if (one.run, one.kind) != (other.run, other.kind):
        return False
    if one.kind == "terminal":
        return bool(one.data["terminalId"] == other.data["terminalId"])
    return one.kind in ("text", "thought")


def _one(pieces: list[Entry]) -> Entry:
    last = pieces[-1]
    if len(pieces) == 1:
        return last
    if last.kind == "terminal":
        return last._replace(data={**last.data, "data": "".join(it.data["data"] for it in pieces)})
    return last._replace(data="".join(it.data for it in pieces))


def _is_of(watch: Watch, principal: str, key: str) -> bool:
    return (watch.room.principal, watch.room.key) == (principal, key)
