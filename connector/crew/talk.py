"""Talk: one round of a crew as whoever has asked for it sees it."""

from collections.abc import AsyncIterator, Callable

import anyio

from connector.crew.conversation import Reply
from connector.crew.role import Budget
from connector.crew.rounds import Round
from event_log import LogError


class Talk:
    """Iterate over it for the replies, those of roles that failed too, as they come.

    `replies` are all until now. `why` is "" until it has ended: `done`, `cancelled`, or `budget` where that is used up,
    and then `told` says which one. It goes on where nobody iterates.
    """

    def __init__(self, text: str | None, round: Round, roles: tuple[str, ...], budget: Budget) -> None:
        self.text = text
        self.round = round
        self.roles = roles
        self.budget = budget
        self.replies: list[Reply] = []
        self.why = ""
        self.told = ""
        # For the crew: what ends it while it runs.
        self.stop: Callable[[], None] | None = None
        self._failure: LogError | None = None
        self._changed = anyio.Event()

    async def __aiter__(self) -> AsyncIterator[Reply]:
        """From the first reply on. Raises LogError where the conversation could not be written on."""
        at = 0
        while True:
            while at < len(self.replies):
                at += 1
                yield self.replies[at - 1]
            if self.why:
                break
            await self._changed.wait()
        if self._failure is not None:
            raise self._failure

    async def ended(self) -> str:
        """Waits for the end and returns `why`. Raises LogError."""
        async for _ in self:
            pass
        return self.why

    def cancel(self) -> None:
        """Ends it: who is at work is cancelled, nobody else is asked."""
        if self.stop is not None:
            self.stop()
        elif not self.why:
            self.end("cancelled", "it was cancelled")

    # ── for the crew ────────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, reply: Reply) -> None:
        """One more reply."""
        self.replies.append(reply)
        self._wake()

    def end(self, why: str, told: str = "", failure: LogError | None = None) -> None:
        """Nothing more comes."""
        if not self.why:
            self.why, self.told, self._failure = why, told, failure
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
