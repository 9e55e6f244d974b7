"""Which agents there are, and the processes that serve them, each shared by the sessions of one principal.

A process is told at its start whether forms can be filled. While a client that shows forms is there, prompts go to a
process that was told so; a session that is open in another one is taken up there first.
"""

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from weakref import WeakValueDictionary

import anyio
import anyio.abc

from ars_gateway import approvals, choices
from ars_gateway.forms import Forms
from ars_gateway.keys import MAIN
from ars_gateway.rooms import Room
from connector import VENDORS, Act, Answer, Client, Connector, ConnectorError, Filled, Session, Vendor, launch
from connector.permissions import allow_once, allow_reads
from connector.vendors import command_of
from event_log import Store

Json = dict[str, Any]
# Open and idle sessions that one process keeps; the one that was used longest ago is closed for the next.
MOST_OPEN = 64
# What agents call their command that makes a conversation shorter.
COMPACT = "compact"


@dataclass(frozen=True)
class Kind:
    """An agent that can be talked to: its id, what it is called, how it is started."""

    id: str
    name: str
    vendor: Vendor


class Running(Protocol):
    """What runs in a session: the session's key as its client wrote it, and the run's id; None where nothing does."""

    def __call__(self, room: Room) -> tuple[str, str | None]: ...


def kinds(main: str, search: str | None = None) -> dict[str, Kind]:
    """The agents there are, `main` first: what `main` names, then every vendor whose program is found.

    `main` is a vendor's name or a command line; `search` is the path to look along. Raises ValueError.
    """
    row = _found(command_of(main), search)
    found = {MAIN: Kind(MAIN, row.title, row)}
    for vendor in VENDORS.values():
        if vendor.name != row.name and shutil.which(vendor.argv[0], path=search) is not None:
            found[vendor.name] = Kind(vendor.name, vendor.title, vendor)
    return found


def _found(vendor: Vendor, search: str | None) -> Vendor:
    """The row with its program where it is; our own agent is beside us where it is not on the path."""
    if shutil.which(vendor.argv[0], path=search) is not None or vendor.name != VENDORS["ars"].name:
        return vendor
    beside = os.path.join(os.path.dirname(sys.executable), vendor.argv[0])
    ours = [beside] if os.access(beside, os.X_OK) else [sys.executable, "-m", "ars_acp"]
    return replace(vendor, argv=(*ours, *vendor.argv[1:]))


