"""May this act be done? By the session's mode and by what the act does, never by what the model calls it.

                 effects none   write                      execute
    read-only    allow          refuse                     refuse
    ask          allow          ask                        ask
    accept-edits allow          allow (protected: ask)     ask
    full         allow          allow (protected: ask)     allow (protected: ask)

Protected paths (a repository's own files, editor and agent settings, secrets) are asked for every time, whatever was
allowed before. What the person has approved in a review, to the letter, is not asked for again; nor is what the client
carries out itself, as it asks its person itself.
"""

from typing import Any, Literal

from acp_wire import build
from ars_acp.tools.tool import Act

Verdict = Literal["allow", "ask", "refuse"]
MODES: dict[str, tuple[Verdict, Verdict]] = {  # write, execute
    "read-only": ("refuse", "refuse"),
    "ask": ("ask", "ask"),
    "accept-edits": ("allow", "ask"),
    "full": ("allow", "allow"),
}


def verdict(mode: str, act: Act, always_allowed: set[str]) -> Verdict:
    """What the mode says of `act`; `always_allowed` are the rules that the person has made in this session."""
    if act.effects == "none":
        return "allow"
    write, execute = MODES[mode]
    found = write if act.effects == "write" else execute
    if found == "refuse" or act.approved or act.by_client:
        return "refuse" if found == "refuse" else "allow"
    if act.protected:
        return "ask"
    return "allow" if act.rule is not None and act.rule in always_allowed else found


def options(act: Act) -> list[dict[str, Any]]:
    """What the person can answer. "Always" is offered only for an act that says how far such a rule would reach."""
    allow = [build.permission_option("allow_once", "Allow once", "allow_once")]
    if act.rule is not None and not act.protected:
        allow.append(build.permission_option("allow_always", "Allow exactly this for the session", "allow_always"))
    return [*allow, build.permission_option("reject_once", "Reject", "reject_once")]
