"""The HTTP doors as one starlette application: who may in, then the door, and the one error boundary around all.

Host, Origin and query were looked at before a request gets here (`server.Door`), which also leaves in
`request.state`: `peer`, whom the socket belongs to, and `signed_in()`, which ends the lobby's patience with it.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ars_gateway.clean import clean
from ars_gateway.gateway import Gateway
from ars_gateway.http import (
    acp,
    agent,
    chat_completions,
    health,
    metrics,
    models,
    openai_errors,
    openapi,
    pages,
    tokens,
)
from ars_gateway.http.access import ACCESS
from ars_gateway.http.errors import INTERNAL, HttpError, as_http
from ars_gateway.http.sign_in import sign_in

Handler = Callable[[Request], Awaitable[Response]]

DOORS: tuple[Route, ...] = (
    *acp.ROUTES,
    *agent.ROUTES,
    *chat_completions.ROUTES,
    *health.ROUTES,
    *metrics.ROUTES,
    *models.ROUTES,
    *openapi.ROUTES,
    *tokens.ROUTES,
)


def make_app(
    gateway: Gateway, doors: Iterable[Route] = DOORS, access: Mapping[tuple[str, str], str | None] = ACCESS
) -> Starlette:
    """The application. A handler has the gateway in `request.app.state.gateway`, the caller by `sign_in.caller_of`."""
    routes = [Route(it.path, _guarded(it, access), methods=_open(it, access)) for it in doors if _open(it, access)]
    routes += pages.ROUTES  # for whoever asks, and in no document
    refusing = {HTTPException: _refused}
    app = Starlette(routes=routes, middleware=[Middleware(Boundary, gateway)], exception_handlers=refusing)
    app.state.gateway = gateway
    app.router.redirect_slashes = False
    return app


def _open(route: Route, access: Mapping[tuple[str, str], str | None]) -> list[str]:
    """The methods of a route that have a row."""
    return [method for method in sorted(route.methods or ()) if (method, route.path) in access]


def _guarded(route: Route, access: Mapping[tuple[str, str], str | None]) -> Handler:
    handler: Handler = route.endpoint

    async def guarded(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        scope = access[method, route.path]
        if scope is not None:
            await sign_in(request, scope)
        return await handler(request)

    return guarded


async def _refused(request: Request, why: Exception) -> Response:
    """The framework's own refusals, in our shape: an unknown path, or a method that a path does not have."""
    error = as_http(why)
    assert error is not None, "registered for HTTPException only"
    if error.status == 405:
        routes = [it for it in request.app.routes if it.matches(request.scope)[0] is not Match.NONE]
        error.headers["allow"] = ", ".join(sorted({method for it in routes for method in it.methods}))
    return _said(error, request.scope)


def _said(error: HttpError, scope: Scope) -> Response:
    return openai_errors.response(error) if scope["path"].startswith(openai_errors.UNDER) else error.response()


class Boundary:
    """What goes wrong in a door becomes an answer in the one shape; every answer is kept by nobody on its way."""

    def __init__(self, app: ASGIApp, gateway: Gateway) -> None:
        self._app = app
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                route = getattr(scope.get("route"), "path", None)
                self._gateway.counts.answered(scope["method"], route, message["status"])
                headers = MutableHeaders(scope=message)
                headers.setdefault("cache-control", "no-store")
                headers["x-content-type-options"] = "nosniff"
                headers.setdefault("referrer-policy", "no-referrer")
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as why:
            error = as_http(why)
            if error is None or begun:
                self._gateway.log.error("gateway.door_failed", path=clean(scope["path"]), exc_info=why)
            if begun:  # the socket is closed behind half an answer, so that nobody takes it for a whole one
                return
            error = error or HttpError(500, INTERNAL, "internal error: the gateway's log has it")
            await _said(error, scope)(scope, receive, sending)
