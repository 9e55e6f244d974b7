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


def deadline(link: Link, turn: Turn) -> float:
    """When the whole turn has taken too long, however many processes were at it."""
    return math.inf if link.limits.turn is None else turn.began + link.limits.turn


def taken_too_long(link: Link, turn: Turn) -> AgentTimeout | None:
    """The error of a turn whose `deadline` is over."""
    limit, now = link.limits.turn, anyio.current_time()
    return _error(link, turn, limit, "no answer to") if limit is not None and now >= deadline(link, turn) else None


def _error(link: Link, turn: Turn, limit: float, what: str) -> AgentTimeout:
    asked = Asked(methods.SESSION_PROMPT.name, elapsed=anyio.current_time() - turn.began)
    return AgentTimeout(link.name, asked, limit, link.stderr_tail(), what)


async def _taking_too_long(link: Link, turn: Turn, hands: Hands) -> AgentTimeout | None:
    """None when the turn is cancelled."""
    idle, began = link.limits.idle, anyio.current_time()
    while not turn.cancelled:
        if (why := taken_too_long(link, turn)) is not None:
            return why
        silent = math.inf if idle is None else max(began, hands.silent_since()) + idle
        if idle is not None and anyio.current_time() >= silent:
            return _error(link, turn, idle, "not a word during")
        with anyio.CancelScope(deadline=min(deadline(link, turn), silent)):
            await turn.cancelling()
    return None
