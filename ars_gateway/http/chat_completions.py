"""`POST /v1/chat/completions`: any OpenAI client talks to an agent.

`model` is an agent. A request has a session of its own, which is gone afterwards; `user`, or the header
`X-Session-Key`, names one that lasts, whose agent remembers: of the messages it is told only what is new. The agent's
tools work in the gateway's workspace by its policy; what waits for a person waits for the pages and the clients that
may answer, and the answer says so (`chat_notes`). A client that leaves ends its run.
"""

import hashlib
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ars_gateway.access.scopes import WRITE
from ars_gateway.gateway import Gateway
from ars_gateway.http import chat_chunks, chat_messages, openai_errors
from ars_gateway.http.agent_events import hidden_from
from ars_gateway.http.bodies import json_body
from ars_gateway.http.chat_chunks import Chunks
from ars_gateway.http.chat_notes import Notes, where
from ars_gateway.http.errors import FORBIDDEN, LLM_STREAM_INTERRUPTED, HttpError, json_response
from ars_gateway.http.models import chosen
from ars_gateway.http.openai_errors import invalid
from ars_gateway.http.pages import origin_of
from ars_gateway.http.sign_in import caller_of
from ars_gateway.http.sse import Streamed
from ars_gateway.sessions import choices, keys
from ars_gateway.sessions.feed import Feed
from ars_gateway.sessions.ledger import body_of
from ars_gateway.sessions.rooms import Room
from ars_gateway.talks import failures, passing
from ars_gateway.talks.runs import Order, Run
from connector import ConnectorError

Json = dict[str, Any]

METHOD, KIND = "chat.completions", "openai"
MOST_BYTES = 16 * 1024 * 1024
# How long a stream's head waits for a sign of the agent, so that a failure before it has a status of its own.
HEAD_SECONDS = 10.0
# A client that takes nothing of a stream for so long has left without a word.
STALLED_SECONDS = 60.0
MOST_ENTRIES = 1000
_SIGNS = frozenset(("text", "thought", "update", "question", "form", "end"))
# What a session was told of instructions.
_TOLD = "instructions"


async def chat_completions(request: Request) -> Response:
    """One prompt and its answer, at once or as it comes."""
    gateway: Gateway = request.app.state.gateway
    caller = caller_of(request, WRITE)
    asked = await json_body(request, "ChatCompletionRequest", MOST_BYTES)
    chat_messages.refuse(asked)
    said = chat_messages.said(asked["messages"])
    agent, model = chosen(gateway, asked["model"])
    key = _key(agent, request.headers.get("x-session-key"), asked.get("user"))
    opened = partial(_room, gateway, caller.principal, agent, key, model)
    notes = partial(_notes, origin_of(request), hidden_from(caller))
    return Completing(gateway, asked, said, opened, notes)


ROUTES = (Route("/v1/chat/completions", chat_completions, methods=["POST"]),)


class Completing(Response):
    """The answer of a run, which begins with it, and ends with it where the client leaves."""

    def __init__(
        self,
        gateway: Gateway,
        asked: Json,
        said: chat_messages.Said,
        room: Callable[[], Room],
        notes: Callable[[Room], Notes],
    ) -> None:
        super().__init__()
        self._gateway = gateway
        self._asked = asked
        self._said = said
        self._open = room
        self._notes = notes
        self._id = uuid.uuid4().hex

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises `HttpError` before anything is sent."""
        room = self._open()
        try:
            feed = self._gateway.talks.feeds.of(room.session_id)
            after = feed.last
            run = self._begin(room)
            notes, missed = self._notes(room), list[str]()
            streams = self._asked.get("stream") is True
            ready = (
                partial(_sign_of, run, feed, after) if streams else partial(_end_of, run, feed, after, notes, missed)
            )
            if await _unless_left(receive, ready):
                answer = self._streamed(run, feed, after, notes) if streams else self._whole(run, "".join(missed))
                await answer(scope, receive, send)
        finally:
            self._leave(room)

    def _begin(self, room: Room) -> Run:
        order = Order(
            principal=room.principal,
            id=self._id,
            method=METHOD,
            body=body_of(METHOD, {"id": self._id}),
            room=room,
            key=room.key,
            blocks=[*_unknown_to(room, self._said), *self._said.prompt],
            thinking=choices.level_of(self._asked.get("reasoning_effort") or ""),
            surface=KIND,
        )
        try:
            run, _, _ = self._gateway.talks.runs.start(order)
        except ConnectorError as why:
            raise openai_errors.of_failure(failures.told(why)) from None
        assert run is not None, "nobody else has its id"
        return run

    def _leave(self, room: Room) -> None:
        talks = self._gateway.talks
        if (run := talks.runs.live.get((room.principal, self._id))) is not None:
            talks.runs.abort([run], "disconnect")
        if room.facts.get(passing.PASSING) and not talks.runs.closing:
            self._gateway.spawn(passing.forget, talks, room)

    def _streamed(self, run: Run, feed: Feed, after: int, notes: Notes) -> Response:
        if run.settled() and (error := openai_errors.of_run(run.entry)) is not None and not run.telling.story.size:
            raise error
        tells_usage = (self._asked.get("stream_options") or {}).get("include_usage") is True
        chunks = Chunks(self._name, self._asked["model"], run.entry.accepted // 1000, notes, tells_usage=tells_usage)
        return Streamed(Pieces(chunks, run, feed, after), stalled=STALLED_SECONDS)

    def _whole(self, run: Run, missed: str) -> Response:
        if (error := openai_errors.of_run(run.entry)) is not None:
            raise error
        return json_response(
            chat_chunks.completion(
                self._name,
                self._asked["model"],
                run.entry.accepted // 1000,
                run.entry,
                text=f"{run.telling.story.text}{missed}",
                thought=run.telling.story.thought,
                usage=_usage(run),
            )
        )

    @property
    def _name(self) -> str:
        return f"chatcmpl-{self._id}"


class Pieces:
    """A run's entries as chunks, as they come: what a stream tells."""

    def __init__(self, chunks: Chunks, run: Run, feed: Feed, after: int) -> None:
        self._chunks = chunks
        self._run = run
        self._feed = feed
        self._after = after
        self._begun = self._over = False

    def ready(self) -> bytes | None:
        """What is to be told now."""
        if self._over:
            return None
        told = b"" if self._begun else self._chunks.begun()
        self._begun = True
        entries = self._feed.since(self._after, MOST_ENTRIES)
        if entries is None:
            self._over = True
            late = HttpError(503, LLM_STREAM_INTERRUPTED, "the client reads too slowly: a part of the answer is gone")
            return told + self._chunks.failed(late)
        if entries:
            self._after = entries[-1].n
        mine = [entry for entry in entries if entry.run == self._run.order.id]
        told += self._chunks.pieces(mine)
        if any(entry.kind == "end" for entry in mine):
            self._over = True
            error = openai_errors.of_run(self._run.entry)
            told += self._chunks.failed(error) if error else self._chunks.ended(self._run.entry, _usage(self._run))
        return told

    async def more(self) -> None:
        """Returns when there may be something ready again."""
        await self._feed.more(self._after)


