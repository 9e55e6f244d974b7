"""Runs: a prompt on its way through an agent's session, from the client that sent it to all that may see it.

A run belongs to the gateway, not to the connection that began it: it goes on when that leaves, and how it has ended is
in the ledger before anybody is told. The runs of a session follow each other in the order in which they came.
"""

import sqlite3
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import WeakValueDictionary

import anyio
import anyio.abc

from ars_gateway.observation.counts import Counts
from ars_gateway.sessions import choices, history, rooms
from ars_gateway.sessions.feed import Feed, Feeds, prompt_of
from ars_gateway.sessions.ledger import Entry, Ledger, State, now
from ars_gateway.sessions.rooms import Room, Rooms
from ars_gateway.sessions.story import Halves
from ars_gateway.talks import failures
from ars_gateway.talks.screens import Screens
from ars_gateway.talks.spending import Spending
from ars_gateway.talks.telling import Tell, Telling, raw
from ars_gateway.talks.turns import RUN, TERMINAL
from connector import ConnectorError, Session, Turn

Json = dict[str, Any]

# Runs of one session that may wait for each other.
MOST_WAITING = 100
# Where a run was cut short by our own end, as its `stopReason` has it.
RESTART = "restart"
_SPEECH = ("agent_message_chunk", "agent_thought_chunk")


class Agents(Protocol):
    """Where sessions come from."""

    async def session(self, room: Room, tools: frozenset[str] = frozenset()) -> Session:
        """The agent's session behind a room, ready for a prompt, in which it leaves `tools` to our clients.

        Raises `ConnectorError`.
        """

    def at_work(self, room: Room) -> bool:
        """Whether the agent behind an open session is there."""

    def standing_model(self, agent: str) -> str | None:
        """The model that answers where a session chose no other; None: the agent's own choice."""

    def provider(self, agent: str) -> str:
        """Whose models an agent's are that do not say it."""

    def has_window(self, agent: str, tokens: int) -> None:
        """An agent has told how many tokens its model's window has."""


@dataclass
class Order:
    """What is to be run. `key` is the session's as the client wrote it; `seconds` None is no limit of ours. `tools` are
    those that the client carries out itself; `forms` says that it answers forms."""

    principal: str
    id: str
    method: str
    body: bytes
    room: Room
    key: str
    blocks: list[Json]
    thinking: str | None = None
    seconds: float | None = None
    surface: str | None = None
    tools: frozenset[str] = frozenset()
    forms: bool = False

    @property
    def text(self) -> str:
        """The prompt's text."""
        return "\n".join(block.get("text", "") for block in self.blocks if block.get("type") == "text")


@dataclass(eq=False)
class Run:
    """One run as it stands. `over` is set when it has its end, `quiet` when its agent is not at it any more."""

    order: Order
    entry: Entry
    telling: Telling
    feed: Feed
    screens: Screens = field(default_factory=Screens)
    halves: Halves = field(default_factory=Halves)
    turn: Turn | None = None
    session: Session | None = None
    opening: anyio.CancelScope | None = None
    # When its agent began, seconds of a clock that never goes back; whether it has said or thought anything since.
    begun: float | None = None
    spoken: bool = False
    over: anyio.Event = field(default_factory=anyio.Event)
    quiet: anyio.Event = field(default_factory=anyio.Event)

    def settled(self) -> bool:
        """Whether it has its end."""
        return self.entry.state != "open"


