"""What has happened in a crew, as a fold over its log: who said what, who has seen how much, what was used. Pure.

The entries of the log, each written before anybody is told of it:

    opened   name, cwd, roles           the crew was opened; a round without `over` before it was interrupted
    round    round, kind, roles         a round begins, a number each
    said     round, text                what the person says
    asked    ask, role, round, upto, shown, reminded, mark
                                        a role is given the messages `shown`, and has then seen all below `upto`
    replied  ask, role, round, text, stopReason
                                        it has answered: what it was given counts as seen, its reply is a message
    failed   ask, role, round, kind, error, text, seen, sent
                                        it has not; what it was given counts as seen only where that had an effect, and
                                        where it was `sent` all the same, nobody knows whether its agent has kept it
    over     round, why, told           the round has ended: done, cancelled, budget

Those of a round carry `at`, the seconds that the round has run until then. `tokens` and `cost` ({amount, currency}, of
the agent's whole session) stand in `replied` and `failed` where the agent has told them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from connector.crew.role import Budget

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Message:
    """Something that was said, by a role or (`by` is "") by the person. `index` is its place in the conversation."""

    index: int
    by: str
    text: str
    round: int


@dataclass(frozen=True)
class Ask:
    """A role is at work: it was given the messages `shown`. `mark` is what its session's record ended with before."""

    number: int
    role: str
    round: int
    upto: int
    shown: tuple[int, ...]
    reminded: bool
    mark: int | None


@dataclass(frozen=True)
class Reply:
    """What came of asking a role.

    `kind` is "" where it has answered. Else it says how it failed: the name of a `ConnectorError`, `refusal`, `slow`,
    `cancelled`, `budget`, or `interrupted` where our own process ended, or nobody waited any more; `error` tells
    people, `text` is what it had said until then, and `seen` whether it knows what it was given. `index` is the reply's
    place among the messages.
    """

    role: str
    text: str = ""
    stop_reason: str = ""
    kind: str = ""
    error: str = ""
    seen: bool = True
    index: int | None = None

    @property
    def failed(self) -> bool:
        """Whether the role has not answered."""
        return bool(self.kind)


@dataclass(frozen=True)
class Spent:
    """What was used. `cost` is by currency."""

    replies: int = 0
    seconds: float = 0.0
    tokens: int = 0
    cost: Mapping[str, float] = field(default_factory=dict)

    def since(self, before: "Spent") -> "Spent":
        """What was used after `before` was all."""
        cost = {currency: amount - before.cost.get(currency, 0.0) for currency, amount in self.cost.items()}
        return Spent(self.replies - before.replies, self.seconds - before.seconds, self.tokens - before.tokens, cost)

    def over(self, budget: Budget) -> str:
        """Which limit is reached, as a sentence for people; "" for none."""
        if budget.replies is not None and self.replies >= budget.replies:
            return f"the budget of {budget.replies} replies is used up"
        if budget.seconds is not None and self.seconds >= budget.seconds:
            return f"the budget of {budget.seconds:g} seconds is used up"
        if budget.tokens is not None and self.tokens >= budget.tokens:
            return f"the budget of {budget.tokens:,} tokens is used up"
        if budget.cost is not None and any(amount >= budget.cost for amount in self.cost.values()):
            return f"the budget of {budget.cost:g} for costs is used up"
        return ""


@dataclass
class Round:
    """One round as the log tells it: who takes part, and what came of asking them, by role in order."""

    number: int
    kind: str
    roles: tuple[str, ...]
    first: int
    seconds: float = 0.0
    why: str = ""
    told: str = ""
    outcomes: dict[str, list[Reply]] = field(default_factory=dict)


