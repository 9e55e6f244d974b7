"""Which agents there are, and the processes that serve them: supervised, each shared by the sessions of one principal.

A process is told at its start whether forms can be filled. While a client that shows forms is there, prompts go to a
process that was told so; a session that is open in another one is taken up there first.
"""

import contextlib
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from weakref import WeakValueDictionary

import anyio
import anyio.abc

from ars_gateway import approvals, choices
from ars_gateway.config import AgentConfig
from ars_gateway.forms import Forms
from ars_gateway.keys import MAIN
from ars_gateway.rooms import Room
from connector import VENDORS, Act, Answer, Client, Filled, NotOffered, Session, Vendor
from connector.errors import AgentUnavailable
from connector.permissions import Policy, allow_once, allow_reads
from connector.supervised import Supervised
from connector.supervisor import Supervisor
from connector.vendors import command_of
from event_log import Store

Json = dict[str, Any]
# Open and idle sessions that one process keeps; the one that was used longest ago is closed for the next.
MOST_OPEN = 64
# How long an agent that has ended is waited for, in seconds, before a prompt is answered that it cannot be reached.
PATIENCE = 0.8
RETIRE_SECONDS = 60.0
_BADNESS = {"failed": 3, "backoff": 2, "starting": 1}
# What agents call their command that makes a conversation shorter.
COMPACT = "compact"


@dataclass(frozen=True)
class Kind:
    """An agent that can be talked to: its id, what it is called, how it is started."""

    id: str
    name: str
    vendor: Vendor
    model: str | None = None  # that answers where a session chose no other


class Running(Protocol):
    """What runs in a session: the session's key as its client wrote it, and the run's id; None where nothing does."""

    def __call__(self, room: Room) -> tuple[str, str | None]: ...


def kinds(main: str, search: str | None = None, configured: Mapping[str, AgentConfig] | None = None) -> dict[str, Kind]:
    """The agents there are, `main` first: what `main` names, then every vendor whose program is found, then those that
    are `configured`.

    `main` is a vendor's name or a command line; `search` is the path to look along. Raises ValueError.
    """
    row = _found(command_of(main), search)
    found = {MAIN: Kind(MAIN, row.title, row)}
    for vendor in VENDORS.values():
        if vendor.name != row.name and shutil.which(vendor.argv[0], path=search) is not None:
            found[vendor.name] = Kind(vendor.name, vendor.title, vendor)
    for id, one in (configured or {}).items():
        program = one.vendor or one.command
        row = found[MAIN].vendor if id == MAIN or program is None else _found(command_of(program), search)
        row = replace(row, env={**row.env, **one.env})
        found[id] = Kind(id, one.name or row.title, row, one.model)
    return found


def policy_of(name: str, inside: Callable[[str, str], bool], ask: Policy) -> Policy:
    """What the configured policy means: which acts are asked about, allowed or refused at once."""
    return {"ask": allow_reads(inside, ask), "ask-always": ask, "deny": allow_reads(inside)}[name]


def _found(vendor: Vendor, search: str | None) -> Vendor:
    """The row with its program where it is; our own agent is beside us where it is not on the path."""
    if shutil.which(vendor.argv[0], path=search) is not None or vendor.name != VENDORS["ars"].name:
        return vendor
    beside = os.path.join(os.path.dirname(sys.executable), vendor.argv[0])
    ours = [beside] if os.access(beside, os.X_OK) else [sys.executable, "-m", "ars_acp"]
    return replace(vendor, argv=(*ours, *vendor.argv[1:]))


