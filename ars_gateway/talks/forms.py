"""Forms that an agent wants filled, and addresses that it wants opened: shown to the clients that can show them,
answered by whoever answers first.

An extension of ours: a client names `elicitation` in its connect's `caps`, gets `_ars.elicitation.requested`, and
answers with the method `_ars.elicitation.resolve`; `_ars.elicitation.resolved` tells the others. Over HTTP it sends a
message with `forms` and answers by POST /agent/form. While no such client is there, no agent is told that forms can be
filled.
"""

import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal, NamedTuple, get_args
from urllib.parse import urlsplit

import anyio
import orjson

from ars_gateway.access.scopes import APPROVALS
from ars_gateway.protocol.validate import compile_schema
from ars_gateway.sessions.ledger import now
from ars_gateway.talks.approvals import MOST_REMEMBERED, Forbidden, Refused, Unknown, plain
from connector import Filled

Json = dict[str, Any]
Action = Literal["accept", "decline", "cancel"]
Tell = Callable[[str, Json, str], None]

CAP = "elicitation"
REQUESTED, RESOLVED = "_ars.elicitation.requested", "_ars.elicitation.resolved"
ACTIONS = get_args(Action)
SECONDS = 300.0
# What an address asks for, to a client that knows forms only: nothing but a yes or a no.
NOTHING: Json = {"type": "object", "properties": {}}


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


class Settled(NamedTuple):
    """How a form has ended, in short: the answer's digest is None where nobody has given one."""

    principal: str
    action: str
    by: str | None
    digest: bytes | None


class Forms:
    """The forms of all principals. `shown(principal)` says whether anybody is there who can show one."""

    def __init__(self, tell: Tell, shown: Callable[[str], bool], *, seconds: float = SECONDS) -> None:
        self.pending: dict[str, Form] = {}
        self.shown = shown
        self._tell = tell
        self._seconds = seconds
        self._settled: OrderedDict[str, Settled] = OrderedDict()

    async def fill(self, principal: str, form: Any, *, key: str, run: str | None) -> Filled:
        """Shows a form and waits for its answer; `cancel` where nobody is there, or nobody answers in time."""
        schema = form.requested_schema.model_dump(by_alias=True, exclude_none=True)
        return await self._ask(principal, form, {"mode": "form", "requestedSchema": schema}, key, run)

    async def visit(self, principal: str, link: Any, *, key: str, run: str | None) -> Action:
        """Shows an address that a person is to open and waits for what they say; `decline` where it is none of the
        web, which nobody is asked to open."""
        if not _is_of_the_web(link.url):
            return "decline"
        about = {"mode": "url", "url": plain(link.url), "requestedSchema": NOTHING}
        return (await self._ask(principal, link, about, key, run)).action

    async def _ask(self, principal: str, asked: Any, about: Json, key: str, run: str | None) -> Filled:
        if not self.shown(principal):
            return Filled("cancel")
        about |= {"sessionKey": key, "runId": run, "message": plain(asked.message), "toolCallId": asked.tool_call_id}
        created = now()
        shown = Form(str(uuid.uuid4()), principal, about, created, created + round(self._seconds * 1000))
        self.pending[shown.id] = shown
        self._tell(REQUESTED, shown.requested(), principal)
        try:
            with anyio.move_on_after(self._seconds):
                await shown.over.wait()
        finally:
            if shown.filled is None:
                self._end(shown, Filled("cancel"), None, None)
        return shown.filled or Filled("cancel")

    def resolve(
        self, principal: str, id: str, action: str, content: Json | None, *, by: str, may_approve: bool
    ) -> None:
        """Answers a form; the first answer counts. Raises `Refused`, also for a content that is none of this form's,
        `Forbidden` where the answer allows what a tool call is about to do to one who `may_approve` nothing, and
        `Unknown`."""
        if action not in ACTIONS:
            raise Refused("invalid action")
        form = self.pending.get(id)
        if form is None or form.principal != principal:
            settled = self._settled.get(id)
            if settled is not None and settled.principal == principal:
                raise Unknown("elicitation", (settled.action, settled.by))
            raise Unknown("elicitation")
        given = (content or {}) if action == "accept" else {}
        if action == "accept" and (wrong := problems(form.about["requestedSchema"], given)):
            raise Refused(f"invalid content: {'; '.join(wrong)}")
        approves = _reviewed(form.about, given)
        if approves and not may_approve:
            raise Forbidden(f"missing scope: {APPROVALS}")
        filled = Filled(action, given, approves=approves)  # type: ignore[arg-type]
        self._end(form, filled, by, _digest(action, given))
        form.over.set()

    def was_answered(self, principal: str, id: str, action: str, content: Json | None) -> bool:
        """Whether that form has this very answer."""
        settled, digest = self._settled.get(id), _digest(action, (content or {}) if action == "accept" else {})
        return settled is not None and (settled.principal, settled.digest) == (principal, digest)

    def for_newcomer(self, principal: str) -> list[tuple[str, Json]]:
        """What a client that comes now has to show."""
        return [(REQUESTED, form.requested()) for form in self.pending.values() if form.principal == principal]

    def _end(self, form: Form, filled: Filled, by: str | None, digest: bytes | None) -> None:
        form.filled = filled
        del self.pending[form.id]
        self._settled[form.id] = Settled(form.principal, filled.action, by, digest)
        if len(self._settled) > MOST_REMEMBERED:
            self._settled.popitem(last=False)
        resolved = {"id": form.id, "action": filled.action, "resolvedBy": by, "ts": now()}
        self._tell(RESOLVED, resolved, form.principal)