class Conversation:
    """The fold. `take` each entry in order; the rest is to be read.

    `seen` is, for each role, the index of the first message that it has not been given. `asks` are those without an
    outcome yet, by number.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.messages: list[Message] = []
        self.rounds: list[Round] = []
        self.asks: dict[int, Ask] = {}
        self.asked = 0
        self.seen: dict[str, int] = {}
        self.replies: dict[str, int] = {}
        self.spent = Spent()
        self._reminded: dict[str, int] = {}
        self._sent: dict[str, int] = {}
        self._costs: dict[str, tuple[str, float]] = {}
        for entry in entries:
            self.take(entry)

    @property
    def interrupted(self) -> Round | None:
        """The round that has begun and has no end."""
        return self.rounds[-1] if self.rounds and not self.rounds[-1].why else None

    def take(self, entry: Entry) -> Reply | None:
        """Adds an entry; the reply that it stands for, where it stands for one."""
        kind = entry.get("type")
        if "at" in entry:
            self._passed(self._round(entry), entry["at"])
        if kind == "round":
            self.rounds.append(Round(entry["round"], entry["kind"], tuple(entry["roles"]), len(self.messages)))
        elif kind == "said":
            self._say("", entry)
        elif kind == "asked":
            self.asked = entry["ask"]
            self.asks[self.asked] = _ask(entry)
        elif kind in ("replied", "failed"):
            return self._answered(entry)
        elif kind == "over":
            ended = self._round(entry)
            ended.why, ended.told = entry["why"], entry["told"]
        return None

    def unseen(self, role: str, *, upto: int | None = None, only: Sequence[int] | None = None) -> list[Message]:
        """What is to be given to a role: the messages from its last seen index on, without its own and empty ones.

        `upto` is the index before which they end. With `only`, of the round's own messages just those indices.
        """
        first = self.rounds[-1].first if self.rounds else 0
        return [
            message
            for message in self.messages[self.seen.get(role, 0) : upto]
            if message.by != role
            and message.text.strip()
            and (only is None or message.index < first or message.index in only)
        ]

    def is_due(self, role: str, every: int) -> bool:
        """Whether it is time for the reminder that comes every so many replies."""
        count = self.replies.get(role, 0)
        return bool(every and count and count % every == 0 and self._reminded.get(role) != count)

    def may_know(self, role: str) -> bool:
        """Whether some of what is new to a role was sent to its agent before, in a turn that came to nothing."""
        return self.seen.get(role, 0) < self._sent.get(role, 0)

    def costs(self, role: str, amount: float, currency: str) -> float:
        """How much of the whole cost of a role's session is new."""
        known = self._costs.get(role, (currency, 0.0))
        # A session that was begun anew counts from nothing.
        return amount - known[1] if known[0] == currency and amount >= known[1] else amount

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _answered(self, entry: Entry) -> Reply:
        role, ask = entry["role"], self.asks.pop(entry.get("ask") or 0, None)
        seen = entry["type"] == "replied" or entry["seen"]
        if ask is not None and seen:
            self.seen[role] = max(ask.upto, self.seen.get(role, 0))
            if ask.reminded:
                self._reminded[role] = self.replies.get(role, 0)
        elif ask is not None and entry.get("sent"):
            self._sent[role] = ask.upto
        self._use(role, entry)
        reply = Reply(
            role,
            entry["text"],
            entry.get("stopReason") or "",
            entry.get("kind", ""),
            entry.get("error", ""),
            seen,
            self._say(role, entry) if entry["type"] == "replied" else None,
        )
        if entry["type"] == "replied":
            self.replies[role] = self.replies.get(role, 0) + 1
            self.spent = replace(self.spent, replies=self.spent.replies + 1)
        # What its process's end has kept from a role is asked once more when the round goes on.
        if seen or reply.kind != "interrupted":
            self._round(entry).outcomes.setdefault(role, []).append(reply)
        return reply

    def _say(self, by: str, entry: Entry) -> int:
        index = len(self.messages)
        self.messages.append(Message(index, by, entry["text"], entry["round"]))
        return index

    def _use(self, role: str, entry: Entry) -> None:
        tokens, cost = self.spent.tokens + entry.get("tokens", 0), dict(self.spent.cost)
        if told := entry.get("cost"):
            amount, currency = told["amount"], told["currency"]
            cost[currency] = cost.get(currency, 0.0) + self.costs(role, amount, currency)
            self._costs[role] = (currency, amount)
        self.spent = replace(self.spent, tokens=tokens, cost=cost)

    def _passed(self, during: Round, at: float) -> None:
        more = max(at - during.seconds, 0.0)
        during.seconds += more
        self.spent = replace(self.spent, seconds=self.spent.seconds + more)

    def _round(self, entry: Entry) -> Round:
        return next(one for one in reversed(self.rounds) if one.number == entry["round"])


def _ask(entry: Entry) -> Ask:
    return Ask(
        entry["ask"],
        entry["role"],
        entry["round"],
        entry["upto"],
        tuple(entry["shown"]),
        entry["reminded"],
        entry.get("mark"),
    )
