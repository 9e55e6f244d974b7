"""What a reply has used: in its log entry, in the session's sums, and as `usage_update` for the client."""

from typing import TYPE_CHECKING, Any

from acp_wire import build
from ars_acp.session import Facts, Session

if TYPE_CHECKING:
    from ars_acp.catalog import Known, Price
    from ars_acp.models.model import Usage
    from ars_acp.streamer import Streamer

Json = dict[str, Any]
UNKNOWN_WINDOW = 128_000


def entry(usage: "Usage", known: "Known | None") -> Json:
    """The `usage` of a reply's entry: what the provider counted, and what it cost where the model has a price."""
    counted: Json = {"input": usage.input, "output": usage.output}
    for name in ("cached", "thought"):
        if (count := getattr(usage, name)) is not None:
            counted[name] = count
    if known is not None and known.price is not None:
        counted["cost"] = build.cost(cost(usage, known.price), known.price.currency)
    return counted


def cost(usage: "Usage", price: "Price") -> float:
    """What a reply cost. Thoughts are part of the output, what was cached is part of the input."""
    cached = min(usage.cached or 0, usage.input)
    of_cached = price.input if price.cached is None else price.cached
    millionths = (usage.input - cached) * price.input + cached * of_cached + usage.output * price.output
    return round(millionths / 1_000_000, 9)


def update(facts: Facts, known: "Known | None") -> Json:
    """The `usage_update` of a session as it stands: the last reply's context, the whole session's cost."""
    amount = None if facts.cost is None else build.cost(round(facts.cost[0], 6), facts.cost[1])
    return build.usage_update(facts.used or 0, known.window if known else UNKNOWN_WINDOW, cost=amount)


def tell(streamer: "Streamer", session: Session, name: str, known: "Known | None", *, counted: bool) -> None:
    """After a reply: what is used by now, if it was `counted`, and once that nothing is known of the model."""
    # Only as a notice: this is not worth a thought in the middle of an answer.
    if known is None and streamer.notices and name not in session.told_unknown:
        assumed = f"a context window of {UNKNOWN_WINDOW:,} tokens and no images; a models.toml can say more"
        streamer.tell("info", f"Nothing is known of the model {name}", f"assuming {assumed}")
        session.told_unknown.add(name)
    if counted:
        streamer.update(update(session.facts, known))
