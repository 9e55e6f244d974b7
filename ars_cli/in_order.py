"""What an agent says is shown in the order in which it came, whoever learns of it first."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from connector import Turn


class InOrder:
    """Shows a session's updates one after the other: those of a turn that is followed, and those `outside` of it.

    What is late is told at once, while updates before it may still wait in their turn: it waits for them.
    """

    def __init__(self, show: Callable[[Any], None]) -> None:
        self._show = show
        self._after: list[Any] | None = None

    def outside(self, update: Any) -> None:
        """For the session: what has come late, or belongs to no turn."""
        if self._after is None:
            self._show(update)
        else:
            self._after.append(update)

    async def follow(self, turn: "Turn") -> None:
        """Shows a turn to its end. Raises `ConnectorError` where it has none, when everything is shown."""
        self._after = []
        try:
            async for update in turn:
                self._show(update)
        finally:
            after, self._after = self._after, None
            for update in after:
                self._show(update)
