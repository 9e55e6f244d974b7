"""Messages that join a run that is at work: said once for a key, and shown where they were said."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal

import anyio

from ars_gateway.errors import MethodError
from ars_gateway.talks.runs import Run
from connector import NotOffered

Outcome = Literal["injected", "noRun", "unsupported"]
MOST_KEPT = 1024


@dataclass(eq=False)
class _Said:
    outcome: Outcome | None = None
    over: anyio.Event = field(default_factory=anyio.Event)


class Steering:
    """What was said to runs, by principal and key: the latest."""

    def __init__(self) -> None:
        self._said: OrderedDict[tuple[str, str], _Said] = OrderedDict()

    async def steer(self, run: Run, text: str, key: str) -> Outcome:
        """Has a message join the run, or says why it did not. A key that was used has the outcome that it had.

        Raises `ConnectorError`; `MethodError` where another request with that key has just failed.
        """
        named = run.order.principal, key
        said = self._said.get(named)
        if said is not None:
            await said.over.wait()
            if said.outcome is None:
                raise MethodError("UNAVAILABLE", "the message was not taken: say it again", retryable=True)
            return said.outcome
        said = self._said[named] = _Said()
        if len(self._said) > MOST_KEPT:
            self._said.popitem(last=False)
        try:
            said.outcome = await _ask(run, text)
        finally:
            if said.outcome != "injected":  # it may be said again
                self._said.pop(named, None)
            said.over.set()
        return said.outcome


async def _ask(run: Run, text: str) -> Outcome:
    if run.session is None or run.settled():
        return "noRun"
    try:
        taken = await run.session.steer([{"type": "text", "text": text}])
    except NotOffered:
        return "unsupported"
    if not taken:
        return "noRun"
    run.feed.add(run.order.id, "steer", {"text": text})
    return "injected"
