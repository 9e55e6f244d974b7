"""Following a session over HTTP: one message to its end, or all that happens; from its start, or from where one was.

The id of an event says where a client is: which feed and entry, and for one message how much of its text it has and
what that adds up to. So it goes on in a later process too, where the feed is another: by the ledger, and with the rest
of the text only, where that begins with what the client has.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from zlib import crc32

from ars_gateway.http.agent_events import Encoding, Names, end_of, told
from ars_gateway.sessions.feed import Entry, Feed
from ars_gateway.sessions.ledger import Entry as Settled
from ars_gateway.sessions.rooms import Room
from ars_gateway.talks.runs import Run, Runs

# Entries that are looked at, and about how many characters are written, at once.
MOST_ENTRIES = 512
MOST_CHARACTERS = 64 * 1024
_PLACE = re.compile(r"(?P<feed>[0-9a-f]{12})-(?P<n>\d{1,15})(?:-(?P<size>\d{1,15})-(?P<sum>[0-9a-f]{8}))?", re.ASCII)
# What is told, piece by piece: empty for what is passed over, None where there is nothing now.
Tale = Iterator[str | None]


@dataclass(frozen=True)
class View:
    """What one client sees of a feed, and how: `waits` says whether a tool call still does, `hidden` are the kinds of
    entries that are not for it."""

    feed: Feed
    encoding: Encoding
    waits: Callable[[str], bool]
    hidden: frozenset[str] = frozenset()

    def shows(self, entry: Entry) -> bool:
        """Whether it is told. A call that was done already is not: a client would do it again."""
        return entry.kind not in self.hidden and (entry.kind != "call" or self.waits(entry.data["call_id"]))


class Place:
    """Where a client is: `n` is the entry that it had last, None where the text comes from elsewhere first. Of one
    message it is known besides how much of the text it has, and what that adds up to."""

    def __init__(self, feed: Feed, n: int | None, size: int | None = None, sum: int = 0) -> None:
        self.n = n
        self.size = size
        self.sum = sum
        self._feed = feed

    @property
    def id(self) -> str:
        """The id of an event that is told here."""
        place = f"{self._feed.id}-{self.n or 0}"
        return place if self.size is None else f"{place}-{self.size}-{self.sum:08x}"

    def has(self, piece: str) -> None:
        """The client gets so much of the text."""
        self.size = (self.size or 0) + len(piece)
        self.sum = _sum(piece, self.sum)

    def forgets(self) -> None:
        """The client has nothing of the text."""
        self.size = self.sum = 0


class Following:
    """A tale as the client takes it: a `sse.Source`."""

    def __init__(self, feed: Feed, place: Place, tale: Tale) -> None:
        self._feed = feed
        self._place = place
        self._tale = tale

    def ready(self) -> bytes | None:
        """See `sse.Source`."""
        said, size = [], 0
        for _ in range(MOST_ENTRIES):
            try:
                piece = next(self._tale)
            except StopIteration:
                if not size:
                    return None
                break
            if piece is None:
                break
            said.append(piece)
            if (size := size + len(piece)) > MOST_CHARACTERS:
                break
        return "".join(said).encode("utf-8", "replace")

    async def more(self) -> None:
        """See `sse.Source`."""
        await self._feed.more(self._place.n or 0)


# ── one message ───────────────────────────────────────────────────────────────────────────────────────────────────────


def reply(view: View, run: Run | None, settled: Settled, names: Names, last: str = "") -> Following:
    """One message's run told to its end. `run` is there where it goes on, else `settled` says how it has ended. `last`
    is the id after which to go on."""
    place, void = _place_in(view.feed, settled.id, last)
    return Following(view.feed, place, _reply(view, place, run, settled, names, void))


def _place_in(feed: Feed, run: str, last: str) -> tuple[Place, bool]:
    """Where a client is in a message, and whether it is to forget what it has of the text."""
    begin, found = feed.begin_of(run), _PLACE.fullmatch(last)
    if found is not None and found["size"] is not None:
        known = found["feed"] == feed.id
        n = min(int(found["n"]), feed.last) if known else None
        return Place(feed, n, int(found["size"]), int(found["sum"], 16)), False
    if found is None or found["feed"] != feed.id or begin is None:
        return Place(feed, begin, 0), bool(last)
    # The id is one of the whole session's.
    place = Place(feed, min(int(found["n"]), feed.last), 0)
    for entry in feed.since(begin) or ():
        if entry.n <= (place.n or 0) and entry.run == run and entry.kind == "text":
            place.has(entry.data)
    return place, False


def _reply(view: View, place: Place, run: Run | None, settled: Settled, names: Names, void: bool) -> Tale:
    told_of = view.encoding.event
    if void:
        yield told_of("reset", names.data("reset"), place.id)
    compared = False
    while True:
        entries = None if place.n is None else view.feed.since(place.n, 1)
        if entries is None:
            yield from _rest(view, place, run, settled, names, compared)
            compared = True
        elif not entries:
            if run is None or run.settled():
                break  # for whoever has been told already that it is over
            yield None
        else:
            (entry,) = entries
            place.n = entry.n
            if entry.run != settled.id or not view.shows(entry):
                yield ""
            elif entry.kind == "end":
                break
            elif entry.kind == "text":
                place.has(entry.data)
                yield view.encoding.token(names, entry.data, place.id)
            else:
                found = told(entry, names)
                yield told_of(*found, place.id) if found is not None else ""
    over = run.entry if run is not None else settled
    yield told_of(*end_of(over.state, over.outcome, over.started is not None, names), place.id)


def _rest(view: View, place: Place, run: Run | None, settled: Settled, names: Names, compared: bool) -> Iterator[str]:
    """What the client has not got of the text, piece by piece, where the feed does not have it."""
    whole = False
    while not whole:
        text: str = run.telling.story.text if run is not None else settled.outcome.get("text") or ""
        size = place.size or 0
        if not compared:
            compared = True
            if len(text) < size or _sum(text[:size]) != place.sum:
                size = 0
                place.forgets()
                yield view.encoding.event("reset", names.data("reset"), place.id)
                continue
        piece = text[size : size + MOST_CHARACTERS]
        if whole := size + len(piece) == len(text):
            place.n = view.feed.last
        place.has(piece)
        yield view.encoding.token(names, piece, place.id) if piece else ""


# ── a whole session ───────────────────────────────────────────────────────────────────────────────────────────────────


def watch(view: View, runs: Runs, room: Room, session_id: str, last: str = "") -> Following:
    """All that happens in a session, which ends with the session only. Without a `last` id it begins with what goes on,
    or else with what was said last, so that whoever has asked before it looks misses nothing."""
    feed, found = view.feed, _PLACE.fullmatch(last)
    known = found is not None and found["feed"] == feed.id
    n = min(int(found["n"]), feed.last) if found is not None and known else _first(feed, runs, room)
    place = Place(feed, n)
    return Following(feed, place, _watch(view, place, runs, room, session_id, bool(last) and not known))


def _first(feed: Feed, runs: Runs, room: Room) -> int:
    begins = [feed.begin_of(run.order.id) for run in runs.of(room)]
    return min(-1 if it is None else it for it in begins) if begins else feed.newest


def _watch(view: View, place: Place, runs: Runs, room: Room, session_id: str, void: bool) -> Tale:
    feed, told_of = view.feed, view.encoding.event
    names = Names(session_id, ""), ""  # of the run that was told of last: they follow each other
    while True:
        entries = None if void else feed.since(place.n or 0, 1)
        if entries is None:
            void, entries = False, _again(feed, place, runs, room)
            yield told_of("reset", {"type": "reset", "session_id": session_id}, place.id)
        elif not entries:
            yield None
        for entry in entries:
            place.n = entry.n
            if entry.kind == "gone":
                yield told_of("gone", {"type": "gone", "session_id": session_id, "why": entry.data["why"]}, place.id)
                return
            if entry.run != names[1]:
                names = Names(session_id, message_of(room, entry.run)), entry.run
            yield _one(view, entry, names[0], place) if view.shows(entry) else ""


def _again(feed: Feed, place: Place, runs: Runs, room: Room) -> list[Entry]:
    """Goes back to the start of what goes on; gives what is forgotten of it as one piece."""
    place.n = _first(feed, runs, room)
    if feed.since(place.n, 1) is not None:
        return []
    place.n = feed.last
    return [Entry(place.n, run.order.id, "text", text) for run in runs.of(room) if (text := run.telling.story.text)]


def _one(view: View, entry: Entry, names: Names, place: Place) -> str:
    if entry.kind == "text":
        return view.encoding.token(names, entry.data, place.id)
    found = told(entry, names)
    if entry.kind == "prompt":
        found = "user_message", names.data("user_message", content=entry.data["text"])
    elif entry.kind == "end":
        found = end_of(entry.data["state"], entry.data, entry.data["started"] is not None, names)
    return view.encoding.event(*found, place.id) if found is not None else ""


# ── names of runs ─────────────────────────────────────────────────────────────────────────────────────────────────────


def run_of(room: Room, message_id: str) -> str:
    """The id of the run that a message of a session is, as the ledger has it."""
    return f"{room.key}#{message_id}"


def message_of(room: Room, run: str) -> str:
    """The other way round; a run that came by another door is called by its own id."""
    return run.removeprefix(f"{room.key}#")


def _sum(piece: str, before: int = 0) -> int:
    return crc32(piece.encode("utf-8", "surrogatepass"), before)
