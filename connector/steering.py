"""Messages that join a turn while it runs: `_session/steering`, for agents that have it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from acp_wire import methods
from connector.content import check
from connector.errors import NotOffered

if TYPE_CHECKING:
    from connector.link import Link
    from connector.session import Session


async def steer(link: "Link", session: "Session", prompt: Sequence[dict[str, Any]]) -> bool:
    """Has content blocks join the turn that is running, and records them; False where none is, or it ended before the
    agent had them.

    Raises `NotOffered` where the agent cannot, and what `Session.start` raises for content.
    """
    offered = (link.agent.meta or {}).get("steering")
    if not (isinstance(offered, dict) and offered.get("supported") is True):
        raise NotOffered(link.name, "_meta.steering", "a turn that runs takes no further message")
    check(prompt, link)
    if (running := session.running) is None:
        return False
    meta = {"steering": {"idleBehavior": "promptRequired"}}
    params = {"sessionId": session.id, "prompt": list(prompt), "_meta": meta}
    answer = await link.ask(methods.SESSION_STEERING, params, timeout=link.limits.request)
    if answer.outcome != "injected":
        return False
    session.record.note("steered", turn=running.id, blocks=list(prompt))
    running.steered += prompt
    return True
