"""One prompt of a session and everything that came back for it."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import anyio

from connector.client import Update
from connector.errors import ConnectorError, NotSent
from connector.permissions import merged

if TYPE_CHECKING:
    from acp_wire.schema.prompt_turn import StopReason
    from acp_wire.schema.session_update import PlanEntry
    from acp_wire.schema.tool_calls import ToolCall, ToolCallUpdate

LATE = "ars/late"


def _nobody(turn: "Turn") -> None:
    """Whoever queues or records turns says so."""


@dataclass(frozen=True)
class Exchange:
    """A turn as a history shows it. `stop_reason` is None while it runs, where it failed, and where nobody told."""

    prompt: str
    response: str
    thought: str
    tool_calls: "tuple[ToolCall | ToolCallUpdate, ...]"
    stop_reason: "StopReason | None"
    error: str


@dataclass(eq=False)
class Turn:
    """Iterate over it for the updates, as they come.

    `late` holds what the agent sent after it had answered the prompt: it belongs to this turn, not to the next, and is
    marked (`is_late`). `id` is the number of the prompt in the session's record. Of queued prompts those with the
    higher `priority` go first, equals in the order in which they came.
    """

    prompt: list[dict[str, Any]]
    stop_reason: "StopReason | None" = None
    tool_calls: "dict[str, ToolCall | ToolCallUpdate]" = field(default_factory=dict)
    plan: "list[PlanEntry]" = field(default_factory=list)
    late: list[Update] = field(default_factory=list)
    # What the agent has counted for this turn, as it tells it: `inputTokens`, `outputTokens`, `totalTokens`, …
    usage: dict[str, Any] | None = None
    state: Literal["queued", "running", "done"] = "queued"
    cancelled: bool = False
    # The answer is there, though nobody has acted on it: what comes behind it is late.
    answered: bool = False
    id: int = 0
    priority: int = 0
    # When it was its turn, by the clock of the event loop.
    began: float = 0.0
    # What the person said while it ran, and the agent took.
    steered: list[dict[str, Any]] = field(default_factory=list)
    # Taken back while it was queued.
    withdrawn: bool = False
    # For the session: called before anybody learns of the end.
    on_end: "Callable[[Turn], None]" = _nobody

    _text: list[str] = field(default_factory=list)
    _thought: list[str] = field(default_factory=list)
    _unseen: deque[Update] = field(default_factory=deque)
    _failure: ConnectorError | None = None
    _changed: asyncio.Event | None = None
    _cancelling: anyio.Event = field(default_factory=anyio.Event)

    @property
    def text(self) -> str:
        """The agent's reply so far."""
        return _joined(self._text)

    @property
    def thought(self) -> str:
        """What it has shown of its thoughts."""
        return _joined(self._thought)

    @property
    def unread(self) -> int:
        """How many updates wait for whoever iterates."""
        return len(self._unseen)

    async def __aiter__(self) -> AsyncIterator[Update]:
        """The updates from the first one on that nobody has taken. Raises `ConnectorError` in place of the rest."""
        while True:
            while self._unseen:
                yield self._unseen.popleft()
            if self.state == "done":
                break
            await self._change()
        if self._failure is not None:
            raise self._failure

    async def result(self) -> "StopReason":
        """Waits for the end of the turn. Raises `ConnectorError` where it has none."""
        await self.ended()
        if self._failure is not None:
            raise self._failure
        assert self.stop_reason is not None
        return self.stop_reason

    async def ended(self) -> None:
        """Waits for the end of the turn, whatever it is."""
        while self.state != "done":
            await self._change()

    def exchange(self) -> Exchange:
        """The turn for a history."""
        calls = tuple(self.tool_calls.values())
        return Exchange(shown(self.prompt), self.text, self.thought, calls, self.stop_reason, str(self._failure or ""))

    def withdraw(self) -> bool:
        """Takes a queued prompt back: the agent never sees it, the turn ends as `cancelled`. False where it has begun
        or ended already."""
        if self.state != "queued":
            return False
        self.withdrawn = True
        self.cancel()
        self.end("cancelled")
        return True

    @property
    def failure(self) -> ConnectorError | None:
        """Why the turn has no stop reason; None where it has, or has no end yet."""
        return self._failure

    @property
    def unsent(self) -> bool:
        """Whether the agent has never seen the prompt, and will not."""
        return self.withdrawn or isinstance(self._failure, NotSent)

    # ── for the session ─────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, update: Update) -> None:
        """Files an update that belongs to this turn."""
        if not self.answered:
            self._unseen.append(update)
        self.recall(update, late=self.answered)
        self._notify()

    def recall(self, update: Update, *, late: bool) -> None:
        """Files an update that whoever iterates has seen, or never will."""
        if late:
            update.meta = {**(update.meta or {}), LATE: True}
            self.late.append(update)
        self.fold(update)

    def fold(self, update: Update) -> None:
        """What an update means for the whole: text, thought, tool calls, plan."""
        kind = update.session_update
        if kind == "agent_message_chunk":
            if update.content.type == "text":
                self._text.append(update.content.text)
        elif kind == "agent_thought_chunk":
            if update.content.type == "text":
                self._thought.append(update.content.text)
        elif kind in ("tool_call", "tool_call_update"):
            known = self.tool_calls.get(update.tool_call_id)
            self.tool_calls[update.tool_call_id] = update if known is None else merged(known, update)
        elif kind == "plan":
            self.plan = update.entries

    def answer(self) -> None:
        """The prompt has been answered."""
        self.answered = True

    def cancel(self) -> None:
        """Somebody wants it to end."""
        self.cancelled = True
        self._cancelling.set()

    async def cancelling(self) -> None:
        """Waits until somebody wants it to end."""
        await self._cancelling.wait()

    def said_something(self) -> bool:
        """Whether anything has come back for the prompt."""
        return bool(self._text or self._thought or self.tool_calls or self.plan)

    def end(self, stop_reason: "StopReason | None", failure: ConnectorError | None = None) -> None:
        """Nothing more comes, but for what is late."""
        self.stop_reason, self._failure, self.state, self.answered = stop_reason, failure, "done", True
        self.on_end(self)
        self._notify()

    @contextlib.contextmanager
    def worked_at(self, agent: str) -> Iterator[None]:
        """Around the work on it, after which it has an end: cancelled where that is cut off, as the connector is being
        shut down, and failed where that fails as it should not."""
        try:
            yield
        except Exception:
            if self.state != "done":
                self.end(None, ConnectorError(agent, "a fault of the connector's has ended it"))
            raise
        finally:
            if self.state != "done":
                self.end("cancelled")

    async def _change(self) -> None:
        if self._changed is None:
            self._changed = asyncio.Event()
        await self._changed.wait()

    def _notify(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None


def shown(blocks: Sequence[dict[str, Any]]) -> str:
    """Content for people: its texts, and of all else what it is."""
    return "\n".join(block.get("text") or f"[{block.get('type')}]" for block in blocks)


def is_late(update: Update) -> bool:
    """Whether an update came after the answer to its turn's prompt."""
    return bool(update.meta and update.meta.get(LATE))


def seq_of(update: Update) -> int | None:
    """The number that the agent gave to an update (`ars/seq`), where it numbers them."""
    found = update.meta.get("ars/seq") if update.meta else None
    return found if type(found) is int else None


def _joined(pieces: list[str]) -> str:
    """All of them; they are one piece from then on, so that a growing text is not copied for each."""
    if len(pieces) > 1:
        pieces[:] = ["".join(pieces)]
    return pieces[0] if pieces else ""