class Runs:
    """The runs that there are, and those that were."""

    def __init__(
        self,
        tasks: anyio.abc.TaskGroup,
        ledger: Ledger,
        rooms: Rooms,
        spending: Spending,
        agents: Agents,
        feeds: Feeds,
        counts: Counts,
        tell: Tell,
        fault: Callable[[str, Exception], None],
    ) -> None:
        self.live: dict[tuple[str, str], Run] = {}
        self._tasks = tasks
        self._ledger = ledger
        self._rooms = rooms
        self._spending = spending
        self._agents = agents
        self._feeds = feeds
        self._counts = counts
        self._tell = tell
        self._fault = fault
        # Whose turn it is in a session; there as long as a run of it is.
        self._turns: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
        self._expected: dict[tuple[str, str], list[anyio.Event]] = defaultdict(list)
        self._closing = False

    # ── beginning, waiting, ending ──────────────────────────────────────────────────────────────────────────────────

    def start(self, order: Order) -> tuple[Run | None, Entry, bool]:
        """Begins a run, or finds the one that has its key: its entry in the ledger, the run where it goes on, and
        whether it is new.

        Raises `OtherBody`, and `ConnectorError` where nothing can be begun any more.
        """
        if self._closing:
            raise ConnectorError(order.room.agent, "the gateway is being restarted")
        known = self.find(order.principal, order.id) is not None
        if not known and len(self.of(order.room)) >= MOST_WAITING:
            raise ConnectorError(order.room.agent, f"{MOST_WAITING} prompts of this session wait already")
        entry = Entry(
            order.principal, order.id, order.method, order.body, key=order.room.key, session_id=order.room.session_id
        )
        if (former := self._ledger.enter(entry)) is not None:
            live = self.live.get((order.principal, order.id))
            return live, live.entry if live is not None else former, False
        feed = self._feeds.of(order.room.session_id)
        run = Run(order, entry, Telling(order.id, order.key, order.room, self._tell), feed)
        feed.add(order.id, "prompt", {**prompt_of(order.blocks), "method": order.method, "at": entry.accepted})
        self.live[order.principal, order.id] = run
        for waiter in self._expected.pop((order.principal, order.id), ()):
            waiter.set()
        self._written(lambda: self._note_start(order))
        self._tasks.start_soon(self._carry_out, run)
        return run, entry, True

    def find(self, principal: str, run: str) -> Run | Entry | None:
        """A run that goes on, or how it has ended."""
        return self.live.get((principal, run)) or self._ledger.find(principal, run)

    async def wait(self, principal: str, run: str, seconds: float) -> Entry | None:
        """How a run has ended, at the latest after `seconds`: None where it has not by then, and for an unknown one."""
        with anyio.move_on_after(seconds):
            if (found := self.find(principal, run)) is None:
                begun = anyio.Event()
                self._expected[principal, run].append(begun)
                try:
                    await begun.wait()
                finally:
                    self._forget_waiter((principal, run), begun)
                found = self.find(principal, run)
            if isinstance(found, Run):
                await found.over.wait()
        found = self.find(principal, run)
        return found if isinstance(found, Entry) and found.state != "open" else None

    def of(self, room: Room) -> list[Run]:
        """The runs of a session that are not over, in the order in which they came."""
        return [run for run in self.live.values() if run.order.room is room]

    def abort(self, runs: Iterable[Run], reason: str) -> list[str]:
        """Ends runs at once, those that wait too, and returns their ids. What an agent still says is not shown."""
        aborted = []
        for run in list(runs):
            if self._settle(run, "timeout" if reason == "timeout" else "aborted", {"stopReason": reason}):
                aborted.append(run.order.id)
                if run.session is not None:
                    run.session.cancel()
                elif run.opening is not None:  # the agent may never come
                    run.opening.cancel()
        return aborted

    async def settle_left_open(self, partial: Callable[[Entry], Awaitable[str]]) -> int:
        """Settles what the process before this one was at, with the text that is known of it. Returns how many."""
        left = sorted(self._ledger.left_open(), key=lambda it: it.accepted)
        waited: set[str] = set()  # the sessions of which one was at work: the others waited for it
        for entry in left:
            text = "" if entry.session_id in waited else await partial(entry)
            waited.add(entry.session_id)
            entry.state, entry.outcome = "error", {"text": text, "error": failures.INTERRUPTED}
            self._ledger.settle(entry)
        return len(left)

    @property
    def closing(self) -> bool:
        """Whether nothing is begun any more."""
        return self._closing

    def close(self) -> list[str]:
        """Begins nothing any more, and ends what runs: the gateway is stopping."""
        self._closing = True
        return self.abort(self.live.values(), RESTART)

    # ── inside: one run ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _carry_out(self, run: Run) -> None:
        room = run.order.room
        one_at_a_time = self._turns.setdefault(room.session_id, anyio.Lock())
        try:
            async with one_at_a_time:
                await self._ledger.entered(run.entry)
                if not run.settled():
                    await self._converse(run)
        except Exception as why:
            self._fault("run.failed", why)
            self._settle(run, "error", {"error": failures.INTERNAL})
        finally:
            run.quiet.set()

    async def _converse(self, run: Run) -> None:
        order = run.order
        try:
            with anyio.move_on_after(order.seconds) as limit:
                run.opening = limit
                session = run.session = await self._agents.session(order.room, order.tools)
                if run.settled():
                    return
                await self._choose(session, run)
                if run.settled():
                    return
                turn = run.turn = session.start([*_asides(order.room), *order.blocks])
                session.record.note(RUN, turn=turn.id, run=order.id)
                order.room.aside = []
                self._begin(run)
                async for update in turn:
                    if not run.settled() and (joined := run.halves.joined(raw(update))) is not None:
                        self._take(run, joined)
                self._end(run, await turn.result())
            if limit.cancelled_caught:
                self.abort([run], "timeout")
        except (ConnectorError, ValueError, OSError) as why:
            self._settle(run, "error", {"error": failures.told(why)})
        if run.turn is not None:
            await run.turn.ended()

    async def _choose(self, session: Session, run: Run) -> None:
        """Makes the session's choices the agent's, where it offers them."""
        facts = run.order.room.facts
        if model := facts.get("modelOverride"):
            await choices.choose_model(session, facts.get("providerOverride"), model)
        elif standing := self._agents.standing_model(run.order.room.agent):
            await choices.choose_model(session, None, standing)
        if level := run.order.thinking or facts.get("thinkingLevel"):
            await choices.choose_thinking(session, level)

    def _begin(self, run: Run) -> None:
        run.entry.started, run.begun = now(), time.monotonic()
        run.telling.begun(run.entry.started)
        run.feed.add(run.order.id, "begun", {"at": run.entry.started})

    def _take(self, run: Run, update: Json) -> None:
        story = run.telling.story
        before = story.size
        run.telling.take(update)
        run.feed.take(run.order.id, update, story.size - before)
        self._keep_screens(run, run.screens.over(update))
        if not run.spoken and update.get("sessionUpdate") in _SPEECH and run.begun is not None:
            run.spoken = True
            self._counts.first_words.add(time.monotonic() - run.begun)

    def shown(self, room: Room, terminal: str, text: str) -> None:
        """A command that the run at work in a session has begun has shown something."""
        run = next((run for run in self.of(room) if run.turn is not None), None)
        if run is not None:
            run.feed.add(run.order.id, "terminal", {"terminalId": terminal, "data": text})
            run.screens.add(terminal, text)

    def _keep_screens(self, run: Run, screens: list[Json]) -> None:
        if run.session is not None and run.turn is not None:
            for screen in screens:
                run.session.record.note(TERMINAL, turn=run.turn.id, **screen)

    def _end(self, run: Run, reason: str) -> None:
        """The agent's answer: how the turn has ended. Raises `ConnectorError` where it is none."""
        if reason == "cancelled" and not run.settled() and not self._agents.at_work(run.order.room):
            raise ConnectorError(run.order.room.agent, "it has been ended by a fault of ours")
        if reason == "cancelled":
            self._settle(run, "aborted", {"stopReason": "agent"})
        else:
            self._settle(run, "ok", {} if reason == "end_turn" else {"stopReason": reason})

    def _settle(self, run: Run, state: State, outcome: Json) -> bool:
        """The one end of a run: into the ledger first, then to whoever watches. False where it has had its end."""
        if run.settled():
            return False
        entry, story = run.entry, run.telling.story
        self._counts.ended(run.order.room.agent, state, None if run.begun is None else time.monotonic() - run.begun)
        entry.state, entry.ended = state, now()
        entry.outcome = {"text": story.text, "payloads": story.messages, **outcome, "usage": story.usage}
        self._written(lambda: self._ledger.settle(entry))
        run.telling.ended(entry)
        self._written(lambda: self._note_end(run))
        told = {name: outcome[name] for name in ("stopReason", "error") if name in outcome}
        run.feed.add(run.order.id, "end", {"state": state, **told, "at": entry.ended, "started": entry.started})
        self._keep_screens(run, run.screens.rest())
        del self.live[run.order.principal, run.order.id]
        run.over.set()
        return True

    def _written(self, write: Callable[[], object]) -> None:
        """What the disk refuses does not keep a run from its end: it is in memory, and in the log that it is lost."""
        try:
            write()
        except sqlite3.Error as why:
            self._fault("run.not_written", why)

    # ── inside: what is noted ───────────────────────────────────────────────────────────────────────────────────────

    def _note_start(self, order: Order) -> None:
        room = order.room
        room.title = room.title or rooms.title_of(order.text)
        room.facts.update(systemSent=True, abortedLastRun=False)
        if order.surface is not None:
            room.facts.setdefault("chatType", "direct")
            origin = {"provider": order.surface, "surface": order.surface, "chatType": "direct"}
            room.facts.setdefault("origin", origin)
            room.facts.setdefault("deliveryContext", {"channel": order.surface})
            room.facts["lastChannel"] = order.surface
        self._rooms.save(room)

    def _note_end(self, run: Run) -> None:
        room, usage = run.order.room, run.telling.story.usage
        if self._rooms.find(room.principal, room.key) is not room or room.session_id != run.entry.session_id:
            return  # deleted or reset meanwhile
        said = run.telling.story.messages
        room.preview = rooms.preview_of(said[-1] if said else "") or room.preview
        room.facts["abortedLastRun"] = run.entry.state in ("aborted", "timeout")
        if run.session is not None and (model := choices.models_of(run.session, "")[1]) is not None:
            provider, room.facts["model"] = choices.split(model)
            room.facts["modelProvider"] = provider or self._agents.provider(room.agent)
        if usage:
            room.facts["totalTokens"] = usage.get("used", 0)
            room.facts["contextTokens"] = usage.get("size", 0)
            self._agents.has_window(room.agent, usage.get("size", 0))
            self._spend(run, room)
        self._rooms.save(room)

    def _spend(self, run: Run, room: Room) -> None:
        """Adds what the agent has counted to the day's; it tells what the whole session has cost."""
        amount = (run.telling.story.usage.get("cost") or {}).get("amount")
        cost = None if amount is None else max(amount - room.facts.get("cost", 0), 0)
        if amount is not None:
            room.facts["cost"] = amount
        self._spending.add(room.principal, room.agent, total=run.telling.story.tokens, cost=cost)

    def _forget_waiter(self, run: tuple[str, str], waiter: anyio.Event) -> None:
        waiters = self._expected.get(run, [])
        if waiter in waiters:
            waiters.remove(waiter)
        if not waiters:
            self._expected.pop(run, None)


def _asides(room: Room) -> list[Json]:
    """What was said in a session without its agent, for the agent."""
    return [{"type": "text", "text": text, "_meta": {history.BEHIND: True}} for text in room.aside]
