"""A round that runs: asks its roles, writes what comes of it, and ends it where it is cancelled or has used enough."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import anyio

from connector.client import Update
from connector.crew.conversation import Reply, Spent
from connector.crew.given import formatted, reminder, warning
from connector.crew.needs import Sessions, Writer
from connector.crew.outcome import outcome, usage
from connector.crew.recovery import settle
from connector.crew.role import Budget, Role
from connector.errors import ConnectorError
from event_log import LogError

if TYPE_CHECKING:
    from connector.session import Session
    from connector.turn import Turn

OnUpdate = Callable[[str, Update], None]
GIVEN_UP = "its round waited for it no longer"


@dataclass
class Work:
    """One role that is at work."""

    role: Role
    scope: anyio.CancelScope
    session: "Session | None" = None
    turn: "Turn | None" = None
    ask: int | None = None
    usage: dict[str, Any] = field(default_factory=dict)

    def note(self, update: Update) -> bool:
        """Whether an update tells of tokens or costs, which are kept."""
        told = usage(update)
        self.usage |= told
        return bool(told)


class OpenFloor:
    """The `Floor` of a round that runs. `why` is "" until it has to end; `failure` is what kept it from being written.

    `budgets` are limits, each with what was used before it began to count.
    """

    def __init__(
        self,
        writer: Writer,
        sessions: Sessions,
        roles: Mapping[str, Role],
        budgets: Sequence[tuple[Budget, Spent]],
        *,
        name: str,
        cwd: str,
        on_update: OnUpdate,
    ) -> None:
        self._writer = writer
        self._sessions = sessions
        self._roles = roles
        self._budgets = budgets
        self._name = name
        self._cwd = cwd
        self._on_update = on_update
        self._round = writer.conversation.rounds[-1]
        self._before = {role: list(replies) for role, replies in self._round.outcomes.items()}
        self._clock = anyio.current_time() - self._round.seconds
        self._working: dict[str, Work] = {}
        self._one_at_a_time = {role: anyio.Lock() for role in self._round.roles}
        self._messages = self._round.first + 1
        self.scope = anyio.CancelScope()
        self.why = ""
        self.told = ""
        self.failure: LogError | None = None

    @property
    def number(self) -> int:
        """Which round of the conversation it is."""
        return self._round.number

    @property
    def roles(self) -> Sequence[str]:
        """Who takes part."""
        return self._round.roles

    @property
    def first(self) -> int:
        """The index of the person's message."""
        return self._round.first

    @property
    def messages(self) -> int:
        """The index behind the last message that the round knows of."""
        return self._messages

    @property
    def at(self) -> float:
        """How many seconds the round has run."""
        return round(anyio.current_time() - self._clock, 3)

    async def ask(self, role: str, *, upto: int | None = None, only: Sequence[int] | None = None) -> Reply:
        """One turn of one role; see `Floor`."""
        async with self._one_at_a_time[role]:
            reply = self._answered_before(role) or await self._ask(self._roles[role], upto, only)
        if reply.index is not None:
            self._messages = max(self._messages, reply.index + 1)
        return reply

    def stop(self, why: str, told: str, *, cut: bool) -> None:
        """Nobody is asked any more; the round ends with those who are at work, whose turns `cut` cancels."""
        if not self.why:
            self.why, self.told = why, told
        if cut:
            for work in self._working.values():
                work.scope.cancel()
        self._leave()

    async def watch(self) -> None:
        """Stops the round when its time is up: a task beside it."""
        limits = [(budget.seconds, self._used(before).seconds) for budget, before in self._budgets if budget.seconds]
        limit, used = min(limits, key=lambda both: both[0] - both[1], default=(math.inf, 0.0))
        await anyio.sleep(max(limit - used, 0))
        self.stop("budget", f"the budget of {limit:g} seconds is used up", cut=True)

    # ── one role ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _answered_before(self, role: str) -> Reply | None:
        """What was answered before the round was interrupted is not asked again."""
        before = self._before.get(role)
        return before.pop(0) if before else None

    async def _ask(self, role: Role, upto: int | None, only: Sequence[int] | None) -> Reply:
        conversation = self._writer.conversation
        if not conversation.unseen(role.name, upto=upto, only=only):
            return Reply(role.name)
        if not self.why and (told := self._over(working=False)):
            self.stop("budget", told, cut=False)
        if self.why:
            await anyio.sleep_forever()  # until the others have ended, and `scope` is cancelled
        work = self._working[role.name] = Work(role, anyio.CancelScope())
        try:
            return await self._speak(work, upto, only)
        finally:
            del self._working[role.name]
            self._leave()

    async def _speak(self, work: Work, upto: int | None, only: Sequence[int] | None) -> Reply:
        failure: ConnectorError | OSError | None = None
        try:
            with work.scope:
                work.session = await self._sessions.ensure(work.role, self._name, self._cwd)
                if (known := self._settled(work)) is not None:
                    return known
                self._begin(work, upto, only)
                if work.turn is not None:
                    async for update in work.turn:
                        self._heard(work, update)
                    await work.session.settle()
        except (ConnectorError, OSError) as why:
            failure = why
        except anyio.get_cancelled_exc_class():
            self._given_up(work)
            raise
        finally:
            if work.session is not None and work.turn is not None and work.turn.state != "done":
                work.session.cancel(work.turn)
        if work.turn is not None:
            await work.turn.ended()  # which the session's limits bound
        nothing_new = failure is None and work.turn is None and not work.scope.cancelled_caught
        return Reply(work.role.name) if nothing_new else self._outcome(work, failure)

    def _given_up(self, work: Work) -> None:
        """Who had asked waits no longer, and who is told nothing more of a role has nothing left open."""
        if work.ask is not None and self.failure is None:
            self._outcome(work, None, ("interrupted", GIVEN_UP))

    def _settled(self, work: Work) -> Reply | None:
        """What the role was at when an earlier process ended, where that is an answer in this round."""
        try:
            replies = settle(self._writer, work.session, work.role.name)
        except LogError as why:
            return self._unwritten(work.role.name, why)
        outcomes = self._round.outcomes.get(work.role.name, ())
        return next((reply for reply in replies if reply in outcomes), None)

    def _begin(self, work: Work, upto: int | None, only: Sequence[int] | None) -> None:
        conversation = self._writer.conversation
        messages = conversation.unseen(work.role.name, upto=upto, only=only)
        if not messages or work.session is None:
            return
        reminded = reminder(work.role, conversation)
        work.ask = conversation.asked + 1
        asked = {"ask": work.ask, "role": work.role.name, "upto": len(conversation.messages) if upto is None else upto}
        asked |= {"shown": [message.index for message in messages], "reminded": bool(reminded)}
        self._write({"type": "asked", **asked, "mark": work.session.record.last})
        if self.failure is None:
            if work.role.seconds is not None:
                work.scope.deadline = anyio.current_time() + work.role.seconds
            work.turn = work.session.start(warning(work.role, conversation) + reminded + formatted(messages))

    def _heard(self, work: Work, update: Update) -> None:
        if work.note(update) and (told := self._over(working=True)):
            self.stop("budget", told, cut=True)
        self._on_update(work.role.name, update)

    def _outcome(self, work: Work, failure: ConnectorError | OSError | None, cut: tuple[str, str] = ("", "")) -> Reply:
        for update in work.turn.late if work.turn is not None else ():
            work.note(update)
        if work.scope.cancelled_caught:
            slow = "slow", f"it took longer than {work.role.seconds or 0:g} s"
            cut = (self.why, self.told) if self.why else slow
        forgets = work.session is not None and work.session.vendor.quirks.forgets
        entry = {"role": work.role.name, **outcome(work.turn, failure, cut, forgets=forgets), **work.usage}
        if work.session is not None:  # the secrets of one agent are no other's to know
            entry = work.session.record.without_secrets(entry)
        return self._written(entry if work.ask is None else {**entry, "ask": work.ask})

    # ── what is written ─────────────────────────────────────────────────────────────────────────────────────────────

    def _written(self, entry: dict[str, Any]) -> Reply:
        """The reply that an entry stands for; where it cannot be written nobody is told of it."""
        return self._write(entry) or Reply(entry["role"], kind=type(self.failure).__name__, seen=False)

    def _write(self, entry: dict[str, Any]) -> Reply | None:
        try:
            return self._writer.write({**entry, "round": self._round.number, "at": self.at})
        except LogError as why:
            return self._unwritten(entry["role"], why)

    def _unwritten(self, role: str, why: LogError) -> Reply:
        self.failure = self.failure or why
        self.stop("failed", str(why), cut=True)
        return Reply(role, kind=type(why).__name__, error=str(why), seen=False)

    def _used(self, before: Spent) -> Spent:
        """What was used since then, with what those who are at work have told."""
        conversation = self._writer.conversation
        now, cost, tokens = conversation.spent, dict(conversation.spent.cost), conversation.spent.tokens
        for work in self._working.values():
            tokens += work.usage.get("tokens", 0)
            if told := work.usage.get("cost"):
                more = conversation.costs(work.role.name, told["amount"], told["currency"])
                cost[told["currency"]] = cost.get(told["currency"], 0.0) + more
        seconds = now.seconds + max(self.at - self._round.seconds, 0.0)
        return Spent(now.replies, seconds, tokens, cost).since(before)

    def _over(self, *, working: bool) -> str:
        """Which budget is used up; "" for none. For one more to begin those at work count as replies; one at work is
        not ended for a limit of replies."""
        for budget, before in self._budgets:
            used = self._used(before)
            counted = used.replies + len(self._working)
            limit = replace(budget, replies=None) if working else budget
            if told := replace(used, replies=counted).over(limit):
                return told
        return ""

    def _leave(self) -> None:
        if self.why and not self._working:
            self.scope.cancel()
