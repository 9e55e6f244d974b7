"""Calls that an agent leaves to its client whole: those of the tools that were named for a session."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from acp_wire import methods
from acp_wire.build_extensions import tool_result

if TYPE_CHECKING:
    from connector.link import Link
    from connector.session import Session


@dataclass(frozen=True)
class ToolCall:
    """One of them; `name` as in the specification of the tools: "git.diff".

    The agent asks again with the same `id` where a call that changes nothing was not answered in time.
    """

    session: str
    id: str
    name: str
    arguments: dict[str, Any]


def plain(name: str) -> str:
    """A tool's name as both spellings have it: `git_diff` is `git.diff`."""
    return name.replace(".", "_")


# Returns what `acp_wire.build_extensions.tool_result` makes. It is cancelled where nobody waits for it any more.
CarryOut = Callable[[ToolCall], Awaitable[dict[str, Any]]]
CANCELLED = tool_result("The turn was cancelled", ok=False, code="CANCELLED")


def naming(params: dict[str, Any], tools: Collection[str]) -> dict[str, Any]:
    """The params that open a session, in which the agent leaves these `tools`, and no others, to its client."""
    meta = {name: it for name, it in params.get("_meta", {}).items() if name != "ars/tools"}
    meta |= {"ars/tools": sorted(tools)} if tools else {}
    return {name: it for name, it in params.items() if name != "_meta"} | ({"_meta": meta} if meta else {})


async def retool(link: "Link", session: "Session", tools: Collection[str]) -> None:
    """Has the agent leave these `tools`, and no others, to the client's `call`, from the next turn on, in whichever
    process the session goes on; what was allowed in it stays allowed. To be awaited while no turn runs.

    Raises `NotOffered` where the agent has to be told when the session is opened, ValueError for a client that was made
    without `call`.
    """
    link.need_ours("ars/retool", "the tools of a session that is open stay as they are")
    if tools and not link.client.carries_out:
        raise ValueError("`tools` are for a client that was made with `call`")

    def done() -> None:
        session.params = naming(session.params, tools)
        session.hands.carry_out(tools)

    params = {"sessionId": session.id, "tools": sorted(tools)}
    # Whoever gives up before the agent has answered does not take back what it has done.
    await link.ask(methods.ARS_SESSION_RETOOL, params, timeout=link.limits.request, late=lambda answer: done())
    done()
