"""models.list, usage.status, usage.cost: what answers, and what that has taken."""

from ars_gateway.access.scopes import READ
from ars_gateway.call import Call, Json, Method
from ars_gateway.sessions.ledger import now
from ars_gateway.talks import spending
from connector import ConnectorError

DAYS = 30
MOST_DAYS = 3650


async def models_list(call: Call, params: Json) -> Json:
    """The models that the agents have told of. The main agent is asked where nobody knows yet."""
    agents = call.gateway.talks.agents
    found: dict[tuple[str, str], Json] = {}
    for agent in agents.kinds:
        facts = agents.facts.get(agent)
        if facts is None and agent == next(iter(agents.kinds)):
            try:
                facts = await agents.learn(agent, call.caller.principal)
            except (ConnectorError, OSError) as why:
                call.gateway.log.warning("agent.models_unknown", agent=agent, why=str(why))
        for model in (facts or {}).get("models", ()):
            found.setdefault((model["provider"], model["id"]), model)
    return {"models": list(found.values())}


def usage_status(call: Call, params: Json) -> Json:
    """The quotas of providers: agents tell nothing of these."""
    return {"updatedAt": now(), "providers": []}


def usage_cost(call: Call, params: Json) -> Json:
    """Tokens and cost per day, as the agents have reported them."""
    days = params.get("days")
    days = min(max(int(days), 1), MOST_DAYS) if isinstance(days, int | float) and not isinstance(days, bool) else DAYS
    daily = call.gateway.talks.spending.daily(call.caller.principal, days)
    return {"updatedAt": now(), "days": days, "daily": daily, "totals": spending.totals(daily)}


METHODS = (
    Method("models.list", READ, models_list),
    Method("usage.status", READ, usage_status, params=None),
    Method("usage.cost", READ, usage_cost, params=None),
)
