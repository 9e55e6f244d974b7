"""Forms that an agent wants filled: shown to the clients that can show them, filled by whoever answers first.

An extension of ours: a client names `elicitation` in its connect's `caps`, gets `_ars.elicitation.requested`, and
answers with the method `_ars.elicitation.resolve`; `_ars.elicitation.resolved` tells the others. While no such client
is there, no agent is told that forms can be filled.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio

from ars_gateway.approvals import Refused, Unknown, plain
from ars_gateway.ledger import now
from connector import Filled

Json = dict[str, Any]
Tell = Callable[[str, Json, str], None]

CAP = "elicitation"
REQUESTED, RESOLVED = "_ars.elicitation.requested", "_ars.elicitation.resolved"
ACTIONS = ("accept", "decline", "cancel")
SECONDS = 300.0


@dataclass(eq=False)
class Form:
    """One form that waits. `review` says that to accept it allows what its tool call is about to do."""

    id: str
    principal: str
    about: Json
    created: int
    expires: int
    filled: Filled | None = None
    over: anyio.Event = field(default_factory=anyio.Event)

    def requested(self) -> Json:
        """The payload of the event that shows it."""
        return {"id": self.id, **self.about, "createdAtMs": self.created, "expiresAtMs": self.expires}


class Forms:
    """The forms of all principals. `shown(principal)` says whether anybody is there who can show one."""

    def __init__(self, tell: Tell, shown: Callable[[str], bool], *, seconds: float = SECONDS) -> None:
        self.pending: dict[str, Form] = {}
        self.shown = shown
        self._tell = tell
        self._seconds = seconds

    async def fill(self, principal: str, form: Any, *, key: str, run: str | None) -> Filled:
        """Shows a form and waits for its answer; `cancel` where nobody is there, or nobody answers in time."""
        if not self.shown(principal):
            return Filled("cancel")
        schema = form.requested_schema.model_dump(by_alias=True, exclude_none=True)
        about = {"sessionKey": key, "runId": run, "message": plain(form.message), "requestedSchema": schema}
        about["toolCallId"] = form.tool_call_id
        created = now()
        shown = Form(str(uuid.uuid4()), principal, about, created, created + round(self._seconds * 1000))
        self.pending[shown.id] = shown
        self._tell(REQUESTED, shown.requested(), principal)
        try:
            with anyio.move_on_after(self._seconds):
                await shown.over.wait()
        finally:
            if shown.filled is None:
                self._end(shown, Filled("cancel"), None)
        return shown.filled or Filled("cancel")

    def resolve(self, principal: str, id: str, action: str, content: Json | None, *, by: str) -> None:
        """Answers a form; the first answer counts. Raises `Unknown` and `Refused`."""
        if action not in ACTIONS:
            raise Refused("invalid action")
        form = self.pending.get(id)
        if form is None or form.principal != principal:
            raise Unknown
        given = (content or {}) if action == "accept" else {}
        filled = Filled(action, given, approves=_reviewed(form.about, given))  # type: ignore[arg-type]
        self._end(form, filled, by)
        form.over.set()

    def for_newcomer(self, principal: str) -> list[tuple[str, Json]]:
        """What a client that comes now has to show."""
        return [(REQUESTED, form.requested()) for form in self.pending.values() if form.principal == principal]

    def _end(self, form: Form, filled: Filled, by: str | None) -> None:
        form.filled = filled
        del self.pending[form.id]
        resolved = {"id": form.id, "action": filled.action, "resolvedBy": by, "ts": now()}
        self._tell(RESOLVED, resolved, form.principal)


def _reviewed(about: Json, content: Json) -> bool:
    """Whether what was filled in is the review of a tool call, of which something is wanted: one list to pick from."""
    fields = list((about["requestedSchema"].get("properties") or {}).items())
    if about["toolCallId"] is None or len(fields) != 1 or fields[0][1].get("type") != "array":
        return False
    return bool(content.get(fields[0][0]))
