"""Talks: agents, sessions, runs, and what waits for a person. What goes on behind the door, built once."""

import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import anyio
import orjson

from ars_gateway.access.scopes import WRITE
from ars_gateway.call import Caller
from ars_gateway.errors import StartError
from ars_gateway.protocol.frames import encoded
from ars_gateway.sessions import keys
from ars_gateway.sessions.feed import Feed, Feeds
from ars_gateway.sessions.ledger import Entry, Ledger
from ars_gateway.sessions.lists import Lists
from ars_gateway.sessions.rooms import Room, Rooms
from ars_gateway.talks import forms, passing
from ars_gateway.talks.agents import Agents, kinds
from ars_gateway.talks.approvals import Approvals
from ars_gateway.talks.conversations import Conversations
from ars_gateway.talks.forms import Forms
from ars_gateway.talks.hands import Hands
from ars_gateway.talks.runs import Runs
from ars_gateway.talks.spending import Spending
from ars_gateway.talks.steering import Steering
from ars_gateway.talks.telling import Audience
from ars_gateway.talks.transcripts import Transcripts
from event_log import LogError, Store, open_store

if TYPE_CHECKING:
    from ars_gateway.gateway import Gateway

Json = dict[str, Any]
# A client that names one of these in its `caps` sees the tools of every session, whatever its verboseLevel.
TOOL_CAPS = frozenset({"tool-events"})
STOP_SECONDS = 4.0
# What a connector tells that somebody should know.
TROUBLE = frozenset({"session.recreated", "spare.failed", "record.failed", "turn.interrupted", "turn.not_sent"})

# Which entries of a feed they are.
QUESTIONS = {"exec.approval.requested": "question", forms.REQUESTED: "form"}
ANSWERS = {"exec.approval.resolved": "answered", forms.RESOLVED: "filled"}

TABLES = "CREATE TABLE IF NOT EXISTS agents (id TEXT PRIMARY KEY, facts BLOB NOT NULL) WITHOUT ROWID"


