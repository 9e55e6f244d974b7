"""The HTTP doors, as a starlette application: for now the one that says whether the gateway is there."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def healthz(request: Request) -> JSONResponse:
    """Whether anybody is at home; nothing else, as nobody has signed in."""
    return JSONResponse({"ok": True}, headers={"cache-control": "no-store"})


def make_app() -> Starlette:
    """The application. Host, Origin and query were looked at before a request gets here."""
    return Starlette(routes=[Route("/healthz", healthz)])
