"""exec.approval.*: questions that wait for a person; _ars.approval.choose: an answer that no decision says;
_ars.elicitation.resolve: forms that wait."""

from collections.abc import Callable
from typing import Any

from ars_gateway.access.scopes import APPROVALS, WRITE
from ars_gateway.call import Call, Json, Method
from ars_gateway.errors import MethodError, invalid
from ars_gateway.talks.approvals import Refused, Unknown, plain

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
            asker=call.caller.who,
            seconds=None if limit is None else limit / 1000,
        )
    except Refused as why:
        raise invalid(str(why)) from None
    return question.answer()


def exec_approval_resolve(call: Call, params: Json) -> Json:
    """Decides what is asked; the first decision counts, and who comes late is told which that was."""
    return _answered(call, call.gateway.talks.approvals.resolve, params["id"], params["decision"])


def approval_choose(call: Call, params: Json) -> Json:
    """Picks one of the options that an agent offers, by its id: also where several are of one kind."""
    question, option = params.get("id"), params.get("optionId")
    if not isinstance(question, str) or not isinstance(option, str):
        raise invalid("invalid _ars.approval.choose params: id and optionId are needed")
    return _answered(call, call.gateway.talks.approvals.choose, question, option)


def _answered(call: Call, answer: Callable[..., None], id: str, what: str) -> Json:
    try:
        answer(call.caller.principal, id, what, by=_name(call), who=call.caller.who)
    except Refused as why:
        raise invalid(str(why)) from None
    except Unknown as why:
        raise _unknown(why, "decision") from None
    return {"ok": True}


def elicitation_resolve(call: Call, params: Json) -> Json:
    """Answers a form: accept with its content, decline or cancel."""
    form, action, content = params.get("id"), params.get("action"), params.get("content")
    if not isinstance(form, str) or not isinstance(action, str) or not isinstance(content, dict | None):
        raise invalid("invalid _ars.elicitation.resolve params: id, action and perhaps content are needed")
    try:
        forms, may_approve = call.gateway.talks.forms, call.caller.has(APPROVALS)
        forms.resolve(call.caller.principal, form, action, content, by=_name(call), may_approve=may_approve)
    except Refused as why:
        raise invalid(str(why)) from None
    except Unknown as why:
        raise _unknown(why, "action") from None
    return {"ok": True}


def _unknown(why: Unknown, answer: str) -> MethodError:
    """To whoever comes too late it is told what was answered."""
    return invalid(str(why), {answer: why.decision, "resolvedBy": why.by} if why.decided else None)


def _name(call: Call) -> str:
    client = call.caller.client
    return str(client.get("displayName") or client["id"])


def _shown(value: Any) -> Any:
    return plain(value) if isinstance(value, str) else value


METHODS = (
    Method("exec.approval.request", APPROVALS, exec_approval_request),
    Method("exec.approval.resolve", APPROVALS, exec_approval_resolve),
    Method("_ars.approval.choose", APPROVALS, approval_choose, params=None),
    Method("_ars.elicitation.resolve", WRITE, elicitation_resolve, params=None),
)
