"""`/v1/models`: the agents, as models that an OpenAI client can choose; `agent/model` is one of them with a model of
its own choice."""

from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ars_gateway.gateway import Gateway
from ars_gateway.http.errors import HttpError, json_response
from ars_gateway.sessions.keys import MAIN, agent_id

Json = dict[str, Any]


async def models(request: Request) -> Response:
    """All of them. What models an agent has is known once it has had a session: none is started for this."""
    return json_response({"object": "list", "data": list(_rows(request.app.state.gateway))})


async def model(request: Request) -> Response:
    """One of them. Raises `HttpError`."""
    gateway, id = request.app.state.gateway, request.path_params["model"]
    agent, _ = chosen(gateway, id)
    known = next((row for row in _rows(gateway) if row["id"] == id), None)
    return json_response(known or _row(gateway, id, agent))


ROUTES = (Route("/v1/models", models), Route("/v1/models/{model:path}", model))


def chosen(gateway: Gateway, name: str) -> tuple[str, str | None]:
    """The agent that a client's `model` names, by its id or its vendor's, and the model of its that comes behind a
    slash. Raises `HttpError` for an agent that is not there, and for a model that it is known not to have."""
    named, _, model = name.strip().partition("/")
    kinds = gateway.talks.agents.kinds
    wanted = agent_id(named)
    agent = wanted if wanted in kinds else next((it.id for it in kinds.values() if it.vendor.name == wanted), None)
    if agent is None:
        raise _not_found(name)
    offered = [it["id"] for it in (gateway.talks.agents.facts.get(agent) or {}).get("models", ())]
    if model and offered and model not in offered:
        raise _not_found(name)
    return agent, model or None


def _rows(gateway: Gateway) -> Iterator[Json]:
    agents = gateway.talks.agents
    for kind in agents.kinds.values():
        yield _row(gateway, kind.id, kind.id)
        if kind.id == MAIN and kind.vendor.name not in agents.kinds:
            yield _row(gateway, kind.vendor.name, kind.id)
        for it in (agents.facts.get(kind.id) or {}).get("models", ()):
            yield _row(gateway, f"{kind.id}/{it['id']}", kind.id)


def _row(gateway: Gateway, id: str, agent: str) -> Json:
    # An agent was made by somebody else, whenever that was: for us it begins with the gateway.
    began = gateway.now_ms() // 1000 - round(gateway.clock() - gateway.started)
    owner = gateway.talks.agents.kinds[agent].vendor.name
    return {"id": id, "object": "model", "created": began, "owned_by": owner}


def _not_found(name: str) -> HttpError:
    message = f"The model {name!r} does not exist: GET /v1/models lists those that do"
    return HttpError(404, "MODEL_NOT_FOUND", message, details={"param": "model"})