# ── inside ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _key(agent: str, header: str | None, user: str | None) -> str | None:
    """The key of the session that is to last; None where none is asked for."""
    param, name = ("X-Session-Key", header) if header else ("user", _of_user(user) if user else None)
    if name is None:
        return None
    try:
        key = keys.canonical(name, agent)
    except keys.KeyInvalid as why:
        raise invalid(param, str(why)) from None
    if (owner := keys.agent_of(key)) != agent:
        raise invalid(param, f"that is a session of the agent {owner}, and the model is {agent}")
    return key


def _of_user(user: str) -> str:
    """Keys are lower case and trimmed: two users whose names differ in that alone have each their own."""
    plain = user.strip().lower()
    return f"{KIND}-user:{user if user == plain else f'{plain}-{hashlib.sha256(user.encode()).hexdigest()[:12]}'}"


def _room(gateway: Gateway, principal: str, agent: str, key: str | None, model: str | None) -> Room:
    talks = gateway.talks
    if key is None:
        room = passing.begin(talks, principal, agent, KIND)
    else:
        room = talks.rooms.open(principal, key, talks.workspace)
        if room.facts.get("sendPolicy") == "deny":
            raise HttpError(403, FORBIDDEN, "send blocked by session policy")
    if model is not None:
        room.facts.pop("providerOverride", None)
        room.facts["modelOverride"] = model
    return room


def _notes(origin: str, hidden: frozenset[str], room: Room) -> Notes:
    return Notes(where(origin, room.key), hidden)


def _unknown_to(room: Room, said: chat_messages.Said) -> list[Json]:
    """What the session's agent has not been told yet of what stands before the prompt."""
    digest = hashlib.sha256(said.instructions.encode()).hexdigest()[:16] if said.instructions else None
    told = room.facts.get(_TOLD) != digest
    if digest is not None:
        room.facts[_TOLD] = digest
    instructions = chat_messages.instructions(said.instructions) if told else []
    return instructions + ([] if room.facts.get("systemSent") else chat_messages.before(said.before))


def _usage(run: Run) -> Json | None:
    return chat_chunks.usage_of(run.turn.usage if run.turn is not None else None)


async def _sign_of(run: Run, feed: Feed, after: int) -> None:
    """Returns when the agent has done something, when the run is over, and after a while."""
    with anyio.move_on_after(HEAD_SECONDS):
        while not run.settled():
            await feed.more(after)
            entries = feed.since(after) or ()
            if any(it.run == run.order.id and it.kind in _SIGNS for it in entries):
                return
            after = feed.last


async def _end_of(run: Run, feed: Feed, after: int, notes: Notes, missed: list[str]) -> None:
    """Returns when the run is over. `missed` gets a note for what nobody has answered meanwhile."""
    while not run.settled():
        await feed.more(after)
        for entry in feed.since(after) or ():
            if entry.run == run.order.id:
                notes.waits(entry)
                missed.append(notes.missed(entry))
        after = feed.last


async def _unless_left(receive: Receive, wait: Callable[[], Awaitable[Any]]) -> bool:
    """Whether `wait` comes to its end before the client leaves."""
    ended = False
    async with anyio.create_task_group() as tasks:

        async def leaves() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        tasks.start_soon(leaves)
        await wait()
        ended = True
        tasks.cancel_scope.cancel()
    return ended
