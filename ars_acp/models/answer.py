"""The answer to one request while it arrives: bytes with their time limits in, pieces and at last the reply out."""

from typing import Protocol

import anyio
from anyio.lowlevel import checkpoint

from ars_acp.models.assemble import Assembly
from ars_acp.models.config import ModelConfig
from ars_acp.models.faults import Faults
from ars_acp.models.model import BATCH, Piece, Reply
from ars_acp.models.sse import EventStream, EventTooLong
from ars_acp.models.tool_text import TextCalls

WHOLE_BODY_LIMIT = 64 << 20
# After the finish_reason only usage and [DONE] can follow; some servers send neither and keep the connection open.
TAIL_SECONDS = 2.0
# Reading to the end of the body lets the connection be used again; that is not worth a longer wait.
DRAIN_SECONDS = 0.05


class Broken(Exception):
    """The connection broke while the body was being read."""


class Source(Protocol):
    """A response whose headers have come."""

    content_type: str

    async def receive(self) -> bytes | None:
        """The next bytes of the body, None at its end. Raises Broken."""
        ...

    async def aclose(self) -> None:
        """Ends the response, and its connection unless the body was read to the end."""
        ...


class Answer:
    """Reads one response. `next` until it returns nothing, then `reply`; `aclose` in any case. All raise Fault."""

    def __init__(
        self, source: Source, config: ModelConfig, faults: Faults, text_calls: TextCalls | None, asked_at: float
    ) -> None:
        self._source = source
        self._config = config
        self._faults = faults
        self._assembly = Assembly(faults, text_calls)
        self._stream = EventStream()
        self._events: list[bytes] = []
        self._at = 0
        self._over: list[Piece] = []
        self._ended = False
        self._asked_at = asked_at
        self._advanced_at: float | None = None
        self._since_checkpoint = 0

    async def next(self) -> list[Piece]:
        """The next pieces, at most BATCH of them; none at the end. Lets other tasks run every BATCH events or so."""
        while True:
            if self._over:
                pieces, self._over = self._over[:BATCH], self._over[BATCH:]
                return pieces
            if self._assembly.fault is not None:
                raise self._assembly.fault
            if self._at < len(self._events):
                if self._since_checkpoint >= BATCH:
                    self._since_checkpoint = 0
                    await checkpoint()
                events = self._events[self._at : self._at + BATCH]
                self._at += BATCH
                self._since_checkpoint += len(events)
                pieces = self._assembly.take(events)
                if self._assembly.done:
                    self._at = len(self._events)
                if len(pieces) > BATCH:
                    pieces, self._over = pieces[:BATCH], pieces[BATCH:]
                if pieces:
                    return pieces
            elif self._ended:
                return []
            elif self._assembly.done:
                await self._end()
            else:
                await self._read()

    def reply(self, first_token: float | None, seconds: float) -> Reply:
        """The whole reply; the times are put into it."""
        return self._assembly.reply(first_token, seconds)

    async def aclose(self) -> None:
        """Ends the response at once, also under cancellation."""
        with anyio.move_on_after(1, shield=True):
            await self._source.aclose()

    async def _read(self) -> None:
        data = await self._receive()
        if data is None:
            await self._end()
            return
        if self._advanced_at is None:
            self._advanced_at = anyio.current_time()
            kind = data.lstrip()[:1]
            if kind == b"{":
                self._over = self._assembly.whole(await self._whole(data))
                return
            if kind == b"<":
                raise self._faults.unusable(
                    "not_a_stream", f"the model's endpoint answered with {self._source.content_type}"
                )
        try:
            self._events = self._stream.feed(data)
        except EventTooLong:
            raise self._faults.interrupted("size", self._assembly.partial_chars) from None
        self._at = 0
        if self._events or not self._stream.quiet:
            self._advanced_at = anyio.current_time()

    async def _receive(self) -> bytes | None:
        """The next bytes; None where there are no more, and then, unless the reply was complete, `fault` says why."""
        reason = ""
        data = None
        with anyio.CancelScope(deadline=self._patience_ends()) as patience:  # `fail_after` costs as much as a chunk
            try:
                data = await self._source.receive()
            except Broken:
                reason = "connection"
        if patience.cancelled_caught:
            reason = "idle"
        elif data is not None:
            return data
        if self._advanced_at is None and reason == "idle":
            raise self._faults.unreachable(f"the model sent no byte within {self._config.first_byte_seconds:g} seconds")
        self._last_event()
        assembly = self._assembly
        if reason and assembly.fault is None and assembly.finish_reason is None:
            assembly.fault = self._faults.interrupted(reason, assembly.partial_chars)
        return None

    def _patience_ends(self) -> float:
        """Until when the next byte may take. Comments keep a stream alive, but not for ever."""
        config = self._config
        if self._advanced_at is None:
            return self._asked_at + config.first_byte_seconds
        now = anyio.current_time()
        if self._assembly.finish_reason is not None:
            return now + min(config.idle_seconds, TAIL_SECONDS)
        return min(now + config.idle_seconds, self._advanced_at + config.idle_seconds * config.keep_alive_factor)

    async def _whole(self, data: bytes) -> bytes:
        parts, size = [data], len(data)
        while (more := await self._receive()) is not None:
            parts.append(more)
            size += len(more)
            if size > WHOLE_BODY_LIMIT:
                raise self._faults.interrupted("size", 0)
        return b"".join(parts)

    def _last_event(self) -> None:
        assembly = self._assembly
        self._over = assembly.take(self._stream.end())
        if assembly.fault is not None and assembly.fault.error.details.get("reason") == "json":
            # Cut in the middle of an event: whether the reply was complete is decided by what came before.
            assembly.fault = None

    async def _end(self) -> None:
        self._ended = True
        self._over += self._assembly.close()
        with anyio.move_on_after(DRAIN_SECONDS):
            try:
                while await self._source.receive() is not None:
                    pass
            except Broken:
                pass