@dataclass(eq=False)
class House:
    """The agents of one principal, all told the same of forms; their open sessions, the one that was used last at the
    end."""

    principal: str
    forms: bool
    supervisor: Supervisor
    up: anyio.Event = field(default_factory=anyio.Event)
    leave: anyio.Event = field(default_factory=anyio.Event)
    gone: anyio.Event = field(default_factory=anyio.Event)
    open: dict[str, tuple[Room, Session]] = field(default_factory=dict)
    # How many are about to open a session here; whether its end is near.
    coming: int = 0
    ending: bool = False


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
        on_event: Callable[[str, Json], None] | None = None,
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
        self._on_event = on_event
        self.policy = "ask"
        # How long agents that were told otherwise of forms are kept with nothing to do.
        self.retire_seconds = RETIRE_SECONDS
        self._houses: dict[tuple[str, bool], House] = {}
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    def lock(self, room: Room) -> anyio.Lock:
        """To be held by whoever opens or closes the transcript of a room."""
        return self._locks.setdefault(room.session_id, anyio.Lock())

    async def session(self, room: Room) -> Session:
        """The agent's session behind a room, ready for a prompt. Raises `ConnectorError` and OSError."""
        async with self.lock(room), self._house(room.principal, self._forms.shown(room.principal)) as house:
            if (found := house.open.pop(room.session_id, None)) is None or found[1].closed:
                await self._close_session(room)
                supervised = await self._there(house, room.agent)
                found = (room, await supervised.ensure(room.session_id, room.cwd))
                self._learn(room.agent, found[1])
            else:
                house.open[room.session_id] = found
                await self._there(house, room.agent)
            house.open[room.session_id] = found
            await self._make_space(house)
            self._retire_others(house)
            return found[1]

    def provider(self, agent: str) -> str:
        """Whose models an agent's are that do not say it: those of its vendor."""
        return self.kinds[agent].vendor.name

    def standing_model(self, agent: str) -> str | None:
        """The model that is configured for an agent."""
        kind = self.kinds.get(agent)
        return kind.model if kind is not None else None

    def has_window(self, agent: str, tokens: int) -> None:
        """An agent has told how many tokens its model's window has."""
        if (facts := self.facts.get(agent)) is not None and facts.get("window") != tokens:
            facts["window"] = tokens
            self._remember(agent, facts)

    async def close_session(self, room: Room) -> None:
        """Closes a session where it is open, so that it can be taken up elsewhere."""
        async with self.lock(room):
            await self._close_session(room)

    async def _close_session(self, room: Room) -> None:
        for house in list(self._houses.values()):
            if (found := house.open.pop(room.session_id, None)) is not None:
                await found[1].close()

    def open_session(self, room: Room) -> Session | None:
        """The session behind a room where it is open."""
        opened = (house.open.get(room.session_id) for house in self._houses.values())
        return next((found[1] for found in opened if found is not None and not found[1].closed), None)

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
            async with self._house(principal, self._forms.shown(principal)) as house:
                supervised = await self._there(house, agent)
                session = await supervised.new_session(self._workspace)
                self._learn(agent, session)
                await session.close()
                with contextlib.suppress(NotOffered):
                    await supervised.connector.delete_session(session.id)
        return self.facts[agent]

    def states(self) -> dict[str, Json]:
        """Each agent's state as its supervisor has it, of several processes the worst, why it is in it, and its pid."""
        told: dict[str, Json] = {}
        for id in self.kinds:
            found = [house.supervisor[id] for house in self._houses.values() if id in house.supervisor]
            worst = max(found, key=lambda it: _BADNESS.get(it.state, 0), default=None)
            told[id] = {"state": "stopped"} if worst is None else _told(worst)
        return told

    def troubled(self) -> list[str]:
        """The agents that cannot be reached now."""
        return [id for id, told in self.states().items() if told["state"] in ("backoff", "failed")]

    def told_forms(self) -> dict[str, set[bool]]:
        """Of each agent, whether there are processes that were told that forms can be filled, and that they cannot."""
        found: dict[str, set[bool]] = {}
        for house in self._houses.values():
            for supervised in house.supervisor:
                found.setdefault(supervised.name, set()).add(house.forms)
        return found

    async def close(self) -> None:
        """Stops every process, within 3 s."""
        houses = list(self._houses.values())
        for house in houses:
            house.leave.set()
        for house in houses:
            await house.gone.wait()

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @contextlib.asynccontextmanager
    async def _house(self, principal: str, forms: bool) -> AsyncIterator[House]:
        """The house of that principal that was told so of forms; it stands while the block lasts."""
        house = self._houses.get((principal, forms))
        if house is None:
            supervisor = Supervisor(store=self.store, on_event=self._on_event)
            house = self._houses[principal, forms] = House(principal, forms, supervisor)
            self._tasks.start_soon(self._keep, house)
        house.coming += 1
        try:
            await house.up.wait()
            yield house
        finally:
            house.coming -= 1

    def _retire_others(self, house: House) -> None:
        """Ends the principal's other agents after a while, where no session is open with them."""
        for other in self._houses.values():
            if other is not house and other.principal == house.principal and not other.open and not other.ending:
                other.ending = True
                self._tasks.start_soon(self._retire, other)

    async def _retire(self, house: House) -> None:
        await anyio.sleep(self.retire_seconds)
        house.ending = False
        if not house.open and not house.coming:
            del self._houses[house.principal, house.forms]
            house.leave.set()

    async def _keep(self, house: House) -> None:
        try:
            async with house.supervisor:
                house.up.set()
                await house.leave.wait()
        finally:
            house.gone.set()

    async def _there(self, house: House, agent: str) -> Supervised:
        """The agent, at work; one that had failed is tried again. Raises `AgentUnavailable` soon where it is not."""
        supervisor = house.supervisor
        if agent not in self.kinds:
            raise AgentUnavailable(agent, "stopped", "it is not installed any more")
        if agent not in supervisor:
            info = {"name": "ars-gateway", "title": "ARS Gateway", "version": "0"}
            vendor, client = self.kinds[agent].vendor, self._client(house, agent)
            supervisor.add(agent, vendor, client, cwd=self._workspace, client_info=info)
        supervised = supervisor[agent]
        supervised.reset()
        with anyio.move_on_after(PATIENCE):
            await supervised.reached("ready", "busy")
        # One that starts may take its time, one that starts again and again does not come.
        while supervised.state == "starting" and not supervised.status().restarts:
            await supervised.reached("ready", "busy", "backoff")
        if supervised.state not in ("ready", "busy"):
            raise AgentUnavailable(agent, supervised.state, supervised.why)
        return supervised

    def _client(self, house: House, agent: str) -> Client:
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

        def inside(session: str, path: str) -> bool:
            return client.inside(session, path)

        policy = policy_of(self.policy, inside, ask)
        ours = self.kinds[agent].vendor.name == VENDORS["ars"].name
        client = Client(
            policy=policy,
            unasked=allow_once if ours else None,
            fill=fill if house.forms else None,
        )
        return client

    def _learn(self, agent: str, session: Session) -> None:
        models, current = choices.models_of(session, self.provider(agent))
        known = self.facts.get(agent) or {}
        facts: Json = {**known, "models": models, "model": current}
        if facts != known:
            self.facts[agent] = facts
            self._remember(agent, facts)

    async def _make_space(self, house: House) -> None:
        for session_id, (_, session) in list(house.open.items())[:-1]:
            if len(house.open) <= MOST_OPEN:
                return
            if session.running is None and not session.queue:
                del house.open[session_id]
                await session.close()


def _told(supervised: Supervised) -> Json:
    status = supervised.status()
    return {"state": status.state, "why": status.why, "pid": status.pid, "restarts": status.restarts}


def _room_of(house: House, session_id: str) -> Room | None:
    return next((room for room, session in house.open.values() if session.id == session_id), None)
