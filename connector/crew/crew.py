"""Several roles in one conversation, each on its own agent: what each is told, in which order, and for how long."""

import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import anyio
import anyio.abc

from connector.crew import recovery
from connector.crew.conversation import Conversation, Message, Reply, Spent
from connector.crew.floor import OnUpdate, OpenFloor
from connector.crew.needs import Sessions
from connector.crew.role import Budget, Role, check
from connector.crew.rounds import ROUNDS, Round, sequential
from connector.crew.talk import Talk
from connector.errors import ConnectorError
from connector.groups import single_errors
from event_log import LogError, LogExists, LogNotFound

if TYPE_CHECKING:
    from connector.session import Session
    from event_log import Log, Store

OnEntry = Callable[[int, dict[str, Any]], None]
UNLIMITED = Budget()
CANCELLED = "it was cancelled"
# Logs that a crew of this process writes: a store gives the same one to all who ask.
_OPEN: "WeakSet[Log]" = WeakSet()


def _nothing(*told: Any) -> None:
    """Whoever wants to know says so."""


class Crew:
    """A conversation of a person with several roles. Made by `open_crew`.

    Rounds wait for each other, in the order in which they were asked for. `conversation` is what has been said and
    seen; it is not to be changed.
    """

    def __init__(
        self,
        log: "Log",
        sessions: Sessions,
        name: str,
        roles: Sequence[Role],
        *,
        cwd: str,
        budget: Budget,
        tasks: anyio.abc.TaskGroup,
        on_entry: OnEntry,
        on_update: OnUpdate,
    ) -> None:
        self.name = name
        self.roles = {role.name: role for role in roles}
        self.budget = budget
        self.conversation = Conversation(entry for _, entry in log.read())
        self._log = log
        self._sessions = sessions
        self._cwd = cwd
        self._tasks = tasks
        self._on_entry = on_entry
        self._on_update = on_update
        self._talks: list[Talk] = []
        self._one_at_a_time = anyio.Lock()
        self.write(
            {
                "type": "opened",
                "name": name,
                "cwd": cwd,
                "roles": [{"name": role.name, "agent": role.agent} for role in roles],
            }
        )

    def say(
        self, text: str, *, round: Round = sequential, to: Sequence[str] | None = None, budget: Budget = UNLIMITED
    ) -> Talk:
        """Says something to all roles, or to those of `to` in that order, and has them answer as `round` says.

        `budget` is for this round; the crew's is for the whole conversation. A round that was interrupted before ends
        with it. Raises ValueError for an empty text and for roles that are not in the crew.
        """
        if not text.strip():
            raise ValueError("nothing was said")
        return self._start(Talk(text, round, self._known(to), budget))

    def go_on(self, round: Round | None = None, *, budget: Budget = UNLIMITED) -> Talk:
        """Goes on with the round in which an earlier process ended (`conversation.interrupted`): who has answered in it
        is not asked again. `round` is the same function as then, and need not be given for those that are in `ROUNDS`.

        Raises ValueError where no round was interrupted, and where it was another one.
        """
        interrupted = self.conversation.interrupted
        if interrupted is None or self._talks:
            raise ValueError("no round was interrupted")
        round = round or ROUNDS.get(interrupted.kind)
        if round is None or round.__name__ != interrupted.kind:
            raise ValueError(f"it was another round that was interrupted, {interrupted.kind}")
        return self._start(Talk(None, round, self._known(interrupted.roles), budget))

    def cancel(self) -> None:
        """Ends the round that runs, and those that wait."""
        for talk in list(self._talks):
            talk.cancel()

    @property
    def spent(self) -> Spent:
        """What was used in the whole conversation."""
        return self.conversation.spent

    def log(self) -> list[Message]:
        """What was said, oldest first."""
        return list(self.conversation.messages)

    def follow(self, after: int = 0) -> AsyncIterator[tuple[int, dict[str, Any]]]:
        """The entries of the log with numbers above `after`, then each new one until the crew is closed.

        Any number may follow at once, each at its own pace; `connector.crew.conversation` says what entries there are.
        """
        return self._log.follow(after)

    def write(self, entry: dict[str, Any]) -> Reply | None:
        """For the rounds: one entry into the log, then into the fold, then to who wants to know. Raises LogError."""
        return self.write_all([entry])

    def write_all(self, entries: Sequence[dict[str, Any]]) -> Reply | None:
        """`write` for entries that are there together or not at all."""
        reply = None
        for number, entry in enumerate(entries, self._log.append(entries)):
            reply = self.conversation.take(entry)
            self._on_entry(number, entry)
            if reply is not None and self._talks:
                self._talks[0].take(reply)
        return reply

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _known(self, to: Sequence[str] | None) -> tuple[str, ...]:
        names = tuple(self.roles if to is None else to)
        if not names or (unknown := [name for name in names if name not in self.roles]):
            missing = f"there is no role {', '.join(unknown)}" if names else "nobody is spoken to"
            raise ValueError(f"{missing}; there are {', '.join(self.roles)}")
        return names

    def _start(self, talk: Talk) -> Talk:
        self._talks.append(talk)
        self._tasks.start_soon(self._run, talk)
        return talk

    async def _run(self, talk: Talk) -> None:
        async with self._one_at_a_time:
            try:
                if not talk.why:
                    await self._carry_out(talk)
            except LogError as why:
                talk.end("failed", str(why), why)
            finally:
                talk.end("cancelled", "the crew was closed")
                self._talks.remove(talk)

    async def _carry_out(self, talk: Talk) -> None:
        with anyio.CancelScope() as scope:
            talk.stop = scope.cancel
            await self._settle()
        if scope.cancelled_caught:
            return talk.end("cancelled", CANCELLED)
        before = self.spent
        if talk.text is not None:
            self._begin(talk.text, talk.round.__name__, talk.roles)
        budgets = ((self.budget, Spent()), (talk.budget, before))
        floor = OpenFloor(
            self, self._sessions, self.roles, budgets, name=self.name, cwd=self._cwd, on_update=self._on_update
        )
        talk.stop = lambda: floor.stop("cancelled", CANCELLED, cut=True)
        with floor.scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(floor.watch)
                await talk.round(floor)
                tasks.cancel_scope.cancel()
        if floor.failure is not None:
            raise floor.failure
        why = floor.why or "done"
        self.write({"type": "over", "round": floor.number, "why": why, "told": floor.told, "at": floor.at})
        talk.end(why, floor.told)

    def _begin(self, text: str, kind: str, roles: Sequence[str]) -> None:
        entries: list[dict[str, Any]] = []
        if (interrupted := self.conversation.interrupted) is not None:
            told = "an earlier process ended in it"
            entries.append({"type": "over", "round": interrupted.number, "why": "interrupted", "told": told})
        number = len(self.conversation.rounds) + 1
        entries.append({"type": "round", "round": number, "kind": kind, "roles": list(roles)})
        self.write_all([*entries, {"type": "said", "round": number, "text": text}])

    async def _settle(self) -> None:
        """What roles were at when an earlier process ended: their sessions' records know what came of it."""

        sessions: dict[str, Session | None] = {}

        async def find(role: Role) -> None:
            # Who cannot be reached now is asked for it again when it is spoken to.
            with contextlib.suppress(ConnectorError, OSError):
                sessions[role.name] = await self._sessions.ensure(role, self.name, self._cwd)

        async with anyio.create_task_group() as tasks:
            for name in {ask.role for ask in self.conversation.asks.values()}:
                if name in self.roles:
                    tasks.start_soon(find, self.roles[name])
                else:
                    sessions[name] = None
        # Not in the tasks, out of which comes a group of what cannot be written.
        for name, session in sessions.items():
            recovery.settle(self, session, name)