def problems(schema: Json, content: Json) -> list[str]:
    """What keeps `content` from being an answer to a form of that `requestedSchema`, each with its field.

    What a text has to look like (`pattern`, `format`) its agent checks: a pattern can take forever, for everybody.
    """
    found: list[str] = []
    fields = {name: _field(it) for name, it in (schema.get("properties") or {}).items()}
    required = [name for name in schema.get("required") or () if name in fields]
    whole = {"type": "object", "properties": fields, "required": required, "additionalProperties": False}
    compile_schema(whole)(content, "", found)
    return [*dict.fromkeys(found)]


_BOUNDS = {
    "string": ("minLength", "maxLength"),
    "integer": ("minimum", "maximum"),
    "number": ("minimum", "maximum"),
    "boolean": (),
    "array": ("minItems", "maxItems"),
}
# What a field of a type that is not known may hold: what ACP has a content hold.
_ANY: Json = {
    "anyOf": [
        {"type": "string"},
        {"type": "number"},
        {"type": "boolean"},
        {"type": "array", "items": {"type": "string"}},
    ]
}


def _field(asked: Json) -> Json:
    """A field's schema without what only tells a person something."""
    if (kind := asked.get("type")) not in _BOUNDS:
        return _ANY
    field = {"type": kind, **{name: asked[name] for name in _BOUNDS[kind] if asked.get(name) is not None}}
    if kind == "array":
        return {**field, "items": {"type": "string", **_chosen(asked.get("items") or {}, "anyOf")}}
    return {**field, **_chosen(asked, "oneOf")} if kind == "string" else field


def _chosen(asked: Json, titled: str) -> Json:
    """What a text has to be one of."""
    options = [*(asked.get("enum") or ()), *(it["const"] for it in asked.get(titled) or ())]
    return {"enum": options} if options else {}


def _digest(action: str, given: Json) -> bytes:
    return sha256(orjson.dumps([action, given], option=orjson.OPT_SORT_KEYS)).digest()


def _is_of_the_web(url: str) -> bool:
    try:
        return urlsplit(url).scheme in ("http", "https") and bool(urlsplit(url).hostname)
    except ValueError:
        return False


def _reviewed(about: Json, content: Json) -> bool:
    """Whether what was filled in is the review of a tool call, of which something is wanted: one list to pick from."""
    fields = list((about["requestedSchema"].get("properties") or {}).items())
    if about["toolCallId"] is None or len(fields) != 1 or fields[0][1].get("type") != "array":
        return False
    return bool(content.get(fields[0][0]))
