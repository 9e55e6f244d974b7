"""What a turn of a role has come to, as the entry of the crew's log tells it."""

from typing import TYPE_CHECKING, Any

from connector.errors import ConnectorError

if TYPE_CHECKING:
    from connector.client import Update
    from connector.turn import Turn

REFUSED = "it refused, and will not remember what it was told"


def usage(update: "Update") -> dict[str, Any]:
    """What an update tells of tokens and costs; {} where nothing. A cost below nothing is none: it would make room in a
    budget."""
    if update.session_update != "usage_update":
        return {}
    told: dict[str, Any] = {"tokens": update.used}
    if update.cost is not None and update.cost.amount >= 0:
        told["cost"] = {"amount": update.cost.amount, "currency": update.cost.currency}
    return told


def outcome(
    turn: "Turn | None",
    failure: ConnectorError | OSError | None = None,
    cut: tuple[str, str] = ("", ""),
    *,
    forgets: bool = False,
) -> dict[str, Any]:
    """`replied` or `failed`. `failure` is why it has none, and `cut`, a kind and a text, why we have ended it.

    What a role was given counts as seen where it has answered, or else where anything has come of it. An agent forgets
    a prompt that it refuses; `forgets` is whether it does a cancelled one too.
    """
    sent = turn is not None and not turn.unsent
    had_effect = turn is not None and sent and turn.said_something()
    text = turn.text if turn is not None else ""
    if failure is not None:
        kind, error = type(failure).__name__, str(failure).removeprefix(f"{getattr(failure, 'agent', '')}: ")
    elif turn is None or turn.stop_reason is None or (turn.stop_reason == "cancelled" and cut[0]):
        kind, error = cut
    elif turn.stop_reason == "refusal":
        kind, error = "refusal", REFUSED
    else:
        return {"type": "replied", "text": text, "stopReason": turn.stop_reason}
    reason = turn.stop_reason if turn is not None else None
    if reason == "refusal" or (reason == "cancelled" and forgets):
        sent = had_effect = False
    return {"type": "failed", "kind": kind, "error": error, "text": text, "seen": had_effect, "sent": sent}