@contextlib.asynccontextmanager
async def open_crew(
    sessions: Sessions,
    store: "Store",
    name: str,
    roles: Sequence[Role],
    *,
    cwd: str,
    budget: Budget = UNLIMITED,
    on_entry: OnEntry = _nothing,
    on_update: OnUpdate = _nothing,
) -> AsyncIterator[Crew]:
    """The conversation of that name in that directory, as it was left: a new one the first time. For the length of the
    block it is ours; rounds that still run at its end are cancelled.

    `on_entry(number, entry)` is told what has been written into its log, `on_update(role, update)` what an agent
    reports in a turn. Raises ValueError for roles that make no crew and for a conversation that is open in this process
    already, LogHeld where another process has it, and any other LogError.
    """
    check(roles)
    log = await _claimed(store, log_name(name, cwd))
    if log in _OPEN:
        raise ValueError(f"the crew {name!r} is open already")
    _OPEN.add(log)
    try:
        with single_errors():
            async with anyio.create_task_group() as tasks:
                crew = Crew(
                    log,
                    sessions,
                    name,
                    roles,
                    cwd=cwd,
                    budget=budget,
                    tasks=tasks,
                    on_entry=on_entry,
                    on_update=on_update,
                )
                try:
                    yield crew
                finally:
                    crew.cancel()
    finally:
        log.close()


async def read_crew(store: "Store", name: str, cwd: str) -> Conversation:
    """What was said and seen in a conversation, which may be another process's. Raises LogError."""
    log = await store.open(log_name(name, cwd))
    return Conversation(entry for _, entry in log.read())


def log_name(name: str, cwd: str) -> str:
    """The name of the log of a conversation: the same in each process, so that no index is needed."""
    key = f"{os.path.normpath(cwd)}\0{name}".encode("utf-8", "surrogateescape")
    return f"crew-{hashlib.sha256(key).hexdigest()[:40]}"


async def _claimed(store: "Store", name: str) -> "Log":
    try:
        log = await store.open(name)
    except LogNotFound:
        try:
            return await store.create(name)
        except LogExists:  # somebody else was faster
            return await _claimed(store, name)
    await store.claim(log)
    return log
