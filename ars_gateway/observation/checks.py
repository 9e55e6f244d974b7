"""What the gateway stands on, tried out when somebody asks: the store of sessions, and the endpoints of the models.

What was found holds for a few seconds, and is looked for once at a time, so that asking often costs nothing.
"""

import sqlite3
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from connector import ConnectorError
from event_log import LogError

if TYPE_CHECKING:
    from ars_gateway.gateway import Gateway

Json = dict[str, Any]

# How long all of it may take, and the index alone; how long what was found of the store holds.
SECONDS = 4.0
INDEX_SECONDS = 2.0
STORE_SECONDS = 5.0
TABLE = "CREATE TABLE IF NOT EXISTS checks (id INTEGER PRIMARY KEY, at INTEGER NOT NULL)"


@dataclass(frozen=True)
class Store:
    """Whether sessions and transcripts can be read and written; why not."""

    readable: bool
    writable: bool
    why: str | None = None


LATE = Store(readable=False, writable=False, why=f"no answer within {SECONDS:g} s")


class Checks:
    """Made with the gateway; asked while it runs."""

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway
        self._one_at_a_time = anyio.Lock()
        self._found: tuple[Store, float] | None = None

    async def store(self) -> Store:
        """How the store is, at most 5 s ago; an answer comes within 4 s."""
        found = LATE
        with anyio.move_on_after(SECONDS):
            async with self._one_at_a_time:
                now = self._gateway.clock()
                if self._found is not None and now < self._found[1]:
                    return self._found[0]
                found = await self._try()
                self._found = found, self._gateway.clock() + STORE_SECONDS
        return found

    async def models(self, agents: list[str]) -> dict[str, Json]:
        """Of each agent, whether the endpoint of its model answers: `reachable` is None where nobody knows. An answer
        comes within 4 s; no agent is started for it."""
        found = {agent: _unknown(f"no answer within {SECONDS:g} s") for agent in agents}

        async def ask(agent: str) -> None:
            found[agent] = await self._model(agent)

        with anyio.move_on_after(SECONDS):
            async with anyio.create_task_group() as tasks:
                for agent in agents:
                    tasks.start_soon(ask, agent)
        return found

    def asleep(self, agent: str, state: str) -> Json:
        """The same of an agent that is not at work: where its model is, only it knows, and to start it takes a process
        and a second for each question. Its model is the one that answered last."""
        agents = self._gateway.talks.agents
        model = agents.standing_model(agent) or (agents.facts.get(agent) or {}).get("model")
        return _unknown(f"the agent is {state}: it is not started for this, and only it knows the endpoint", model)

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _model(self, agent: str) -> Json:
        try:
            told = await self._gateway.talks.agents.model_health(agent)
        except ConnectorError as why:
            return _unknown(str(why))
        if told is None:
            return _unknown("the agent does not tell")
        found: Json = {"reachable": told.reachable, "model": told.model, "endpoint": told.endpoint}
        return {**found, "ms": round(told.ms, 1), "why": told.why}

    async def _try(self) -> Store:
        try:
            self._gateway.index.execute("SELECT count(*) FROM sessions").fetchone()
        except sqlite3.Error as why:
            return Store(readable=False, writable=False, why=f"the index: {why}")
        try:
            note = ("REPLACE INTO checks VALUES (1, ?)", (self._gateway.now_ms(),))
            write = self._gateway.index.write((TABLE, ()), note)
            with anyio.move_on_after(INDEX_SECONDS) as late:
                await write.wait()
            if late.cancelled_caught:
                return Store(readable=True, writable=False, why="the index: another program holds it")
            await self._write_transcript()
        except sqlite3.Error as why:
            return Store(readable=True, writable=False, why=f"the index: {why}")
        except (LogError, OSError) as why:
            return Store(readable=True, writable=False, why=f"transcripts: {why}")
        return Store(readable=True, writable=True)

    async def _write_transcript(self) -> None:
        store, name = self._gateway.talks.store, f"check-{uuid.uuid4()}"
        log = await store.create(name)
        try:
            log.append([{"type": "check"}])
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(1):
                log.close()
                await store.delete(name)


def _unknown(why: str, model: str | None = None) -> Json:
    return {"reachable": None, "model": model, "endpoint": None, "ms": None, "why": why}
