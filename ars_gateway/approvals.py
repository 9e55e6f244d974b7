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

from ars_gateway.ledger import now
from connector.permissions import Act, Answer

Json = dict[str, Any]
# Told of every question and every decision: the event's name, its payload, whose it is.
Tell = Callable[[str, Json, str], None]

DECISIONS = ("allow-once", "allow-always", "deny")
KINDS = {"allow-once": "allow_once", "allow-always": "allow_always", "deny": "reject_once"}
SECONDS = 120.0
MOST_REMEMBERED = 256

# What would make a terminal or a page show something else than what is asked: controls, escapes, marks of direction,
# what has no width. The joiners stay: languages are written with them.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)


class Unknown(Exception):
    """There is no such question, or it is `decided`: then `decision` and `by` say how, None where nobody answered."""

    def __init__(self, question: "Question | None" = None) -> None:
        super().__init__("unknown approval id")
        self.decided = question is not None
        self.decision, self.by = (question.decision, question.by) if question is not None else (None, None)


class Refused(Exception):
    """Whoever asked may not answer, or what was answered is no answer."""


@dataclass(eq=False)
class Question:
    """One question. Times are milliseconds since 1970; `asker` is the connection that asked, if one did."""

    id: str
    principal: str
    request: Json
    created: int
    expires: int
    asker: str | None = None
    decision: str | None = None
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
        return {"id": self.id, "decision": self.decision, "resolvedBy": self.by, "ts": now()}

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

    def resolve(self, principal: str, id: str, decision: str, *, by: str, conn: str) -> None:
        """Answers a question; the first answer counts. Raises `Refused` and `Unknown`."""
        if decision not in DECISIONS:
            raise Refused("invalid decision")
        question = self.pending.get(id)
        if question is None or question.principal != principal:
            decided = self._decided.get(id)
            if decided is not None and decided.principal == principal:
                raise Unknown(decided)
            raise Unknown
        if question.asker == conn:
            raise Refused("whoever requested an approval cannot resolve it")
        self._end(question, decision, by)
        question.answered.set()
        self._tell("exec.approval.resolved", question.resolved(), principal)

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


def option_for(act: Act, decision: str | None) -> str | Answer:
    """The option of an act that a decision picks, by its kind. `allow-always` settles for once where there is no more.

    No decision refuses.
    """
    if decision is None:
        return Answer.REFUSE
    wanted = ["allow_always", "allow_once"] if decision == "allow-always" else [KINDS[decision]]
    for kind in wanted:
        fitting = [option.option_id for option in act.options if option.kind == kind]
        if len(fitting) == 1:
            return fitting[0]
    return Answer.REFUSE if decision == "deny" else Answer.CANCEL


def plain(text: str) -> str:
    """`text` with what nobody would see in it written out."""
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
