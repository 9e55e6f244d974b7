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
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from weakref import WeakValueDictionary

import anyio
import anyio.abc

from acp_wire.build_extensions import tool_result
from ars_gateway.config import AgentConfig
from ars_gateway.sessions import choices
from ars_gateway.sessions.keys import MAIN
from ars_gateway.sessions.rooms import Room
from ars_gateway.talks import approvals
from ars_gateway.talks.forms import Action, Forms
from ars_gateway.talks.hands import FAILED, Hands
from connector import VENDORS, Act, Answer, Client, Filled, NotOffered, Paced, Session, ToolCall, Vendor, environment
from connector.errors import AgentUnavailable
from connector.permissions import Policy, Said, allow_once, allow_reads
from connector.supervised import AT_WORK, Supervised
from connector.supervisor import Supervisor
from connector.vendors import command_of
from event_log import Store

if TYPE_CHECKING:
    from acp_wire.schema.extensions import HealthResponse

Json = dict[str, Any]
# Open and idle sessions that one process keeps; the one that was used longest ago is closed for the next.
MOST_OPEN = 64
# How long an agent that has ended is waited for, in seconds, before a prompt is answered that it cannot be reached.
PATIENCE = 0.8
RETIRE_SECONDS = 60.0
# Why an agent has ended that nobody has ended.
BROKEN = "a fault of the gateway's has ended it: the log has it"
_BADNESS = {"failed": 3, "backoff": 2, "starting": 1}
UNSTABLE, USAGE = "ARS_UNSTABLE", "turn_usage"
# What agents call their command that makes a conversation shorter.
COMPACT = "compact"
# How our own agent begins to say that it has not; others say nothing that could be known by.
UNCHANGED = "Nothing was changed"
REASON_CHARACTERS = 500


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


class Opened(NamedTuple):
    """A session that is open, and the tools that its agent leaves to our clients."""

    room: Room
    session: Session
    tools: frozenset[str]


@dataclass(eq=False)
class House:
    """One agent of one principal, which was told so of forms; its open sessions, the one that was used last at the
    end. `broken` is set where it has ended by what should not happen."""

    principal: str
    agent: str
    forms: bool
    supervisor: Supervisor
    broken: bool = False
    up: anyio.Event = field(default_factory=anyio.Event)
    leave: anyio.Event = field(default_factory=anyio.Event)
    gone: anyio.Event = field(default_factory=anyio.Event)
    open: dict[str, Opened] = field(default_factory=dict)
    # How many are about to open a session here; whether its end is near.
    coming: int = 0
    ending: bool = False

    @property
    def supervised(self) -> Supervised | None:
        """Its agent, once it was asked for."""
        return self.supervisor.agents.get(self.agent)


