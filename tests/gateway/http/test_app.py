"""The doors together: who gets to one, what is refused and how, and what every answer carries."""

from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ars_gateway.access.origins import peer_of
from ars_gateway.access.scopes import READ, WRITE
from ars_gateway.errors import AGENT_TIMEOUT, MethodError
from ars_gateway.http.access import ACCESS
from ars_gateway.http.app import DOORS, make_app
from ars_gateway.http.errors import json_response
from ars_gateway.http.sign_in import caller_of
from tests.gateway.http.asking import BEARER, asking, error_of


async def test_health_needs_nobody_and_is_kept_by_nobody(running):
    async with asking(running, headers={}) as client:
        answer = await client.get("/healthz")
    assert answer.json() == {"ok": True}
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not [name for name in answer.headers if name.startswith(("access-control", "set-cookie", "server"))]


async def test_an_unknown_path_is_not_found_in_the_one_shape(running):
    async with asking(running, headers={}) as client:
        answer = await client.get("/no/such")
        assert (answer.status_code, error_of(answer)["code"]) == (404, "NOT_FOUND")
        assert (await client.get("/healthz/")).status_code == 404


async def test_a_method_that_a_path_lacks_is_refused_with_those_it_has(running):
    async with asking(running, headers={}) as client:
        answer = await client.put("/healthz")
        assert (answer.status_code, error_of(answer)["code"]) == (405, "METHOD_NOT_ALLOWED")
        assert answer.headers["allow"] == "GET, HEAD"
        head = await client.head("/healthz")
        assert (head.status_code, head.content) == (200, b"")


def test_every_route_has_a_row_and_every_method_of_it():
    asked = {(method, it.path) for it in DOORS for method in it.methods - {"HEAD"}}
    assert asked <= ACCESS.keys()


# ── doors of our own, in an application without a socket ──────────────────────────────────────────────────────────────


async def whose(request: Request) -> Response:
    return json_response({"principal": caller_of(request, READ).principal})


async def broken(request: Request) -> Response:
    raise ZeroDivisionError("a secret of the stack")


async def late(request: Request) -> Response:
    raise MethodError(AGENT_TIMEOUT, "the agent is silent", retryable=True, retry_after_ms=1500)


async def half(request: Request) -> Response:
    async def pieces() -> Any:
        yield b"one"
        raise ZeroDivisionError

    return StreamingResponse(pieces())


OWN = (
    Route("/whose", whose),
    Route("/broken", broken),
    Route("/late", late),
    Route("/half", half),
    Route("/unlisted", whose),
    Route("/both", whose, methods=["GET", "POST"]),
)
ROWS = {("GET", it.path): READ for it in OWN if it.path != "/unlisted"}


@asynccontextmanager
async def inside(gateway: Any, access: Any = None, **options: Any) -> Any:
    """A client of an application with these doors, and how often a request has left the lobby."""
    app = make_app(gateway, OWN, access or ROWS)
    signed_in: list[bool] = []

    async def socket(scope: Any, receive: Any, send: Any) -> None:
        state = {"peer": peer_of("127.0.0.1", False, scope["headers"]), "signed_in": lambda: signed_in.append(True)}
        await app({**scope, "state": state}, receive, send)

    transport = httpx2.ASGITransport(app=socket)
    given = {"base_url": "http://localhost", "headers": BEARER} | options
    async with httpx2.AsyncClient(transport=transport, **given) as client:
        yield client, signed_in


async def test_who_has_signed_in_leaves_the_lobby(running):
    async with inside(running.gateway) as (client, signed_in):
        assert (await client.get("/whose")).json() == {"principal": "owner"}
        assert signed_in == [True]
        answer = await client.get("/whose", headers={"authorization": "Bearer wrong"})
        assert answer.status_code == 401
        assert signed_in == [True]


async def test_a_route_without_a_row_does_not_answer(running):
    async with inside(running.gateway) as (client, _):
        assert (await client.get("/unlisted")).status_code == 404
        assert (await client.get("/both")).status_code == 200
        answer = await client.post("/both")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_a_fault_is_logged_and_not_told(running):
    async with inside(running.gateway) as (client, _):
        answer = await client.get("/broken")
    assert answer.status_code == 500
    assert error_of(answer)["code"] == "INTERNAL"
    assert "secret" not in answer.text
    (line,) = running.log.named("gateway.door_failed")
    assert line["path"] == "/broken"


async def test_a_fault_in_mid_answer_is_logged_and_the_answer_is_left_short(running):
    async with inside(running.gateway) as (client, _):
        with pytest.raises(AssertionError):  # what this client says to an answer without an end
            await client.get("/half")
    assert running.log.named("gateway.door_failed")


async def test_what_a_method_fails_with_keeps_its_meaning(running):
    async with inside(running.gateway) as (client, _):
        answer = await client.get("/late")
    assert answer.status_code == 504
    assert answer.headers["retry-after"] == "2"
    assert error_of(answer) == {
        "code": "AGENT_UNAVAILABLE",
        "message": "the agent is silent",
        "retryable": True,
        "details": {"code": "AGENT_TIMEOUT", "retryAfterMs": 1500},
    }


@pytest.mark.parametrize("scope", [READ, WRITE])
async def test_a_scope_that_the_caller_lacks_is_named(running, scope):
    held = running.gateway.credentials._held[0]
    running.gateway.credentials._held = (type(held)(held.principal, held.digest, frozenset({"operator.pairing"})),)
    async with inside(running.gateway, access=dict.fromkeys(ROWS, scope)) as (client, _):
        answer = await client.get("/whose")
    assert answer.status_code == 403
    assert error_of(answer)["message"] == f"missing scope: {scope}"
