"""Messages that join a running turn: `_session/steering`.

A turn that runs has an inbox. What is put there joins the conversation before the turn's next request to the model; a
turn does not end while something waits. What came in the very moment in which a turn ended otherwise is kept in the
conversation all the same, and the person is told.
"""

from typing import TYPE_CHECKING, Any

from ars_acp.session import Entry

if TYPE_CHECKING:
    from anyio import CancelScope

    from ars_acp.turn import Turn

SUPPORTED = {"steering": {"supported": True}}
INJECTED = {"outcome": "injected"}
STARTED = {"outcome": "startedNewTurn"}
PROMPT_REQUIRED = {"outcome": "promptRequired", "reason": "noRunningTurn"}


class Inbox:
    """What is said to one turn while it runs. It is shut before the turn begins and after its end."""

    def __init__(self, scope: "CancelScope") -> None:
        self._scope = scope
        self._open = False
        self._waiting: list[Entry] = []

    def open(self) -> None:
        """From here on messages join the turn."""
        self._open = True

    def put(self, message: Entry) -> bool:
        """Whether the message will join the turn; not one that is over, or was cancelled."""
        if not self._open or self._scope.cancel_called:
            return False
        self._waiting.append(message)
        return True

    def take(self) -> list[Entry]:
        """What has come since the last time."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def shut(self, *, unless_used: bool = False) -> bool:
        """Lets nothing in any more, and says so; `unless_used`, not while something waits."""
        if not (unless_used and self._waiting):
            self._open = False
        return not self._open


def join(turn: "Turn") -> None:
    """Puts what was said meanwhile into the conversation, where the next request to the model finds it."""
    for message in turn.inbox.take():
        turn.streamer.said(message)


def keep(turn: "Turn") -> None:
    """Closes the inbox of a turn that ends; what still lies there stays in the conversation, unanswered."""
    turn.inbox.shut()
    late = turn.inbox.take()
    for message in late:
        turn.streamer.said(message)
    if late:
        turn.streamer.tell("warning", "The turn ended before it came to your last message; say what should be done now")


def needs_a_prompt(meta: dict[str, Any] | None) -> bool:
    """Whether the client wants to send a prompt by itself where no turn is running."""
    wanted = (meta or {}).get("steering")
    return isinstance(wanted, dict) and wanted.get("idleBehavior") == "promptRequired"
