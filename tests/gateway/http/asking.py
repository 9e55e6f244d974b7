"""HTTP clients of a gateway: with its token where nothing else is said, every wait bounded."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from tests.gateway.host import TOKEN, Running

BEARER = {"authorization": f"Bearer {TOKEN}"}


@asynccontextmanager
async def asking(running: Running, **options: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of this gateway, signed in; `headers={}` for one that is not."""
    given: dict[str, Any] = {"headers": BEARER, "timeout": 20, "trust_env": False, "verify": False} | options
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{running.addresses.port}", **given) as one:
        yield one


def error_of(answer: httpx2.Response) -> dict[str, Any]:
    """The error of a refusal, held against its one shape."""
    assert answer.headers["content-type"] == "application/json", answer.text
    body = answer.json()
    assert body.keys() == {"error"}
    error: dict[str, Any] = body["error"]
    assert {key: type(it) for key, it in error.items()} == {
        "code": str,
        "message": str,
        "retryable": bool,
        "details": dict,
    }
    return error
