"""Questions that wait for a person: whoever answers first has answered, who comes late is told what was decided.

What an agent asks permission for and what a client asks for by exec.approval.request wait in the same list.
"""

import re
import shlex
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio

from ars_gateway.sessions.ledger import now
from connector.permissions import Act, Answer

Json = dict[str, Any]
# Told of every question and every decision: the event's name, its payload, whose it is.
Tell = Callable[[str, Json, str], None]

DECISIONS = ("allow-once", "allow-always", "deny")
KINDS = {"allow-once": "allow_once", "allow-always": "allow_always", "deny": "reject_once"}
MEANING = {kind: decision for decision, kind in KINDS.items()}
SECONDS = 120.0
MOST_REMEMBERED = 256

# What would make a terminal or a page show something else than what is asked: controls, escapes, marks of direction,
# what has no width. The joiners stay: languages are written with them.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)


class Unknown(Exception):
    """There is no such question, or it is `decided`: then `decision` and `by` say how, None where nobody answered, and
    `option` which one was picked by its id."""

    def __init__(
        self, what: str, decided: tuple[str | None, str | None] | None = None, option: str | None = None
    ) -> None:
        super().__init__(f"unknown {what} id")
        self.decided = decided is not None
        self.decision, self.by = decided or (None, None)
        self.option = option


class Refused(Exception):
    """Whoever asked may not answer, or what was answered is no answer."""


class Forbidden(Refused):
    """It is an answer, of one who has not the scope to give it."""


@dataclass(eq=False)
class Question:
    """One question. Times are milliseconds since 1970; `asker` is the client that asked, if one did: its device, or
    where it has none its connection. `option` is the id of the option that was picked by its id."""

    id: str
    principal: str
    request: Json
    created: int
    expires: int
    asker: str | None = None
    decision: str | None = None
    option: str | None = None
    by: str | None = None
    over: bool = False
    answered: anyio.Event = field(default_factory=anyio.Event)

    def requested(self) -> Json:
        """The payload of exec.approval.requested."""
        return {
            "id": self.id,
            "request": self.request,
            "createdAtMs": self.created,
            "expiresAtMs": self.expires,
        }

    def resolved(self) -> Json:
        """The payload of exec.approval.resolved."""
        told: Json = {"id": self.id, "decision": self.decision, "resolvedBy": self.by, "ts": now()}
        return told if self.option is None else told | {"_ars": {"optionId": self.option}}

    def answer(self) -> Json:
        """The result of exec.approval.request."""
        return {
            "id": self.id,
            "decision": self.decision,
            "createdAtMs": self.created,
            "expiresAtMs": self.expires,
        }


