"""How the gateway is: `/healthz` and `/readyz` for whoever starts it, `/health` for those who have signed in."""

from dataclasses import asdict
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ars_gateway.access.scopes import READ
from ars_gateway.gateway import Gateway
from ars_gateway.http.errors import json_response
from ars_gateway.http.sign_in import caller_of
from ars_gateway.observation.checks import LATE, Store
from ars_gateway.sessions.keys import MAIN

Json = dict[str, Any]

AT_WORK = ("ready", "busy")


async def healthz(request: Request) -> Response:
    """Whether anybody is at home; nothing else, as nobody has signed in."""
    return json_response({"ok": True})


async def readyz(request: Request) -> Response:
    """Whether prompts are taken: 503 where the gateway is about to end, or could not keep what is said."""
    gateway: Gateway = request.app.state.gateway
    ready = not gateway.talks.runs.closing and (await gateway.checks.store()).writable
    return json_response({"ready": ready}, 200 if ready else 503)


async def health(request: Request) -> Response:
    """All that is known, within 5 s: the store, the agents, and whether their models' endpoints answer."""
    gateway: Gateway = request.app.state.gateway
    principal = caller_of(request, READ).principal
    states = gateway.talks.agents.states()
    found: dict[str, Any] = {"store": LATE, "models": {}}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_note, found, "store", gateway.checks.store)
        at_work = [id for id, told in states.items() if told["state"] in AT_WORK]
        tasks.start_soon(_note, found, "models", gateway.checks.models, at_work)
    agents = [_agent(gateway, id, told, found["models"].get(id)) for id, told in states.items()]
    store: Store = found["store"]
    model = next(it["model"] for it in agents if it["id"] == MAIN)
    well = store.writable and model["reachable"] is not False
    runs = [run for run in gateway.talks.runs.live.values() if run.order.principal == principal]
    return json_response(
        {
            "status": "ok" if well and not gateway.talks.agents.troubled() else "degraded",
            "version": gateway.version,
            "uptimeMs": round((gateway.clock() - gateway.started) * 1000),
            "model": model,
            "store": asdict(store),
            "sessions": {
                "count": sum(1 for _ in gateway.talks.rooms.of(principal)),
                "active": gateway.talks.agents.count_open(principal),
                "running": len({id(run.order.room) for run in runs}),
            },
            "agents": agents,
        }
    )


ROUTES = (Route("/healthz", healthz), Route("/readyz", readyz), Route("/health", health))


def _agent(gateway: Gateway, id: str, told: Json, model: Json | None) -> Json:
    """A row; `model` is None where the agent is not at work."""
    model = model or gateway.checks.asleep(id, told["state"])
    name = gateway.talks.agents.kinds[id].name
    why = {"why": told["why"]} if told.get("why") else {}
    return {"id": id, "name": name, "state": told["state"], "restarts": told.get("restarts", 0), **why, "model": model}


async def _note(found: Json, name: str, ask: Any, *given: Any) -> None:
    found[name] = await ask(*given)
