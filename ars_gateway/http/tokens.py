"""POST /auth/token: a one-time token for a WebSocket connect, made by who has signed in."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ars_gateway.access.connect_tokens import PAGE_CLIENT, SECONDS, page_address
from ars_gateway.access.scopes import READ, granted
from ars_gateway.gateway import Gateway
from ars_gateway.http.bodies import json_body
from ars_gateway.http.errors import json_response, too_often
from ars_gateway.http.sign_in import caller_of


async def auth_token(request: Request) -> Response:
    """The token, and until when it is good. `scopes` are an upper bound, as in a connect."""
    gateway: Gateway = request.app.state.gateway
    caller = caller_of(request, READ)
    body = await json_body(request, "TokenRequest")
    if seconds := gateway.connect_tokens.rate.wait(caller.name):
        raise too_often(seconds)
    client_id = body.get("client_id", PAGE_CLIENT)
    scopes = granted(body.get("scopes", sorted(caller.scopes)), caller.scopes)
    token = gateway.connect_tokens.make(caller.principal, scopes, client_id)
    until = gateway.now_ms() + round(SECONDS * 1000)
    made = {"token": token, "expires_at_ms": until, "client_id": client_id, "scopes": scopes}
    if client_id == PAGE_CLIENT:
        made["address"] = page_address(gateway.urls, token)
    return json_response(made)


ROUTES = (Route("/auth/token", auth_token, methods=["POST"]),)
