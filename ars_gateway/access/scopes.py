"""Roles and scopes: what each allows, what each event asks for. Names that no table has are closed."""

from collections.abc import Iterable

ADMIN = "operator.admin"
READ = "operator.read"
WRITE = "operator.write"
APPROVALS = "operator.approvals"
PAIRING = "operator.pairing"
OPERATOR_SCOPES = frozenset({ADMIN, READ, WRITE, APPROVALS, PAIRING})
ROLES = ("operator", "node")

# What a scope contains beyond itself.
_CONTAINS = {ADMIN: OPERATOR_SCOPES, WRITE: frozenset({WRITE, READ})}

# Who sees an event: a scope, or None for everybody. An event that is not here cannot be sent.
EVENTS: dict[str, str | None] = {
    "connect.challenge": None,
    "agent": READ,
    "chat": READ,
    "presence": READ,
    "tick": None,
    "shutdown": None,
    "health": READ,
    "device.pair.requested": PAIRING,
    "device.pair.resolved": PAIRING,
    "exec.approval.requested": APPROVALS,
    "exec.approval.resolved": APPROVALS,
    "_ars.elicitation.requested": WRITE,
    "_ars.elicitation.resolved": WRITE,
    "_ars.feed": READ,
}
# What the guide calls some of them, for clients that name these in `caps`.
GUIDE_NAMES = {"agent": "agent.event", "chat": "chat.event"}


def closure(scopes: Iterable[str]) -> frozenset[str]:
    """All that these scopes allow; what is no scope of ours allows nothing."""
    held: set[str] = set()
    for scope in scopes:
        if scope in OPERATOR_SCOPES:
            held |= _CONTAINS.get(scope, {scope})
    return frozenset(held)


def granted(requested: Iterable[str], allowed: frozenset[str]) -> list[str]:
    """The scopes asked for that `allowed` (closed) contains, in the order in which they were asked for."""
    return [scope for scope in dict.fromkeys(requested) if scope in allowed]
