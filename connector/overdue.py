"""A turn that takes too long, or does not end when it was cancelled."""

import math
from collections.abc import Callable

import anyio

from acp_wire import methods
from connector.client import Hands
from connector.errors import AgentTimeout, Asked
from connector.generation import Generation
from connector.link import Link
from connector.turn import Turn


async def watch(
    link: Link,
    turn: Turn,
    hands: Hands,
    generation: Generation,
    tell_to_stop: Callable[[], None],
    on_overdue: Callable[[AgentTimeout], None],
) -> None:
    """Waits until the turn is cancelled or takes too long, then for an answer, and gives the agent up without."""
    if (why := await _taking_too_long(link, turn, hands)) is not None:
        on_overdue(why)
        tell_to_stop()
    await anyio.sleep(link.limits.cancel)
    await generation.give_up(f"it ignored session/cancel for {link.limits.cancel:g} s and was killed")


async def _taking_too_long(link: Link, turn: Turn, hands: Hands) -> AgentTimeout | None:
    """None when the turn is cancelled."""
    limits, began = link.limits, anyio.current_time()
    while not turn.cancelled:
        now = anyio.current_time()
        heard = max(began, hands.silent_since())
        asked = Asked(methods.SESSION_PROMPT.name, elapsed=now - began)
        for limit, since, what in ((limits.turn, began, "no answer to"), (limits.idle, heard, "not a word during")):
            if limit is not None and now >= since + limit:
                return AgentTimeout(link.name, asked, limit, link.stderr_tail(), what)
        ends = [since + limit for since, limit in ((began, limits.turn), (heard, limits.idle)) if limit is not None]
        with anyio.CancelScope(deadline=min(ends, default=math.inf)):
            await turn.cancelling()
    return None
