"""What a request may carry."""

from typing import Any

import anyio
import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ars_gateway.access.origins import peer_of
from ars_gateway.access.scopes import WRITE
from ars_gateway.http.app import make_app
from ars_gateway.http.bodies import json_body
from ars_gateway.http.errors import json_response
from tests.gateway.http.asking import BEARER, error_of

RIGHT = b'{"error": {"code": "X", "message": "m", "retryable": false, "details": {}}}'


async def echo(request: Request) -> Response:
    return json_response(await json_body(request, "Error", most=1000))


@pytest.fixture
async def client(running):
    app = make_app(running.gateway, (Route("/echo", echo, methods=["POST"]),), {("POST", "/echo"): WRITE})

    async def socket(scope: Any, receive: Any, send: Any) -> None:
        state = {"peer": peer_of("127.0.0.1", False, scope["headers"]), "signed_in": lambda: None}
        await app({**scope, "state": state}, receive, send)

    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=socket), base_url="http://localhost", headers=BEARER
    ) as one:
        yield one


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
async def test_json_as_the_document_has_it_is_taken(client, kind):
    answer = await client.post("/echo", content=RIGHT, headers={"content-type": kind})
    assert answer.status_code == 200
    assert answer.json()["error"]["code"] == "X"


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "text/json",
    ],
)
async def test_what_a_form_can_send_is_no_json(client, kind):
    answer = await client.post("/echo", content=RIGHT, headers={} if kind is None else {"content-type": kind})
    assert (answer.status_code, error_of(answer)["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"[]", "must be object"),
        (b"null", "must be object"),
        (b'{"error": 1}', "at /error: must be object"),
        (b"[" * 400 + b"]" * 400, "nested too deeply"),
        (b'{"error": NaN}', "not JSON"),
    ],
)
async def test_what_is_wrong_with_a_body_is_said(client, body, said):
    answer = await client.post("/echo", content=body, headers=JSON)
    assert (answer.status_code, error_of(answer)["code"]) == (400, "INVALID_MESSAGE")
    assert said in error_of(answer)["message"]


async def test_a_body_that_is_too_large_is_refused_with_the_bound(client):
    answer = await client.post("/echo", content=b" " * 1001, headers=JSON)
    assert (answer.status_code, error_of(answer)["code"]) == (413, "TOO_LARGE")
    assert error_of(answer)["details"] == {"most": 1000}


async def test_a_body_that_says_it_is_too_large_is_not_read(client):
    async def pieces() -> Any:
        raise AssertionError("read")
        yield b""

    answer = await client.post("/echo", content=pieces(), headers=JSON | {"content-length": "1001"})
    assert (answer.status_code, error_of(answer)["code"]) == (413, "TOO_LARGE")


async def test_a_body_without_a_length_is_read_up_to_a_bound(client):
    taken = 0

    async def pieces() -> Any:
        nonlocal taken
        while True:
            taken += 400
            yield b" " * 400

    with anyio.fail_after(20):
        answer = await client.post("/echo", content=pieces(), headers=JSON)
    assert (answer.status_code, taken) == (413, 1200)