class Approvals:
    """The questions of all principals. It belongs to the event loop's thread: to decide is one step."""

    def __init__(self, tell: Tell, *, seconds: float = SECONDS) -> None:
        self.pending: dict[str, Question] = {}
        self._tell = tell
        self.seconds = seconds
        self._decided: OrderedDict[str, Question] = OrderedDict()

    async def ask(
        self,
        principal: str,
        request: Json,
        *,
        id: str | None = None,
        asker: str | None = None,
        seconds: float | None = None,
    ) -> Question:
        """Asks, waits, and returns the question with its decision; None is the decision where nobody has made one.

        Where the caller is cancelled, nobody can answer any more, and everybody is told. Raises `Refused` for an id
        that is asked about already.
        """
        limit = self.seconds if seconds is None else seconds
        created = now()
        question = Question(
            id or str(uuid.uuid4()), principal, request, created, created + round(limit * 1000), asker=asker
        )
        if question.id in self.pending:
            raise Refused("approval id already pending")
        self.pending[question.id] = question
        self._decided.pop(question.id, None)
        self._tell("exec.approval.requested", question.requested(), principal)
        try:
            with anyio.move_on_after(limit):
                await question.answered.wait()
        finally:
            if not question.over:
                self._end(question, None, None)
                if asker is None:
                    self._tell("exec.approval.resolved", question.resolved(), principal)
        return question

    def resolve(self, principal: str, id: str, decision: str, *, by: str, who: str) -> None:
        """Answers a question; the first answer counts. Raises `Refused` and `Unknown`."""
        if decision not in DECISIONS:
            raise Refused("invalid decision")
        self._resolve(self._waiting(principal, id), decision, None, by, who)

    def choose(self, principal: str, id: str, option: str, *, by: str, who: str) -> None:
        """Answers a question by the id of an option that its agent offers: as `resolve`, also where several are of one
        kind."""
        question = self._waiting(principal, id)
        offered = (question.request.get("_ars") or {}).get("options") or ()
        kind = next((one["kind"] for one in offered if one.get("optionId") == option), None)
        if kind is None:
            raise Refused("no such option")
        self._resolve(question, MEANING.get(kind, "deny"), option, by, who)

    def _waiting(self, principal: str, id: str) -> Question:
        question = self.pending.get(id)
        if question is None or question.principal != principal:
            decided = self._decided.get(id)
            if decided is not None and decided.principal == principal:
                raise Unknown("approval", (decided.decision, decided.by), decided.option)
            raise Unknown("approval")
        return question

    def _resolve(self, question: Question, decision: str, option: str | None, by: str, who: str) -> None:
        if question.asker == who:
            raise Refused("whoever requested an approval cannot resolve it")
        question.option = option
        self._end(question, decision, by)
        question.answered.set()
        self._tell("exec.approval.resolved", question.resolved(), question.principal)

    def for_newcomer(self, principal: str) -> list[tuple[str, Json]]:
        """What a client that comes now has missed: what is asked, and what was decided of late."""
        decided = [it for it in self._decided.values() if it.principal == principal and it.asker is None]
        recent = [it for it in decided if it.expires >= now()]
        return [
            *(("exec.approval.requested", it.requested()) for it in self.pending.values() if it.principal == principal),
            *(("exec.approval.resolved", it.resolved()) for it in recent),
        ]

    def _end(self, question: Question, decision: str | None, by: str | None) -> None:
        question.decision, question.by, question.over = decision, by, True
        del self.pending[question.id]
        self._decided[question.id] = question
        if len(self._decided) > MOST_REMEMBERED:
            self._decided.popitem(last=False)


def request_of(act: Act, *, agent: str, key: str, run: str | None) -> Json:
    """What is shown of an act that an agent asks to be permitted."""
    diffs = [item for item in act.tool_call.content or () if item.type == "diff"]
    more = {
        "kind": act.kind,
        "title": plain(act.title),
        "paths": [plain(path) for path in act.paths],
        "protected": act.protected,
        "toolCallId": act.tool_call.tool_call_id,
        "runId": run,
        "diffs": [{"path": plain(it.path), "oldText": it.old_text, "newText": it.new_text} for it in diffs],
        "options": offered(act),
    }
    return {
        "command": plain(shlex.join(act.argv) if act.argv else act.title or act.kind),
        "cwd": plain(act.cwd or act.root) or None,
        "host": "gateway",
        "security": None,
        "ask": "always",
        "agentId": agent,
        "resolvedPath": None,
        "sessionKey": key,
        "_ars": more,
    }


def offered(act: Act) -> list[Json]:
    """What an act's question can be answered with: every option, as its agent orders and calls them, each with its
    `decision` where that picks it; and `deny`, which always can be said, where no option is a refusal."""
    kinds = [option.kind for option in act.options]
    found: list[Json] = []
    for option in act.options:
        row = {"optionId": option.option_id, "name": plain(option.name), "kind": option.kind}
        sole = kinds.count(option.kind) == 1 and option.kind in MEANING
        found.append(row | ({"decision": MEANING[option.kind]} if sole else {}))
    return found if any(kind.startswith("reject") for kind in kinds) else [*found, {"decision": "deny", "name": ""}]


def option_for(act: Act, decision: str | None, option: str | None = None) -> str | Answer:
    """The option of an act that was picked, else the one that a decision picks, by its kind. `allow-always` settles for
    once where there is no more.

    No decision refuses.
    """
    if option is not None:
        return option
    if decision is None:
        return Answer.REFUSE
    wanted = ["allow_always", "allow_once"] if decision == "allow-always" else [KINDS[decision]]
    for kind in wanted:
        fitting = [it.option_id for it in act.options if it.kind == kind]
        if len(fitting) == 1:
            return fitting[0]
    return Answer.REFUSE if decision == "deny" else Answer.CANCEL


def plain(text: str) -> str:
    """`text` with what nobody would see in it written out."""
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