class Talks:
    """`agents`, `runs`, `transcripts`, `conversations` and `store` are there while it is `running`."""

    agents: Agents
    runs: Runs
    transcripts: Transcripts
    conversations: Conversations
    store: Store

    def __init__(self, gateway: "Gateway") -> None:
        settings = gateway.settings
        self.index_path = str(settings.index_path)
        self.workspace = str(settings.workspace)
        try:
            self.kinds = kinds(settings.agent, configured=settings.config.agents)
        except ValueError as why:
            raise StartError(f"an agent's command cannot be read: {why}") from None
        self.rooms = Rooms(gateway.index)
        self.ledger = Ledger(gateway.index)
        self.spending = Spending(gateway.index)
        self.lists = Lists()
        self.feeds = Feeds()
        self.steering = Steering()
        self.approvals = Approvals(self.ask, seconds=settings.config.approvals.seconds)
        self.forms = Forms(self.ask, self.shows_forms)
        self.hands = Hands(self.feeds)
        self.rooms.changed = self._rooms_changed
        self._gateway = gateway
        # Where what waits for a person was told, so that the answer is told there too.
        self._asked: dict[str, tuple[Feed, str]] = {}
        self._store_url, self._unsent = settings.store, str(settings.unsent_path)
        self._makes_workspace = settings.workspace_path is None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Talks"]:
        """At work: what the process before this one was at is settled first."""
        index = self._gateway.index
        index.execute(TABLES)
        told = {id: orjson.loads(facts) for id, facts in index.execute("SELECT id, facts FROM agents")}
        if self._makes_workspace:
            os.makedirs(self.workspace, mode=0o700, exist_ok=True)
        log = self._gateway.log
        store = self.store = open_store(
            self._store_url, beside=self._unsent, tell=lambda line: log.warning("store.told", line=line)
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.run)
            self.agents = Agents(
                tasks,
                self.kinds,
                store,
                self.workspace,
                self.approvals,
                self.forms,
                self.hands,
                remembered=told,
                remember=self._remember,
                on_event=self._note,
            )
            self.agents.fault = self.fault
            self.agents.running = self._what_runs
            self.agents.wanted = lambda room: bool(self.runs.of(room))
            self.agents.policy = self._gateway.settings.config.approvals.policy
            counts = self._gateway.counts
            self.runs = Runs(
                tasks, self.ledger, self.rooms, self.spending, self.agents, self.feeds, counts, self.tell, self.fault
            )
            self.agents.shown = self.runs.shown
            self.transcripts = Transcripts(store, self.agents)
            self.conversations = Conversations(self.transcripts, self.feeds, self.runs)
            await self.runs.settle_left_open(self._partial)
            await passing.forget_left(self)
            try:
                yield self
            finally:
                self.stop()
                with anyio.move_on_after(STOP_SECONDS, shield=True):
                    await self.agents.close()
                    await store.close()
                tasks.cancel_scope.cancel()

    def stop(self) -> list[str]:
        """Settles what runs and begins nothing more; clients are told while they are still there."""
        settled = self.runs.close()
        self.feeds.close()
        return settled

    # ── telling clients ─────────────────────────────────────────────────────────────────────────────────────────────

    def tell(
        self, event: str, payload: Json, *, principal: str, droppable: bool = False, audience: Audience = "all"
    ) -> None:
        """An event for those of a principal who may see it; `tools`: for those who ask for tools besides."""
        only = _with_tools(principal) if audience == "tools" else _of(principal)
        self._gateway.hub.broadcast(event, payload, droppable=droppable, only=only)

    def ask(self, event: str, payload: Json, principal: str) -> None:
        """An event of what waits for a person."""
        only = _with_forms(principal) if event in (forms.REQUESTED, forms.RESOLVED) else _of(principal)
        self._gateway.hub.broadcast(event, payload, only=only)
        self._feed(event, payload, principal)

    def for_newcomer(self, caller: Caller) -> list[tuple[str, Json]]:
        """The events that a client which comes now has missed and has to know."""
        found = self.approvals.for_newcomer(caller.principal)
        return found + (self.forms.for_newcomer(caller.principal) if forms.CAP in caller.caps else [])

    def asked_in(self, room: Room, id: str) -> bool:
        """Whether that question, or form, waits in that session."""
        feed, _ = self._asked.get(id, (None, ""))
        return feed is not None and feed is self.feeds.known(room.session_id)

    def shows_forms(self, principal: str) -> bool:
        """Whether a client is there who can show forms, and may answer them: at a socket, or one that has said so with
        the message of a run that goes on."""
        callers = (connection.caller for connection in self._gateway.hub.connections.values())
        orders = (run.order for run in self.runs.live.values())
        return any(it.forms and it.principal == principal for it in orders) or any(
            it is not None and _with_forms(principal)(it) and it.has(WRITE) for it in callers
        )

    def defaults(self) -> Json:
        """What answers in a session in which nothing else was chosen; null where no agent has told yet."""
        facts = self.agents.facts.get(keys.MAIN) or {}
        known = next((it for it in facts.get("models", ()) if it["id"] == facts.get("model")), None)
        provider = known["provider"] if known else None
        return {"modelProvider": provider, "model": facts.get("model"), "contextTokens": facts.get("window")}

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _rooms_changed(self) -> None:
        self.lists.forget()
        self._gateway.health.forget()

    def _what_runs(self, room: Room) -> tuple[str, str | None]:
        run = next((run for run in self.runs.of(room) if run.turn is not None), None)
        return (run.order.key, run.order.id) if run is not None else (room.key, None)

    def _feed(self, event: str, payload: Json, principal: str) -> None:
        """What waits for a person, and its answer, into the feed of the session that it is about. What a client asks
        by exec.approval.request is about none."""
        if (kind := ANSWERS.get(event)) is not None:
            feed, run = self._asked.pop(payload["id"], (None, ""))
        else:
            kind = QUESTIONS[event]
            about = payload if kind == "form" else (payload["request"].get("_ars") or {"runId": None})
            going = self.runs.live.get((principal, about["runId"] or ""))
            run, feed = (about["runId"], going.feed) if going is not None else ("", None)
            if feed is not None:
                self._asked[payload["id"]] = feed, run
        if feed is not None:
            feed.add(run, kind, payload)

    def _remember(self, agent: str, facts: Json) -> None:
        try:
            self._gateway.index.write(("REPLACE INTO agents VALUES (?, ?)", (agent, encoded(facts))))
        except sqlite3.Error as why:  # the agent tells it again in its next session
            self.fault("agent.not_written", why)
        self._rooms_changed()

    def _note(self, event: str, fields: Json) -> None:
        """What supervisors tell goes into the log: trouble as that, each request and turn for who looks closely."""
        log = self._gateway.log
        if event in TROUBLE or fields.get("state") in ("backoff", "failed"):
            log.warning(event, **fields)
        elif event == "agent.state" and "busy" not in (fields["state"], fields["was"]):
            log.info(event, **fields)
        else:
            log.debug(event, **fields)
        if "state" in fields:
            self._gateway.health.agents_changed()

    def fault(self, event: str, why: Exception) -> None:
        """Into the log: what should not happen, and ends nothing."""
        self._gateway.log.error(event, exc_info=why)

    async def _partial(self, entry: Entry) -> str:
        try:
            return await self.transcripts.partial(entry, self.rooms.find(entry.principal, entry.key))
        except LogError as why:  # what cannot be read keeps no gateway from its start
            self.fault("run.partial_unknown", why)
            return ""


@cache
def _of(principal: str) -> Callable[[Caller], bool]:
    return lambda caller: caller.principal == principal


@cache
def _with_tools(principal: str) -> Callable[[Caller], bool]:
    return lambda caller: caller.principal == principal and bool(caller.caps & TOOL_CAPS)


@cache
def _with_forms(principal: str) -> Callable[[Caller], bool]:
    return lambda caller: caller.principal == principal and forms.CAP in caller.caps
