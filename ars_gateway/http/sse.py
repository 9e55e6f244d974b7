"""Answers that go on: server-sent events and lines of JSON, written as what they tell of happens.

Whoever answers is asked for what is ready when the client can take it, so that one who reads slowly costs no memory;
one who takes nothing at all is dropped after a while.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

EVENTS, LINES = "text/event-stream", "application/x-ndjson"
# How long a stream of events may be silent: then it says nothing, aloud, so that no proxy takes it for dead.
KEEP_ALIVE_SECONDS = 15.0
COMMENT = b":\n\n"
# What is looked at of what a client remembers of where it was: it has been somewhere, if it is none of ours.
LONGEST_ID = 200
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no", "x-content-type-options": "nosniff"}


class Source(Protocol):
    """What is told."""

    def ready(self) -> bytes | None:
        """What is to be told now, empty where there is nothing; None when all is told."""

    async def more(self) -> None:
        """Returns when there may be something ready again. May be cancelled."""


class Streamed(Response):
    """Tells what a source has until that ends or the client leaves; one that takes nothing for `stalled` seconds while
    something waits for it is dropped."""

    def __init__(
        self,
        source: Source,
        media_type: str = EVENTS,
        *,
        stalled: float,
        keep_alive: float = KEEP_ALIVE_SECONDS,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers({"content-type": media_type, **_HEADERS, **(headers or {})})
        self._source = source
        self._stalled = stalled
        self._keep_alive = keep_alive
        # An empty line would be no comment to whoever reads every line as JSON.
        self._comment = COMMENT if media_type == EVENTS else b""
        self._said_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] != "HEAD":
            state = scope.get("state", {})
            straight: Send = state.get("straight", send)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_until_left, receive, tasks.cancel_scope)
                tasks.start_soon(self._watch, state, straight)
                await self._pour(straight)
                tasks.cancel_scope.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pour(self, send: Send) -> None:
        while (told := self._source.ready()) is not None:
            if told:
                # Returns when what was written before is with the client, but for a little.
                await self._say(send, told)
            else:
                await self._source.more()

    async def _say(self, send: Send, told: bytes) -> None:
        self._said_at = anyio.current_time()
        await send({"type": "http.response.body", "body": told, "more_body": True})

    async def _watch(self, state: Mapping[str, Any], send: Send) -> None:
        """Speaks where nothing is said, and drops a client that takes nothing."""
        unsent: Callable[[], int] = state.get("unsent", _nothing)
        drop: Callable[[], object] = state.get("drop", _nothing)
        waiting, moved = 0, 0.0
        while True:
            await anyio.sleep(min(self._keep_alive, self._stalled) / 5)
            now = anyio.current_time()
            if (left := unsent()) != waiting:
                waiting, moved = left, now
            elif waiting and now - moved > self._stalled:
                drop()
                return
            if not waiting and self._comment and now - self._said_at >= self._keep_alive:
                await self._say(send, self._comment)


def event(name: str, data: str, id: str = "") -> str:
    """One event; `data` is on one line, as JSON is."""
    return f"event: {name}\ndata: {data}\nid: {id}\n\n" if id else f"event: {name}\ndata: {data}\n\n"


def last_event_id(request: Request) -> str:
    """Where the client was, as it remembers: by the header, or by the query where it cannot set one; empty else."""
    given = request.headers.get("last-event-id") or request.query_params.get("last_event_id") or ""
    return given[:LONGEST_ID]


async def _until_left(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _nothing() -> int:
    return 0
