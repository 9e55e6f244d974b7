"""Talks: agents, sessions, runs, and what waits for a person. What goes on behind the door, built once."""

import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import anyio
import orjson

from ars_gateway import forms, keys
from ars_gateway.agents import Agents, kinds
from ars_gateway.approvals import Approvals
from ars_gateway.call import Caller
from ars_gateway.errors import StartError
from ars_gateway.forms import Forms
from ars_gateway.ledger import Entry, Ledger
from ars_gateway.lists import Lists
from ars_gateway.rooms import Room, Rooms
from ars_gateway.runs import Runs
from ars_gateway.scopes import WRITE
from ars_gateway.spending import Spending
from ars_gateway.telling import Audience
from ars_gateway.transcripts import Transcripts
from event_log import LogError, open_store

if TYPE_CHECKING:
    from ars_gateway.gateway import Gateway

Json = dict[str, Any]
# A client that names one of these in its `caps` sees the tools of every session, whatever its verboseLevel.
TOOL_CAPS = frozenset({"tool-events"})
STOP_SECONDS = 4.0
# What a connector tells that somebody should know.
TROUBLE = frozenset({"session.recreated", "spare.failed", "record.failed", "turn.interrupted", "turn.not_sent"})

TABLES = "CREATE TABLE IF NOT EXISTS agents (id TEXT PRIMARY KEY, facts BLOB NOT NULL) WITHOUT ROWID"


class Talks:
    """`agents`, `runs` and `transcripts` are there while it is `running`."""

    agents: Agents
    runs: Runs
    transcripts: Transcripts

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
        self.approvals = Approvals(self.ask, seconds=settings.config.approvals.seconds)
        self.forms = Forms(self.ask, self.shows_forms)
        self.rooms.changed = self._rooms_changed
        self._gateway = gateway
        self._store_url = settings.store
        self._makes_workspace = settings.workspace_path is None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Talks"]:
        """At work: what the process before this one was at is settled first."""
        index = self._gateway.index
        index.execute(TABLES)
        told = {id: orjson.loads(facts) for id, facts in index.execute("SELECT id, facts FROM agents")}
        if self._makes_workspace:
            os.makedirs(self.workspace, mode=0o700, exist_ok=True)
        store = open_store(self._store_url)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.run)
            self.agents = Agents(
                tasks,
                self.kinds,
                store,
                self.workspace,
                self.approvals,
                self.forms,
                remembered=told,
                remember=self._remember,
                on_event=self._note,
            )
            self.agents.running = self._what_runs
            self.agents.policy = self._gateway.settings.config.approvals.policy
            self.runs = Runs(tasks, self.ledger, self.rooms, self.spending, self.agents, self.tell, self._fault)
            self.transcripts = Transcripts(store, self.agents)
            await self.runs.settle_left_open(self._partial)
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
        return self.runs.close()

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

    def for_newcomer(self, caller: Caller) -> list[tuple[str, Json]]:
        """The events that a client which comes now has missed and has to know."""
        found = self.approvals.for_newcomer(caller.principal)
        return found + (self.forms.for_newcomer(caller.principal) if forms.CAP in caller.caps else [])

    def shows_forms(self, principal: str) -> bool:
        """Whether a client is there who can show forms, and may answer them."""
        callers = (connection.caller for connection in self._gateway.hub.connections.values())
        return any(it is not None and _with_forms(principal)(it) and it.has(WRITE) for it in callers)

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

    def _remember(self, agent: str, facts: Json) -> None:
        try:
            with self._gateway.index as index:
                index.execute("REPLACE INTO agents VALUES (?, ?)", (agent, orjson.dumps(facts)))
        except sqlite3.Error as why:  # the agent tells it again in its next session
            self._fault("agent.not_written", why)
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

    def _fault(self, event: str, why: Exception) -> None:
        self._gateway.log.error(event, exc_info=why)

    async def _partial(self, entry: Entry) -> str:
        try:
            return await self.transcripts.partial(entry, self.rooms.find(entry.principal, entry.key))
        except LogError as why:  # what cannot be read keeps no gateway from its start
            self._fault("run.partial_unknown", why)
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