@dataclass(eq=False)
class House:
    """One process of an agent, and the sessions that are open in it, the one that was used last at the end."""

    kind: Kind
    principal: str
    forms: bool
    connector: Connector | None = None
    failure: Exception | None = None
    up: anyio.Event = field(default_factory=anyio.Event)
    leave: anyio.Event = field(default_factory=anyio.Event)
    gone: anyio.Event = field(default_factory=anyio.Event)
    open: dict[str, tuple[Room, Session]] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Whether prompts can go there."""
        return self.connector is not None and not self.gone.is_set() and self.connector.is_alive()


class Agents:
    """The agents and their processes. `running` is to be set before the first session is opened."""

    running: Running

    def __init__(
        self,
        tasks: anyio.abc.TaskGroup,
        found: Mapping[str, Kind],
        store: Store,
        workspace: str,
        questions: approvals.Approvals,
        forms: Forms,
        *,
        remembered: dict[str, Json] | None = None,
        remember: Callable[[str, Json], None] = lambda agent, facts: None,
    ) -> None:
        self.kinds = found
        self.store = store
        # What each agent has told of itself, of old too: its models, the one that answers.
        self.facts: dict[str, Json] = remembered or {}
        self._tasks = tasks
        self._workspace = workspace
        self._questions = questions
        self._forms = forms
        self._remember = remember
        self._houses: dict[tuple[str, str, bool], House] = {}
        self._failures: dict[str, str] = {}
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    def lock(self, room: Room) -> anyio.Lock:
        """To be held by whoever opens or closes the transcript of a room."""
        return self._locks.setdefault(room.session_id, anyio.Lock())

    def name_of(self, room: Room) -> str:
        """The name of a room's agent as its transcripts have it."""
        return self.kinds[room.agent].vendor.name

    async def session(self, room: Room) -> Session:
        """The agent's session behind a room, ready for a prompt. Raises `ConnectorError` and OSError."""
        async with self.lock(room):
            return await self._session(room)

    async def _session(self, room: Room) -> Session:
        forms = self._forms.shown(room.principal)
        for house in list(self._houses.values()):
            found = house.open.get(room.session_id)
            if found is not None and house.alive and house.forms == forms and not found[1].closed:
                house.open[room.session_id] = house.open.pop(room.session_id)
                return found[1]
        await self._close_session(room)
        house = await self._house(self.kinds[room.agent], room.principal, forms)
        assert house.connector is not None
        session = await house.connector.ensure(room.session_id, room.cwd)
        house.open[room.session_id] = (room, session)
        self._learn(room.agent, house, session)
        await self._make_space(house)
        return session

    async def close_session(self, room: Room) -> None:
        """Closes a session where it is open, so that it can be taken up elsewhere."""
        async with self.lock(room):
            await self._close_session(room)

    async def _close_session(self, room: Room) -> None:
        for house in list(self._houses.values()):
            if (found := house.open.pop(room.session_id, None)) is not None:
                await found[1].close(tell=house.alive)

    def open_session(self, room: Room) -> Session | None:
        """The session behind a room where it is open."""
        for house in self._houses.values():
            if (found := house.open.get(room.session_id)) is not None:
                return found[1]
        return None

    async def compact(self, room: Room) -> bool:
        """Has the agent shorten its conversation; False where it has no command for it. Raises `ConnectorError`."""
        session = await self.session(room)
        if not any(command.name == COMPACT for command in session.commands):
            return False
        await (await session.prompt(f"/{COMPACT}")).result()
        return True

    async def learn(self, agent: str, principal: str) -> Json:
        """What an agent tells of itself: its facts of old, else asked in a session that is closed again.

        Raises `ConnectorError`.
        """
        if agent not in self.facts:
            house = await self._house(self.kinds[agent], principal, False)
            assert house.connector is not None
            session = await house.connector.new_session(self._workspace)
            self._learn(agent, house, session)
            await session.close()
            if house.connector.offers("session_capabilities.delete"):
                await house.connector.delete_session(session.id)
        return self.facts[agent]

    def states(self) -> dict[str, Json]:
        """Each agent's state: `stopped`, `starting`, `ready` or `failed`, and why it has failed."""
        told: dict[str, Json] = {}
        for id in self.kinds:
            houses = [house for house in self._houses.values() if house.kind.id == id]
            state = "failed" if id in self._failures else "stopped"
            if any(house.alive for house in houses):
                state = "ready"
            elif houses and id not in self._failures:
                state = "starting"
            told[id] = {"state": state} | ({"error": self._failures[id]} if state == "failed" else {})
        return told

    def told_forms(self) -> dict[str, set[bool]]:
        """Of each agent, whether there are processes that were told that forms can be filled, and that they cannot."""
        found: dict[str, set[bool]] = {}
        for house in self._houses.values():
            if house.alive:
                found.setdefault(house.kind.id, set()).add(house.forms)
        return found

    async def close(self) -> None:
        """Stops every process."""
        houses = list(self._houses.values())
        for house in houses:
            house.leave.set()
        for house in houses:
            await house.gone.wait()

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _house(self, kind: Kind, principal: str, forms: bool) -> House:
        key = (kind.id, principal, forms)
        house = self._houses.get(key)
        if house is None or (house.up.is_set() and not house.alive):
            if house is not None:
                house.leave.set()
                await house.gone.wait()
            if self._houses.get(key) is house:
                self._houses[key] = House(kind, principal, forms)
                self._tasks.start_soon(self._keep, self._houses[key])
            house = self._houses[key]
        await house.up.wait()
        if house.failure is not None:
            if self._houses.get(key) is house:
                del self._houses[key]
            raise house.failure
        return house

    async def _keep(self, house: House) -> None:
        """The process, from its start until it is to leave."""
        info = {"name": "ars-gateway", "title": "ARS Gateway", "version": "0"}
        try:
            async with launch(
                house.kind.vendor, self._client(house), cwd=self._workspace, client_info=info, store=self.store
            ) as connector:
                house.connector = connector
                self._failures.pop(house.kind.id, None)
                house.up.set()
                await house.leave.wait()
        except (ConnectorError, OSError) as why:
            house.failure = why
            self._failures[house.kind.id] = str(why)
        finally:
            house.up.set()
            house.gone.set()

    def _client(self, house: House) -> Client:
        """What the agent sees of us: a person, behind the clients that may answer for them."""
        principal = house.principal

        async def ask(act: Act) -> str | Answer:
            room = _room_of(house, act.session)
            if room is None:
                return Answer.REFUSE
            key, run = self.running(room)
            request = approvals.request_of(act, agent=room.agent, key=key, run=run)
            question = await self._questions.ask(principal, request)
            return approvals.option_for(act, question.decision)

        async def fill(form: Any) -> Filled:
            room = _room_of(house, form.session_id or "")
            key, run = self.running(room) if room is not None else ("", None)
            return await self._forms.fill(principal, form, key=key, run=run)

        ours = house.kind.vendor.name == VENDORS["ars"].name
        client = Client(
            policy=allow_reads(lambda session, path: client.inside(session, path), ask),
            unasked=allow_once if ours else None,
            fill=fill if house.forms else None,
        )
        return client

    def _learn(self, agent: str, house: House, session: Session) -> None:
        models, current = choices.models_of(session, house.kind.vendor.name)
        facts: Json = {"models": models, "model": current}
        if facts != self.facts.get(agent):
            self.facts[agent] = facts
            self._remember(agent, facts)

    async def _make_space(self, house: House) -> None:
        for session_id, (_, session) in list(house.open.items()):
            if len(house.open) <= MOST_OPEN:
                return
            if session.running is None and not session.queue:
                del house.open[session_id]
                await session.close()


def _room_of(house: House, session_id: str) -> Room | None:
    return next((room for room, session in house.open.values() if session.id == session_id), None)