class Agents:
    """The agents and their processes. `running`, and `wanted`, which says whether runs of a session go on or wait, are
    to be set before the first session is opened; so are `shown`, which is called with what commands print: the room,
    the terminal's id, the text, and `fault`, with what should not happen and has ended one agent of one principal."""

    running: Running
    shown: Callable[[Room, str, str], None]
    wanted: Callable[[Room], bool]
    fault: Callable[[str, Exception], None]

    def __init__(
        self,
        tasks: anyio.abc.TaskGroup,
        found: Mapping[str, Kind],
        store: Store,
        workspace: str,
        questions: approvals.Approvals,
        forms: Forms,
        hands: Hands,
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
        self._hands = hands
        self._remember = remember
        self._on_event = on_event
        self.policy = "ask"
        # How long agents that were told otherwise of forms are kept with nothing to do.
        self.retire_seconds = RETIRE_SECONDS
        self._houses: dict[tuple[str, str, bool], House] = {}
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    def lock(self, room: Room) -> anyio.Lock:
        """To be held by whoever opens or closes the transcript of a room."""
        return self._locks.setdefault(room.session_id, anyio.Lock())

    async def session(self, room: Room, tools: frozenset[str] | None = None) -> Session:
        """The agent's session behind a room, ready for a prompt, in which it leaves `tools` to our clients.

        Without `tools` it is the one that is open, whatever it is at, and was opened with. Raises `ConnectorError` and
        OSError.
        """
        async with self.lock(room):
            if tools is None and (already := self.open_session(room)) is not None:
                return already
            async with self._house(room.principal, room.agent) as house:
                return await self._session(house, room, tools or frozenset())

    async def _session(self, house: House, room: Room, tools: frozenset[str]) -> Session:
        found = house.open.get(room.session_id)
        if found is not None and found.tools != tools and not found.session.closed:
            found = await self._retooled(house, found, tools)
        if found is None or found.session.closed:
            await self._end_session(room)
            supervised = await self._there(house)
            shown = Paced(partial(self.shown, room))
            session = await supervised.ensure(room.session_id, room.cwd, tools=tools, on_output=shown)
            found = Opened(room, session, tools)
            self._learn(room.agent, session)
        else:
            await self._there(house)
        house.open.pop(room.session_id, None)
        house.open[room.session_id] = found
        await self._make_space(house)
        self._retire_others(house)
        return found.session

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

    async def forget_session(self, room: Room) -> None:
        """Closes a session for good: its agent forgets it too, where it offers that. Raises `ConnectorError`."""
        async with self.lock(room):
            for house in list(self._houses.values()):
                if (found := house.open.pop(room.session_id, None)) is not None:
                    await found.session.close()
                    with contextlib.suppress(NotOffered):
                        await house.supervisor[room.agent].connector.delete_session(found.session.id)

    async def _retooled(self, house: House, found: Opened, tools: frozenset[str]) -> Opened | None:
        """A session with other tools, when it has done what it is at; None where it has to be opened anew for them,
        at which its agent forgets what was always allowed in it. Raises `ConnectorError`."""
        await _done(found.session)
        await self._there(house)
        try:
            await found.session.retool(tools)
        except NotOffered:
            return None
        now = house.open[found.room.session_id] = found._replace(tools=tools)
        return now

    async def _end_session(self, room: Room) -> None:
        """Closes a session when it has done what it is at: another is opened in its place."""
        if (session := self.open_session(room)) is not None:
            await _done(session)
        await self._close_session(room)

    async def _close_session(self, room: Room) -> None:
        for house in list(self._houses.values()):
            if (found := house.open.pop(room.session_id, None)) is not None:
                await found.session.close()

    def open_session(self, room: Room) -> Session | None:
        """The session behind a room where it is open."""
        opened = (house.open.get(room.session_id) for house in self._houses.values())
        return next((found.session for found in opened if found is not None and not found.session.closed), None)

    def at_work(self, room: Room) -> bool:
        """Whether the agent of an open session is there: where it is not, nobody but its end has cancelled anything."""
        houses = [house for house in self._houses.values() if room.session_id in house.open]
        return any(not it.broken and it.supervised is not None and it.supervised.state in AT_WORK for it in houses)

    async def compact(self, room: Room) -> str:
        """Has the agent shorten its conversation. Why that is as long as before, as far as one can know; else nothing.

        Raises `ConnectorError`.
        """
        session = await self.session(room)
        if not any(command.name == COMPACT for command in session.commands):
            return "the agent has no command for it"
        turn = await session.prompt(f"/{COMPACT}")
        if (stop := await turn.result()) != "end_turn":
            return f"the agent did not come to its end: {stop}"
        said = turn.text.strip()
        return said[:REASON_CHARACTERS] if said.startswith(UNCHANGED) else ""

    async def learn(self, agent: str, principal: str) -> Json:
        """What an agent tells of itself: its facts of old, else asked in a session that is closed again.

        Raises `ConnectorError`.
        """
        return await self._known(agent, principal, "models")

    async def offers(self, agent: str, principal: str) -> Json:
        """What an agent offers in a new session (`choices.offers`), as far as `learn` goes. Raises `ConnectorError`."""
        found: Json = (await self._known(agent, principal, "offers"))["offers"]
        return found

    async def _known(self, agent: str, principal: str, fact: str) -> Json:
        """An agent's facts, with that one among them."""
        async with self._locks.setdefault(f"of {agent}", anyio.Lock()):  # whoever asks meanwhile has the same answer
            if fact not in self.facts.get(agent, {}):
                async with self._house(principal, agent) as house:
                    supervised = await self._there(house)
                    session = await supervised.new_session(self._workspace)
                    self._learn(agent, session)
                    await session.close()
                    with contextlib.suppress(NotOffered):
                        await supervised.connector.delete_session(session.id)
        return self.facts[agent]

    def states(self) -> dict[str, Json]:
        """Each agent's state as its supervisor has it, of several processes the worst, why it is in it, and its pid;
        whether it is `away`: one that ends again and again is so between its starts, too."""
        told: dict[str, Json] = {}
        for id in self.kinds:
            found = [_told(it, it.supervised) for it in self._houses.values() if it.agent == id and it.supervised]
            told[id] = max(
                found, key=lambda it: _BADNESS.get(it["state"], 0), default={"state": "stopped", "away": False}
            )
        return told

    async def model_health(self, agent: str) -> "HealthResponse | None":
        """What an agent says of the endpoint of its model; None where it cannot tell. Nothing is started for this.

        Raises `ConnectorError`, also where it is not at work.
        """
        found = [it.supervised for it in self._houses.values() if it.agent == agent and it.supervised is not None]
        best = min(found, key=lambda it: _BADNESS.get(it.state, 0), default=None)
        if best is None:
            raise AgentUnavailable(agent, "stopped", "nobody has talked to it yet")
        return await best.health()

    def count_open(self, principal: str) -> int:
        """How many of a principal's sessions are open with an agent."""
        return sum(len(house.open) for house in self._houses.values() if house.principal == principal)

    def troubled(self) -> list[str]:
        """The agents that cannot be reached now."""
        return [id for id, told in self.states().items() if told["away"]]

    async def close(self) -> None:
        """Stops every process, within 3 s."""
        houses = list(self._houses.values())
        for house in houses:
            house.leave.set()
        for house in houses:
            await house.gone.wait()

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @contextlib.asynccontextmanager
    async def _house(self, principal: str, agent: str) -> AsyncIterator[House]:
        """The house of that agent that was told what is so of forms; it stands while the block lasts. Raises
        `AgentUnavailable` where there is no such agent."""
        if agent not in self.kinds:
            raise AgentUnavailable(agent, "stopped", "it is not installed any more")
        named = principal, agent, self._forms.shown(principal)
        while (house := self._houses.get(named)) is not None and house.broken:
            await house.gone.wait()  # it has the sessions until then
            if self._houses.get(named) is house:
                del self._houses[named]
        if house is None:
            supervisor = Supervisor(store=self.store, on_event=self._on_event)
            house = self._houses[named] = House(*named, supervisor)
            self._tasks.start_soon(self._keep, house)
        house.coming += 1
        try:
            await house.up.wait()
            yield house
        finally:
            house.coming -= 1

    def _retire_others(self, house: House) -> None:
        """Ends the agent that was told otherwise of forms after a while, where no session is open with it."""
        for other in self._houses.values():
            alike = (other.principal, other.agent) == (house.principal, house.agent)
            if alike and other is not house and not other.open and not other.ending:
                other.ending = True
                self._tasks.start_soon(self._retire, other)

    async def _retire(self, house: House) -> None:
        await anyio.sleep(self.retire_seconds)
        house.ending = False
        if not house.open and not house.coming and not house.broken:
            del self._houses[house.principal, house.agent, house.forms]
            house.leave.set()

    async def _keep(self, house: House) -> None:
        """What should not happen ends this agent, for this principal: its runs have failed, the next one starts it
        anew, and nobody else suffers."""
        try:
            async with house.supervisor:
                house.up.set()
                try:
                    await house.leave.wait()
                finally:
                    house.broken = not house.leave.is_set()
        except Exception as why:
            self.fault("agent.fault", why)
        finally:
            house.open.clear()
            house.gone.set()
        if house.broken and self._on_event is not None:
            self._on_event("agent.state", {"agent": house.agent, "state": "failed", "was": "stopped", "why": BROKEN})

    async def _there(self, house: House) -> Supervised:
        """The agent, at work; one that had failed is tried again. Raises `AgentUnavailable` soon where it is not."""
        agent = house.agent
        if house.broken:
            raise AgentUnavailable(agent, "failed", BROKEN)
        if (supervised := house.supervised) is None:
            info = {"name": "ars-gateway", "title": "ARS Gateway", "version": "0"}
            vendor, client = counting(self.kinds[agent].vendor), self._client(house)
            supervised = house.supervisor.add(agent, vendor, client, cwd=self._workspace, client_info=info)
        supervised.reset()
        with anyio.move_on_after(PATIENCE):
            await supervised.reached("ready", "busy")
        # One that starts may take its time, one that starts again and again does not come.
        while supervised.state == "starting" and not supervised.status().restarts:
            await supervised.reached("ready", "busy", "backoff")
        if supervised.state not in ("ready", "busy"):
            raise AgentUnavailable(agent, supervised.state, supervised.why)
        return supervised

    def _client(self, house: House) -> Client:
        """What the agent sees of us: a person, behind the clients that may answer for them."""
        principal = house.principal

        async def ask(act: Act) -> str | Answer | Said:
            room = _room_of(house, act.session)
            if room is None:
                return Answer.REFUSE
            key, run = self.running(room)
            request = approvals.request_of(act, agent=room.agent, key=key, run=run)
            question = await self._questions.ask(principal, request)
            answer = approvals.option_for(act, question.decision, question.option)
            return Said(answer, question.by) if question.by else answer

        async def fill(form: Any) -> Filled:
            room = _room_of(house, form.session_id or "")
            key, run = self.running(room) if room is not None else ("", None)
            return await self._forms.fill(principal, form, key=key, run=run)

        async def visit(link: Any) -> Action:
            room = _room_of(house, link.session_id or "")
            key, run = self.running(room) if room is not None else ("", None)
            return await self._forms.visit(principal, link, key=key, run=run)

        async def call(one: ToolCall) -> Json:
            room = _room_of(house, one.session)
            if room is None:
                return tool_result("nobody follows this session any more", ok=False, code=FAILED)
            answer = await self._hands.carry_out(room, self.running(room)[1] or "", one)
            if self.policy == "deny":  # then no person may allow anything either
                answer.pop("approved", None)
            return answer

        def inside(session: str, path: str) -> bool:
            return client.inside(session, path)

        policy = policy_of(self.policy, inside, ask)
        ours = self.kinds[house.agent].vendor.name == VENDORS["ars"].name
        client = Client(
            policy=policy,
            unasked=allow_once if ours else None,
            fill=fill if house.forms else None,
            visit=visit if house.forms else None,
            call=call,
        )
        return client

    def _learn(self, agent: str, session: Session) -> None:
        models, current = choices.models_of(session, self.provider(agent))
        known = self.facts.get(agent) or {}
        facts: Json = {**known, "models": models, "model": current}
        if session.how == "new":  # in another one something else may have been chosen
            facts["offers"] = choices.offers(session)
        if facts != known:
            self.facts[agent] = facts
            self._remember(agent, facts)

    async def _make_space(self, house: House) -> None:
        """Closes what is not used, the longest ago first. Whoever holds a session's lock is about to use it, and is not
        waited for by one that holds its own."""
        for session_id, opened in list(house.open.items())[:-1]:
            room, session = opened.room, opened.session
            if len(house.open) <= MOST_OPEN:
                return
            if session.running or session.queue or (lock := self.lock(room)).locked() or self.wanted(room):
                continue
            async with lock:
                if house.open.get(session_id) is opened:
                    del house.open[session_id]
                    await session.close()


async def _done(session: Session) -> None:
    for turn in (*filter(None, [session.running]), *session.queue):
        await turn.ended()


def counting(vendor: Vendor) -> Vendor:
    """Our own agent tells what a turn has used where it is told to: the protocol has this as a draft only."""
    if vendor.name != VENDORS["ars"].name:
        return vendor
    chosen = {**environment.inherited([UNSTABLE]), **vendor.env}.get(UNSTABLE, "")
    names = dict.fromkeys([*filter(None, map(str.strip, chosen.split(","))), USAGE])
    return replace(vendor, env={**vendor.env, UNSTABLE: ",".join(names)})


def _told(house: House, supervised: Supervised) -> Json:
    status = supervised.status()
    state, why = ("failed", BROKEN) if house.broken and house.gone.is_set() else (status.state, status.why)
    away = state in ("backoff", "failed") or (state == "starting" and status.restarts > 0)
    return {"state": state, "why": why, "pid": status.pid, "restarts": status.restarts, "away": away}


def _room_of(house: House, session_id: str) -> Room | None:
    return next((it.room for it in house.open.values() if it.session.id == session_id), None)
