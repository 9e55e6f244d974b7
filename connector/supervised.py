"""One named agent that is kept running: noticed when it dies or stands still, started again, its sessions taken up."""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import anyio
import anyio.abc

from connector import probe
from connector.backoff import Backoff, Restarts
from connector.connector import Connector
from connector.errors import AgentExited, AgentNotFound, AgentUnavailable, Asked, ConnectorError, VersionMismatch
from connector.generation import Generation, begun
from connector.link import Link
from connector.session import Session
from connector.spares import Spares

if TYPE_CHECKING:
    from acp_wire.schema.extensions import HealthResponse

State = Literal["stopped", "starting", "ready", "busy", "draining", "backoff", "failed"]
R = TypeVar("R")
AT_WORK = ("ready", "busy")
TOLD_CHARACTERS = 300


@dataclass(frozen=True)
class Status:
    """What there is to know of a supervised agent at one moment.

    `seconds` is how long it has been in its state, `why` what brought it there; `restarts` how many of its restarts
    still count. `queued` are prompts that wait, in all its sessions.
    """

    name: str
    state: State
    seconds: float
    why: str
    pid: int | None
    restarts: int
    sessions: int
    queued: int
    spares: int


class Supervised:
    """Made by `Supervisor.add`. It stands for the agent whatever becomes of its processes; so do its sessions."""

    def __init__(
        self,
        name: str,
        connector: Connector,
        link: Link,
        spares: Spares,
        tasks: anyio.abc.TaskGroup,
        restarts: Restarts,
        wanted: int,
    ) -> None:
        self.name = name
        self.connector = connector
        self.state: State = "stopped"
        self.why = ""
        self._link = link
        self._spares = spares
        self._tasks = tasks
        self._backoff = Backoff(restarts)
        self._wanted = wanted
        self._since = self._down_since = anyio.current_time()
        self._changed = anyio.Event()
        self._reset = anyio.Event()
        # Takes no more prompts, whatever its state, and stops when those that it has are done.
        self._draining = False
        # What ends it, and when it has ended.
        self._life: tuple[anyio.CancelScope, anyio.Event] | None = None
        link.keeper, link.name = self, name

    # ── for who uses it ─────────────────────────────────────────────────────────────────────────────────────────────

    async def new_session(self, cwd: str, **more: Any) -> Session:
        """As `Connector.new_session`, as soon as the agent is there."""
        return await self._when_up(lambda: self.connector.new_session(cwd, **more))

    async def load_session(self, session_id: str, cwd: str, **more: Any) -> Session:
        """As `Connector.load_session`, as soon as the agent is there."""
        return await self._when_up(lambda: self.connector.load_session(session_id, cwd, **more))

    async def resume_session(self, session_id: str, cwd: str, **more: Any) -> Session:
        """As `Connector.resume_session`, as soon as the agent is there."""
        return await self._when_up(lambda: self.connector.resume_session(session_id, cwd, **more))

    async def ensure(self, name: str, cwd: str, **more: Any) -> Session:
        """As `Connector.ensure`, as soon as the agent is there."""
        return await self._when_up(lambda: self.connector.ensure(name, cwd, **more))

    async def health(self) -> "HealthResponse | None":
        """As `Connector.health`, and without waiting for an agent that is not there. Raises `AgentUnavailable` then."""
        if self.state not in (*AT_WORK, "draining"):
            raise self._unavailable()
        return await self.connector.health()

    async def reached(self, *states: State) -> State:
        """Waits for one of the states. Raises `AgentUnavailable` where it is failed or stopped instead."""
        while self.state not in states:
            if self.state in ("failed", "stopped"):
                raise self._unavailable()
            await self._changed.wait()
        return self.state

    async def prepared(self) -> None:
        """Waits until it is there and all its spares are ready."""
        await self.reached("ready", "busy")
        self._spares.used(self._link.program)
        await self._spares.full(self._link.program)

    def start(self) -> None:
        """Starts it, where it is stopped; at once, in the background."""
        if self.state == "stopped":
            self._draining = False
            self._become("starting", "it was asked for")
            self._life = anyio.CancelScope(), anyio.Event()
            self._tasks.start_soon(self._live, *self._life)

    def reset(self) -> None:
        """Tries again with one that has failed; its sessions go on."""
        if self.state == "failed":
            self._become("starting", "it was reset")
            self._reset.set()

    async def drain(self, within: float = math.inf) -> None:
        """Takes no more prompts, carries out those that it has, `within` seconds at most, and stops.

        It does so whoever waits for it. Until then it is kept running: one that ends comes back for what is queued.
        """
        if self._life is not None:
            scope, over = self._life
            self._draining = True
            scope.deadline = min(scope.deadline, anyio.current_time() + within)
            self._stop_if_drained()  # first: who is told of events may fail
            if self.state in AT_WORK:
                self._become("draining", "it was asked for")
            await over.wait()

    async def stop(self) -> None:
        """Cancels what runs and stops it, within 3 s. Its sessions are closed."""
        if self._life is not None:
            scope, over = self._life
            scope.cancel()
            await over.wait()

    def status(self) -> Status:
        """How it is."""
        generation = self._link.generation
        return Status(
            self.name,
            self.state,
            anyio.current_time() - self._since,
            self.why,
            generation.process.child.pid if generation is not None and generation.is_alive() else None,
            self._backoff.used,
            sum(not session.closed for session in self.connector.sessions.values()),
            self._queued(),
            self._spares.ready(self._link.program),
        )

    # ── for its sessions (`link.Keeper`) ────────────────────────────────────────────────────────────────────────────

    def refuse(self) -> None:
        """See `Keeper.refuse`."""
        if self._draining or self.state in ("failed", "draining", "stopped"):
            raise self._unavailable()

    async def up(self, after: Generation | None = None) -> None:
        """See `Keeper.up`."""
        while self.state not in (*AT_WORK, "draining") or self._link.generation is after:
            if self.state in ("failed", "stopped"):
                raise self._unavailable()
            await self._changed.wait()

    def turned(self) -> None:
        """See `Keeper.turned`."""
        self._spares.used(self._link.program)
        self._stop_if_drained()
        if self.state in AT_WORK:
            self._become(self._at_work())
        self._tell()

    # ── its life ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _live(self, scope: anyio.CancelScope, over: anyio.Event) -> None:
        try:
            try:
                with scope:
                    await self._rounds()
            finally:
                with anyio.CancelScope(shield=True):
                    await self._end()
        finally:
            over.set()

    async def _end(self) -> None:
        try:
            if self.state in AT_WORK:
                self._become("draining", "it was asked for")
        finally:
            await self.connector.shutdown()
            for session in list(self.connector.sessions.values()):
                await session.close(tell=False)
            self.connector.sessions.clear()
            self._spares.leave(self._link.program, self)
            self._become("stopped")

    async def _rounds(self) -> None:
        self._begin_anew()
        while True:
            ended = await self._round()
            now = self._down_since = anyio.current_time()
            delay = None if _for_good(ended) else self._backoff.after_end(now)
            why = _told(ended)
            if delay is None:
                self._reset = anyio.Event()
                self._become("failed", why)
                await self._reset.wait()
                self._begin_anew()
            else:
                self._become("backoff", why)
                await anyio.sleep_until(now + delay)
                self._become("starting", why)

    def _begin_anew(self) -> None:
        self._down_since = anyio.current_time()
        self._backoff.reset()
        if self._wanted:
            self._spares.want(self._link.program, self._wanted, self)

    async def _round(self) -> ConnectorError:
        """One process, from its start to its end; how it ended."""
        spare = self._spares.take(self._link.program)
        try:
            generation = spare or await begun(self._link.begin(), self._tasks)
        except ConnectorError as why:
            return why
        async with anyio.create_task_group() as tasks:
            if (limit := self._link.limits.probe) is not None:
                tasks.start_soon(probe.watch, generation, limit, lambda: self._answers(generation))
            ended = await self._work(generation, spare is not None)
            tasks.cancel_scope.cancel()
        return ended

    async def _work(self, generation: Generation, spare: bool) -> ConnectorError:
        try:
            await self.connector.recover(generation)
        except ConnectorError as why:
            await generation.stop()
            return why
        now = anyio.current_time()
        self._backoff.ready(now)
        self._link.event("agent.up", agent=self.name, seconds=now - self._down_since, spare=spare)
        self._become(self._at_work(), "it has been started")
        await generation.ended.wait()
        return await self._buried(generation)

    async def _buried(self, generation: Generation) -> AgentExited:
        """How it ended. It is dead then, so that its successor has the sessions for itself."""
        why = await generation.exited(Asked(""))
        if generation.process.child.exit is None:
            await generation.process.child.kill()
        self._tasks.start_soon(generation.stop)
        return why

    def _at_work(self) -> State:
        return "draining" if self._draining else "busy" if self._link.turns else "ready"

    def _stop_if_drained(self) -> None:
        if self._draining and self._life is not None and not (self._link.turns or self._queued()):
            self._life[0].cancel()

    def _answers(self, generation: Generation) -> bool:
        """Whether it is expected to answer a ping now."""
        return self._link.vendor.quirks.answers_in_turn or not generation.unanswered

    async def _when_up(self, work: Callable[[], Awaitable[R]]) -> R:
        generation = None
        while True:
            self.refuse()
            await self.up(generation)
            generation = self._link.generation
            self._spares.used(self._link.program)
            try:
                return await work()
            except AgentExited:
                continue

    def _become(self, state: State, why: str = "") -> None:
        was, self.state = self.state, state
        if was != state:
            self.why, self._since = why[:TOLD_CHARACTERS], anyio.current_time()
            self._tell()  # first: who is told of events may fail
            self._link.event("agent.state", agent=self.name, state=state, was=was, why=self.why)
            if {state, was} != set(AT_WORK):  # its turns are in the records as they are
                for session in self.connector.sessions.values():
                    session.record.note("state", state=state, was=was, why=self.why)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def _queued(self) -> int:
        return sum(len(session.queue) for session in self.connector.sessions.values())

    def _unavailable(self) -> AgentUnavailable:
        draining = self._draining and self.state not in ("failed", "stopped")
        return AgentUnavailable(self.name, "draining" if draining else self.state, self.why)


def _for_good(ended: ConnectorError) -> bool:
    """Whether it would end the same every time."""
    return isinstance(ended, VersionMismatch) or (isinstance(ended, AgentNotFound) and ended.for_good)


def _told(ended: ConnectorError) -> str:
    """It in one line."""
    if isinstance(ended, AgentExited):
        return ended.why or (f"it ended ({ended.exit})" if ended.exit else "it closed the connection")
    return str(ended).partition("\n")[0]
