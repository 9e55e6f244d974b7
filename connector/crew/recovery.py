"""What came of the turns during which our own process ended: the record of a role's session tells.

A turn that the record knows the answer of is answered. One of which something was seen has had an effect: it counts as
seen, and what it had said is told to the person. Any other is as if the role had not been asked.
"""

from typing import TYPE_CHECKING, Any

from connector.crew.conversation import Ask, Reply
from connector.crew.needs import Writer
from connector.crew.outcome import outcome, usage
from connector.fold import as_read

if TYPE_CHECKING:
    from connector.session import Session
    from connector.turn import Turn

ENDED = "our process ended while it was at work"


def settle(writer: Writer, session: "Session | None", role: str) -> list[Reply]:
    """Gives each turn of a role that has no outcome yet the one that it had. Without a session, none had any effect."""
    replies: list[Reply | None] = []
    forgets = session is not None and session.vendor.quirks.forgets
    for ask in [ask for ask in writer.conversation.asks.values() if ask.role == role]:
        turn = _turn(session, ask)
        came = outcome(turn, cut=("interrupted", ENDED), forgets=forgets)
        entry = {"ask": ask.number, "role": role, "round": ask.round, **came, **_usage(session, turn)}
        replies.append(writer.write(entry))
    return [reply for reply in replies if reply is not None]


def _turn(session: "Session | None", ask: Ask) -> "Turn | None":
    """The first turn that was begun after the role had been asked: only the crew uses its session."""
    if session is None or ask.mark is None:
        return None
    return next((turn for turn in session.record.turns if turn.id > ask.mark), None)


def _usage(session: "Session | None", turn: "Turn | None") -> dict[str, Any]:
    if session is None or turn is None:
        return {}
    told: dict[str, Any] = {}
    for _, entry in session.record.read(turn.id):
        if entry["type"] == "update" and entry["turn"] == turn.id and (update := as_read(entry["update"])) is not None:
            told |= usage(update)
    return told
