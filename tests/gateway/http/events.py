"""Reading server-sent events as they come, and what they come to."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import httpx2

Json = dict[str, Any]


@dataclass(frozen=True)
class Event:
    """One event as it stood there, `text`, and what it says."""

    text: str
    name: str
    data: Json
    id: str


def event_of(text: str) -> Event | None:
    """The event of a block; None for a comment."""
    fields = dict(line.split(": ", 1) for line in text.split("\n") if not line.startswith(":"))
    return Event(text, fields["event"], json.loads(fields["data"]), fields.get("id", "")) if fields else None


async def events(answer: httpx2.Response) -> AsyncIterator[Event]:
    """The events of an answer, to its end."""
    rest = ""
    async for piece in answer.aiter_text():
        *blocks, rest = (rest + piece).split("\n\n")
        for block in blocks:
            if (found := event_of(block)) is not None:
                yield found
    assert rest == "", f"the answer ends in the middle: {rest!r}"


@asynccontextmanager
async def told(client: httpx2.AsyncClient, method: str, path: str, **more: Any) -> AsyncIterator[AsyncIterator[Event]]:
    """The events of a request that is answered by them, within 20 s."""
    with anyio.fail_after(20):
        async with client.stream(method, path, **more) as answer:
            if answer.status_code != 200:
                await answer.aread()
            assert answer.status_code == 200, answer.text
            assert answer.headers["content-type"] == "text/event-stream"
            yield events(answer)


async def all_told(client: httpx2.AsyncClient, body: Json, last: str = "") -> list[Event]:
    """All events of a message, to its end."""
    headers = {"last-event-id": last} if last else {}
    async with told(client, "POST", "/agent/message/stream", json=body, headers=headers) as found:
        return [it async for it in found]


async def until(found: AsyncIterator[Event], name: str) -> Event:
    """The next event of that name."""
    return await anext(it async for it in found if it.name == name)


def message(session: str, id: str, content: str = "go", **more: Any) -> Json:
    """The body of a message."""
    said = {"type": "user_message", "message_id": id, "content": content}
    return {"session_id": session, "message": said, **more}


def text_of(found: list[Event]) -> str:
    """The text that a client has, who knows token, reset and complete."""
    text = ""
    for it in found:
        text = "" if it.name == "reset" else text + it.data.get("token", "")
    return text
