"""What has happened in a session's runs, as one numbered list that any number of readers follow, each at its own pace.

Kept in memory, within bounds: what is older is in the ledger and in the transcript. A feed is of one transcript: a
session that begins anew has a new one.

Kinds of entries, and their `data`:

    prompt    {text, blocks?, method, at}: what was said to the agent; `blocks` are attachments, large data left out
    begun     {at}: the agent is at it; until then the run waits for those before it
    text      str: a further piece of the answer; the pieces of a run, joined, are its text as the ledger has it
    thought   str: a further piece of what the agent thinks
    update    any other update of the agent, as it stood on the wire: tool_call, tool_call_update, plan, usage_update, …
    call      {call_id, tool, arguments}: a tool that a client is to carry out
    called    {call_id, ok}: that was done; or nobody waits for it any more, then `ok` is null
    question  exec.approval.requested's payload; answered: exec.approval.resolved's
    form      the payload of _ars.elicitation.requested; filled: of _ars.elicitation.resolved
    steer     {text}: what was said to the agent while it was at it
    injected  {text}: what chat.inject has put into the session, outside of any run
    terminal  {terminalId, data}: what a command has written
    end       {state, stopReason?, error?, at, started}: how the run has ended; answers may come after it
    gone      {why}: reset, deleted, or restart where the gateway ends: the last entry of a feed
"""

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from ars_gateway.protocol.frames import encoded
from ars_gateway.sessions.history import BEHIND
from ars_gateway.sessions.story import BETWEEN, text_of

Json = dict[str, Any]

# About how many bytes a feed keeps, and all feeds together, those aside that somebody holds on to.
MOST_BYTES = 8 * 1024 * 1024
MOST_OF_ALL = 64 * 1024 * 1024
MOST_FEEDS = 256
# What a feed keeps at least while others use up what there is, and after how many bytes it is looked at.
LEAST_BYTES = 256 * 1024
STEP_BYTES = 64 * 1024
# What an entry costs besides its text, and the largest attachment that is shown along with a prompt.
ENTRY_BYTES = 160
SHOWN_BYTES = 64 * 1024


class Entry(NamedTuple):
    """One thing that has happened. `n` counts from 1, without gaps; `run` is the run's id, empty outside of one."""

    n: int
    run: str
    kind: str
    data: Any


class Feed:
    """The entries of one transcript. `id` is of this process and of no other, so that a number of a former one is not
    mistaken; `last` is the number of the newest entry."""

    def __init__(self, grown: Callable[[], None] = lambda: None) -> None:
        self.id = secrets.token_hex(6)
        self.last = 0
        self.size = 0
        # When the oldest entry came that whoever measures has not told yet.
        self.fresh: float | None = None
        self._entries: list[Entry] = []
        self._begins: dict[str, int] = {}
        self._grown = grown
        self._looked_at = STEP_BYTES
        self._more: asyncio.Event | None = None

    @property
    def first(self) -> int:
        """The number of the oldest entry that is kept; one more than `last` where none is."""
        return self.last - len(self._entries) + 1

    def add(self, run: str, kind: str, data: Any) -> Entry:
        """Numbers what has happened and tells whoever waits. `data` is not to be changed any more."""
        self.last += 1
        if self.fresh is None:
            self.fresh = time.monotonic()
        entry = Entry(self.last, run, kind, data)
        self._entries.append(entry)
        if kind == "prompt":
            self._begins[run] = entry.n
        self.size += ENTRY_BYTES + (len(data) if isinstance(data, str) else _size(data))
        if self.size >= self._looked_at:
            self._grown()
            self.forget(MOST_BYTES)
            self._looked_at = self.size + STEP_BYTES
        if self._more is not None:
            self._more.set()
            self._more = None
        return entry

    def take(self, run: str, update: Json, grown: int) -> None:
        """What an agent has said or done, an update as it stands on the wire; the run's text has `grown` by so many
        characters with it."""
        if grown:
            piece: str = update["content"]["text"]
            self.add(run, "text", piece if grown == len(piece) else BETWEEN + piece)
        elif update.get("sessionUpdate") != "agent_thought_chunk":
            self.add(run, "update", update)
        elif piece := text_of(update.get("content")):
            self.add(run, "thought", piece)

    def since(self, after: int, most: int | None = None) -> list[Entry] | None:
        """The entries above `after`, the oldest `most` of them; None where some of those are forgotten."""
        begin = after - self.first + 1
        if begin < 0:
            return None
        return self._entries[begin:] if most is None else self._entries[begin : begin + most]

    def begin_of(self, run: str) -> int | None:
        """The number before a run's prompt: what comes after it is all of the run. None where that is forgotten."""
        found = self._begins.get(run)
        return None if found is None else found - 1

    @property
    def newest(self) -> int:
        """The number before the newest prompt; `last` where none is kept."""
        return next(reversed(self._begins.values()), self.last + 1) - 1

    async def more(self, after: int) -> None:
        """Returns when there is an entry above `after`."""
        while self.last <= after:
            if self._more is None:
                self._more = asyncio.Event()
            await self._more.wait()

    def forget(self, most: int) -> None:
        """Forgets the oldest entries until about `most` bytes are left, with some air; the newest is always kept."""
        if self.size <= most:
            return
        count, left = 0, self.size
        while left > most * 3 // 4 and count < len(self._entries) - 1:
            _, run, kind, data = self._entries[count]
            if kind == "prompt":
                self._begins.pop(run, None)
            left -= ENTRY_BYTES + (len(data) if isinstance(data, str) else _size(data))
            count += 1
        del self._entries[:count]
        self.size = left


