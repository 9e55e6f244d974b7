"""exec.approval.*: questions that wait for a person; _ars.elicitation.resolve: forms that do."""

from typing import Any

from ars_gateway.approvals import Refused, Unknown, plain
from ars_gateway.call import Call, Json, Method
from ars_gateway.errors import invalid
from ars_gateway.scopes import APPROVALS, WRITE

_FIELDS = ("command", "cwd", "host", "security", "ask", "agentId", "resolvedPath", "sessionKey")


async def exec_approval_request(call: Call, params: Json) -> Json:
    """Asks, and answers when somebody has decided, or nobody in time: then the decision is null."""
    request: Json = {name: _shown(params.get(name)) for name in _FIELDS}
    limit = params.get("timeoutMs")
    try:
        question = await call.gateway.talks.approvals.ask(
            call.caller.principal,
            request,
            id=params.get("id"),
            asker=call.caller.conn_id,
            seconds=None if limit is None else limit / 1000,
        )
    except Refused as why:
        raise invalid(str(why)) from None
    return question.answer()


def exec_approval_resolve(call: Call, params: Json) -> Json:
    """Decides what is asked; the first decision counts, and who comes late is told which that was."""
    caller = call.caller
    try:
        call.gateway.talks.approvals.resolve(
            caller.principal, params["id"], params["decision"], by=_name(call), conn=caller.conn_id
        )
    except Refused as why:
        raise invalid(str(why)) from None
    except Unknown as why:
        decided = {"decision": why.decision, "resolvedBy": why.by} if why.decided else None
        raise invalid(str(why), decided) from None
    return {"ok": True}


def elicitation_resolve(call: Call, params: Json) -> Json:
    """Answers a form: accept with its content, decline or cancel."""
    form, action, content = params.get("id"), params.get("action"), params.get("content")
    if not isinstance(form, str) or not isinstance(action, str) or not isinstance(content, dict | None):
        raise invalid("invalid _ars.elicitation.resolve params: id, action and perhaps content are needed")
    try:
        call.gateway.talks.forms.resolve(call.caller.principal, form, action, content, by=_name(call))
    except Refused as why:
        raise invalid(str(why)) from None
    except Unknown:
        raise invalid("unknown elicitation id") from None
    return {"ok": True}


def _name(call: Call) -> str:
    client = call.caller.client
    return str(client.get("displayName") or client["id"])


def _shown(value: Any) -> Any:
    return plain(value) if isinstance(value, str) else value


METHODS = (
    Method("exec.approval.request", APPROVALS, exec_approval_request),
    Method("exec.approval.resolve", APPROVALS, exec_approval_resolve),
    Method("_ars.elicitation.resolve", WRITE, elicitation_resolve, params=None),
)
