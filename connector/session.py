"""One conversation with an agent: prompts in, typed updates out in wire order, one turn after the other."""

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import anyio

from acp_wire import methods
from connector.client import Client, Update
from connector.errors import ConnectorError
from connector.permissions import merged

if TYPE_CHECKING:
    from acp_wire.schema.prompt_turn import StopReason
    from acp_wire.schema.tool_calls import ToolCall, ToolCallUpdate

Prompt = str | Sequence[dict[str, Any]]
# Sends a request on the connection, with the connector's errors and time limits.
Ask = Callable[..., Any]


@dataclass(eq=False)
class Turn:
    """One prompt and everything that came back for it. Iterate over it for the updates, as they come.

    `late` holds what the agent sent after it had answered the prompt: it belongs to this turn, not to the next.
    """

    prompt: list[dict[str, Any]]
    stop_reason: "StopReason | None" = None
    text: str = ""
    thought: str = ""
    tool_calls: "dict[str, ToolCall | ToolCallUpdate]" = field(default_factory=dict)
    late: list[Update] = field(default_factory=list)
    state: Literal["queued", "running", "done"] = "queued"
    cancelled: bool = False

    _unseen: deque[Update] = field(default_factory=deque)
    _failure: ConnectorError | None = None
    _changed: anyio.Event = field(default_factory=anyio.Event)

    async def __aiter__(self) -> AsyncIterator[Update]:
        """The updates from the first one on that nobody has taken. Raises `ConnectorError` in place of the rest."""
        while True:
            while self._unseen:
                yield self._unseen.popleft()
            if self.state == "done":
                break
            await self._changed.wait()
        if self._failure is not None:
            raise self._failure

    async def result(self) -> "StopReason":
        """Waits for the end of the turn. Raises `ConnectorError` where it has none."""
        while self.state != "done":
            await self._changed.wait()
        if self._failure is not None:
            raise self._failure
        assert self.stop_reason is not None
        return self.stop_reason

    def take(self, update: Update) -> None:
        """Files an update that belongs to this turn."""
        if self.state == "done":
            self.late.append(update)
        else:
            self._unseen.append(update)
        kind = update.session_update
        if kind == "agent_message_chunk" and update.content.type == "text":
            self.text += update.content.text
        elif kind == "agent_thought_chunk" and update.content.type == "text":
            self.thought += update.content.text
        elif kind in ("tool_call", "tool_call_update"):
            known = self.tool_calls.get(update.tool_call_id)
            self.tool_calls[update.tool_call_id] = update if known is None else merged(known, update)
        self.notify()

    def end(self, stop_reason: "StopReason | None", failure: ConnectorError | None = None) -> None:
        """Nothing more comes, but for what is late."""
        self.stop_reason, self._failure, self.state = stop_reason, failure, "done"
        self.notify()

    def notify(self) -> None:
        """Wakes whoever waits for this turn."""
        self._changed.set()
        self._changed = anyio.Event()


class Session:
    """One session of an agent. Prompts wait for each other; `turns` is the history, oldest first."""

    def __init__(
        self,
        session_id: str,
        *,
        client: Client,
        ask: Ask,
        tell_cancel: Callable[[str], None],
        start_soon: Callable[[Callable[[Turn], Any], Turn], None],
        late_seconds: float,
    ) -> None:
        self.id = session_id
        self.turns: list[Turn] = []
        # Called with what arrives before the first turn, and with what is late.
        self.outside: Callable[[Update], None] = lambda update: None
        self._client = client
        self._ask = ask
        self._tell_cancel = tell_cancel
        self._start_soon = start_soon
        self._late_seconds = late_seconds
        self._one_at_a_time = anyio.Lock()
        # The turn that runs, or the last one that has: what arrives is its.
        self._latest: Turn | None = None
        self._quiet_from = 0.0

    def start(self, prompt: Prompt) -> Turn:
        """Queues a prompt, a text or content blocks, and returns its turn at once."""
        blocks = [{"type": "text", "text": prompt}] if isinstance(prompt, str) else list(prompt)
        turn = Turn(blocks)
        self.turns.append(turn)
        self._start_soon(self._run, turn)
        return turn

    async def prompt(self, prompt: Prompt) -> Turn:
        """Carries out a whole turn and returns it. Cancelled when the caller is."""
        turn = self.start(prompt)
        try:
            async for _ in turn:
                pass
        finally:
            self._abandon(turn)
        return turn

    async def stream(self, prompt: Prompt) -> AsyncIterator[Update]:
        """The updates of a turn as they come. The turn is cancelled when the iterator is closed before its end."""
        turn = self.start(prompt)
        try:
            async for update in turn:
                yield update
        finally:
            self._abandon(turn)

    def cancel(self) -> None:
        """Cancels the running turn and the queued ones: each ends with the stop reason `cancelled`."""
        for turn in self.turns:
            if turn.state != "done":
                turn.cancelled = True
        if any(turn.state == "running" for turn in self.turns):
            self._client.cancel(self.id)
            self._tell_cancel(self.id)

    def take(self, update: Update) -> None:
        """What the client calls with each update of this session, in wire order."""
        if self._latest is not None:
            self._latest.take(update)
        if self._latest is None or self._latest.state == "done":
            self.outside(update)

    async def _run(self, turn: Turn) -> None:
        async with self._one_at_a_time:
            await anyio.sleep_until(self._quiet_from)
            if turn.cancelled:
                turn.end("cancelled")
                return
            self._client.begin_turn(self.id)
            turn.state = "running"
            self._latest = turn
            try:
                answer = await self._ask(methods.SESSION_PROMPT, {"sessionId": self.id, "prompt": turn.prompt})
                turn.end(answer.stop_reason)
            except ConnectorError as why:
                turn.end(None, why)
            finally:
                # An agent that reports something after its answer does so at once: wait before it could be taken for
                # the next turn's.
                self._quiet_from = anyio.current_time() + self._late_seconds

    def _abandon(self, turn: Turn) -> None:
        if turn.state == "running":
            self.cancel()
        elif turn.state == "queued":
            turn.cancelled = True
