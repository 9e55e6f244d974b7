"""From what a request calls a session to the session: the same words for what is unknown and for what is another's."""

from typing import Any

from ars_gateway.call import Call
from ars_gateway.errors import MethodError, invalid
from ars_gateway.sessions import keys
from ars_gateway.sessions.rooms import Room

Json = dict[str, Any]


def key_of(call: Call, text: str, agent: str | None = None, *, known: bool = True) -> str:
    """The canonical key of what a client calls a session. Raises `MethodError`, also for an agent that is not there,
    unless that is looked at elsewhere (`known`)."""
    try:
        key = keys.canonical(text, agent or keys.MAIN)
    except keys.KeyInvalid as why:
        raise invalid(str(why)) from None
    if known:
        known_agent(call, keys.agent_of(key))
    return key


def known_agent(call: Call, agent: str, method: str = "") -> str:
    """An agent's id as it is kept. Raises `MethodError` for one that is not there."""
    id = keys.agent_id(agent)
    if id not in call.gateway.talks.agents.kinds:
        raise invalid(f'{f"invalid {method} params: " if method else ""}unknown agent id "{agent}"')
    return id


def room_of(call: Call, text: str) -> Room | None:
    """The session that a client calls `text`; None where there is none yet."""
    return call.gateway.talks.rooms.find(call.caller.principal, key_of(call, text))


def room_by_id(call: Call, session_id: str) -> Room | None:
    """The session with that id."""
    return call.gateway.talks.rooms.by_id(call.caller.principal, session_id)


def not_found(what: str) -> MethodError:
    """Nobody has a session of that name or id."""
    return invalid(f"No session found: {what}")