class Feeds:
    """The feeds there are, by transcript. One that a run or a reader holds on to stays; of the others as many as there
    is room for, the latest."""

    def __init__(self, most_bytes: int = MOST_OF_ALL, most: int = MOST_FEEDS) -> None:
        self._most_bytes = most_bytes
        self._most = most
        self._all: WeakValueDictionary[str, Feed] = WeakValueDictionary()
        self._kept: OrderedDict[str, Feed] = OrderedDict()

    def of(self, transcript: str) -> Feed:
        """The feed of a transcript (`room.session_id`), made where there is none."""
        feed = self._all.get(transcript)
        if feed is None:
            feed = self._all[transcript] = Feed(self._shrink)
        self._kept[transcript] = feed
        self._kept.move_to_end(transcript)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return feed

    def known(self, transcript: str) -> Feed | None:
        """The feed of a transcript, where there is one."""
        return self._all.get(transcript)

    def gone(self, transcript: str, why: str) -> None:
        """The session of that transcript begins anew, or is no more: whoever reads is told, and it is forgotten."""
        if (feed := self._all.pop(transcript, None)) is not None:
            self._kept.pop(transcript, None)
            feed.add("", "gone", {"why": why})

    def close(self) -> None:
        """The gateway ends, and all feeds with it."""
        for transcript in list(self._all):
            self.gone(transcript, "restart")

    def _shrink(self) -> None:
        """Keeps within what all may use: feeds that nobody holds go first, then those that are held forget."""
        size = sum(feed.size for feed in self._all.values())
        while size > self._most_bytes and self._kept:
            transcript, feed = self._kept.popitem(last=False)
            of_it = feed.size
            del feed
            if transcript not in self._all:
                size -= of_it
        if size > self._most_bytes:
            share = max(self._most_bytes // len(self._all), LEAST_BYTES)
            for feed in list(self._all.values()):
                feed.forget(share)


def prompt_of(blocks: Iterable[Json]) -> Json:
    """A prompt as it is shown: its text, and what is attached to it; what is said behind it is left out."""
    shown = [block for block in blocks if not (block.get("_meta") or {}).get(BEHIND)]
    told: Json = {"text": "\n".join(text for block in shown if (text := text_of(block)))}
    if attached := [_attached(block) for block in shown if block.get("type") != "text"]:
        told["blocks"] = attached
    return told


def _attached(block: Json) -> Json:
    """A block without data that is large."""
    if (resource := block.get("resource")) is not None:
        return {**block, "resource": _attached(resource)}
    return {name: it for name, it in block.items() if not (isinstance(it, str) and len(it) > SHOWN_BYTES)}


def _size(data: Any) -> int:
    return len(encoded(data))
