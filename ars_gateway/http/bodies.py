"""What a request carries: read up to a bound, within a bound of time, JSON only, and as the OpenAPI document says."""

from typing import Any

import anyio
from starlette.requests import ClientDisconnect, Request

from ars_gateway.gateway import Gateway
from ars_gateway.http.errors import INVALID_MESSAGE, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, HttpError, too_often
from ars_gateway.http.openapi import problems
from ars_gateway.protocol.frames import NotJson, parse, too_deep

Json = dict[str, Any]
MOST = 1024 * 1024


async def json_body(request: Request, schema: str, most: int = MOST) -> Json:
    """The request's body, which fits `schema` of the document's components. Raises `HttpError`: 415, 413, 408, 400."""
    is_json(request)
    data = await read(request, most)
    try:
        found = parse(data)
    except NotJson as why:
        raise HttpError(400, INVALID_MESSAGE, f"the body is {why}") from None
    if too_deep(found, data, request.app.state.gateway.limits.depth):
        raise HttpError(400, INVALID_MESSAGE, "the body is nested too deeply")
    if wrong := problems(schema, found):
        raise HttpError(400, INVALID_MESSAGE, f"invalid body: {'; '.join(wrong)}", details={"problems": wrong})
    assert isinstance(found, dict), "the schemas of bodies are of objects"
    return found


def is_json(request: Request) -> None:
    """Raises `HttpError` where the request does not say, once, that its body is JSON: what no form can send."""
    kinds = [it.partition(";")[0].strip().lower() for it in request.headers.getlist("content-type")]
    if kinds != ["application/json"]:
        raise HttpError(415, UNSUPPORTED_MEDIA_TYPE, "the body has to be application/json")


async def read(request: Request, most: int = MOST) -> bytes:
    """The body's bytes, kept for who asks again. Raises `HttpError` where they are more than `most` or too slow, or
    where too many come in at once."""
    kept: bytes | None = getattr(request.state, "body", None)
    if kept is None:
        kept = request.state.body = await _read(request, most)
    if len(kept) > most:
        raise _too_large(most)
    return kept


async def _read(request: Request, most: int) -> bytes:
    # What is left of a body where this raises is let pass by: see `lingering`.
    said = request.headers.get("content-length", "")
    if said.isdigit() and int(said) > most:
        raise _too_large(most)
    gateway: Gateway = request.app.state.gateway
    found = bytearray()
    try:
        with anyio.fail_after(gateway.limits.body_seconds):
            async for piece in request.stream():
                found += piece
                gateway.reading += len(piece)
                if len(found) > most:
                    raise _too_large(most)
                if gateway.reading > gateway.limits.reading_bytes:
                    raise too_often(1, "too much is being sent at once (retry later)")
    except TimeoutError:
        raise HttpError(408, INVALID_MESSAGE, "the body took too long", headers={"connection": "close"}) from None
    except ClientDisconnect:
        raise HttpError(400, INVALID_MESSAGE, "the body ended early") from None
    finally:
        gateway.reading -= len(found)
    return bytes(found)


def _too_large(most: int) -> HttpError:
    return HttpError(413, TOO_LARGE, f"the body is larger than {most} bytes", details={"most": most})
