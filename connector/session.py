"""One conversation with an agent: prompts in, typed updates out in wire order, one turn after the other."""

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from acp_wire import methods
from connector import calls, overdue, recovery
from connector.client import Hands, Update
from connector.content import check
from connector.errors import (
    AgentExited,
    AgentTimeout,
    AgentUnavailable,
    ConnectorError,
    ConversationHeld,
    NotOffered,
    SessionNotFound,
    SignInNeeded,
)
from connector.fold import recap, replayed
from connector.link import Link
from connector.record import RECAP_CHARACTERS, Record, opened_with, told
from connector.steering import steer
from connector.turn import Exchange, Turn, seq_of
from connector.vendors import Vendor

if TYPE_CHECKING:
    from acp_wire.schema.config_options import SessionConfigOption
    from acp_wire.schema.prompt_turn import StopReason
    from acp_wire.schema.session_state import LoadSessionResponse, SessionModelState, SessionModeState
    from acp_wire.schema.session_update import AvailableCommand

Prompt = str | Sequence[dict[str, Any]]


class Session:
    """One session of an agent. Prompts wait for each other, and `record` has all of it, numbered.

    The agent remembers the conversation: only what is new is ever sent. `system` goes, once, as the first block of the
    first prompt. `how` it was opened, last: new, resumed, loaded, or recreated, where the agent had lost it and is told
    of it with the next prompt.
    """

    def __init__(
        self,
        session_id: str,
        link: Link,
        *,
        record: Record,
        params: dict[str, Any],
        system: str = "",
        outside: Callable[[Update], None],
        on_gone: "Callable[[Session], None]",
    ) -> None:
        self.id = session_id
        self.record = record
        # What it is opened with: its directories, MCP servers and tools of ours.
        self.params = params
        self.how = ""
        # Called with what arrives before the first turn, between turns, with what is late and what is replayed.
        self.outside = outside
        self.modes: SessionModeState | None = None
        self.models: SessionModelState | None = None
        self.config_options: list[SessionConfigOption] = []
        self.commands: list[AvailableCommand] = []
        self.title = ""
        # For recovery: whether this prompt was worked at, whether the agent has it in its log, what the agent forgot of
        # the turn before it, and how often its session was made anew.
        self.worked_at = False
        self.prompt_logged = False
        self.cut_off = ""
        self.made_anew = 0
        # What serves the agent's requests, as `Client.add` has given it; it stays the same whatever the session's id.
        self.hands: Hands
        # Set when a closing has come to its end: nothing of the session is left, and its id can be opened again.
        self.gone = anyio.Event()
        self._on_gone = on_gone
        self._link = link
        self.steer, self.retool = partial(steer, link, self), partial(calls.retool, link, self)
        self._system_prompt = self._system = system
        # The agent has lost the conversation and was not told of it yet.
        self._untold = False
        # The turns that have begun, or have ended without, and those that wait, the next one first.
        self._past: list[Turn] = []
        self._waiting: list[Turn] = []
        self._working = False
        # The turn that runs, or the last one that has: what arrives is its.
        self._latest: Turn | None = None
        self._seq: int | None = None
        self._replaying = False
        self._deaf = False
        # What is missed is of the turn at which the application before this one ended.
        self._restoring = False
        self._held: list[tuple[Update | None, dict[str, Any]]] | None = None
        self._closed = self._removed = False
        self._quiet_from = 0.0

    # ── prompts ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, prompt: Prompt, priority: int = 0) -> Turn:
        """Queues a prompt, a text or content blocks, and returns its turn at once. The record has it then.

        Of what is queued the highest `priority` is next, of equals the oldest. Raises `NotOffered` for an image, audio
        or an embedded resource that the agent does not take, ValueError for what is no content, and `ConversationHeld`
        where another application has taken the conversation over, `AgentUnavailable` where a supervised agent takes no
        prompts.
        """
        blocks = [{"type": "text", "text": prompt}] if isinstance(prompt, str) else list(prompt)
        check(blocks, self._link)
        if self._closed:
            raise ConnectorError(self._link.name, "the session is closed")
        if self.record.lost:
            raise ConversationHeld(self._link.name, self.record.name, "another application, which has taken it over")
        if self._link.keeper is not None:
            self._link.keeper.refuse()
        number = self.record.note("prompt", blocks=blocks, **({"priority": priority} if priority else {}))
        turn = Turn(blocks, id=number, priority=priority, on_end=self._ended)
        at = next((at for at, other in enumerate(self._waiting) if other.priority < priority), len(self._waiting))
        self._waiting.insert(at, turn)
        if not self._working:
            self._working = True
            self._link.tasks.start_soon(self._work)
        return turn

    async def prompt(self, prompt: Prompt) -> Turn:
        """Carries out a whole turn and returns it. Cancelled when the caller is."""
        turn = self.start(prompt)
        try:
            async for _ in turn:
                pass
        finally:
            self.cancel(turn)
        return turn

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Update, None]:
        """The updates of a turn as they come. The turn is cancelled when the iterator is closed before its end."""
        turn = self.start(prompt)
        try:
            async for update in turn:
                yield update
        finally:
            self.cancel(turn)

    @property
    def queue(self) -> list[Turn]:
        """The prompts that wait for their turn, the next one first."""
        return list(self._waiting)

    @property
    def turns(self) -> list[Turn]:
        """All of them: in the order in which they began, of this application and those before it, then the queue."""
        return [*self._past, *self._waiting]

    @property
    def running(self) -> Turn | None:
        """The turn that runs, if one does."""
        return self._latest if self._latest is not None and self._latest.state == "running" else None

    @property
    def vendor(self) -> Vendor:
        """The row of the agent whose session it is."""
        return self._link.vendor

    @property
    def closed(self) -> bool:
        """Whether it was closed; the agent may be able to load or resume it again."""
        return self._closed

    def cancel(self, turn: Turn | None = None) -> None:
        """Cancels that turn of its own, else the running one and the queued ones: each ends with the stop reason
        `cancelled`.

        The queued ones end at once, the running one with the agent's answer. An agent that gives none in time is given
        up, and its process killed.
        """
        for one in [turn] if turn is not None else [*self._waiting, *filter(None, [self.running])]:
            if one.state == "queued":
                one.cancel()
                one.end("cancelled")
            elif one.state == "running" and not one.answered and not one.cancelled:
                one.cancel()
                self._tell_to_stop()

    async def settle(self) -> None:
        """Waits until what was late for the last turn has come."""
        await anyio.sleep_until(self._quiet_from)

    def log(self) -> list[Exchange]:
        """What was said, oldest first: prompt and response with thoughts and tool calls, replayed turns included."""
        return [turn.exchange() for turn in self.turns]

    # ── what can be chosen ──────────────────────────────────────────────────────────────────────────────────────────

    async def set_mode(self, mode_id: str) -> None:
        """Raises `NotOffered` where the session has no modes, ValueError where it has others."""
        if self.modes is None:
            raise NotOffered(self._link.name, "modes", f"no mode can be set to {mode_id!r}")
        _known("mode", mode_id, [mode.id for mode in self.modes.available_modes])
        await self._ask(methods.SESSION_SET_MODE, {"sessionId": self.id, "modeId": mode_id})
        self.modes.current_mode_id = mode_id

    async def set_config_option(self, config_id: str, value: str | bool) -> None:
        """Raises `NotOffered` where the session has no options, ValueError where it has others."""
        if not self.config_options:
            raise NotOffered(self._link.name, "configOptions", f"the option {config_id!r} cannot be set")
        _known("option", config_id, [option.id for option in self.config_options])
        params: dict[str, Any] = {"sessionId": self.id, "configId": config_id, "value": value}
        if isinstance(value, bool):
            params["type"] = "boolean"
        self.config_options = (await self._ask(methods.SESSION_SET_CONFIG_OPTION, params)).config_options

    async def set_model(self, model_id: str) -> None:
        """By the option that chooses the model, or as agents did before there were options. Raises `NotOffered`."""
        for option in self.config_options:
            if option.category == "model":
                await self.set_config_option(option.id, model_id)
                return
        if self.models is None:
            raise NotOffered(self._link.name, "models", f"no model can be set to {model_id!r}")
        _known("model", model_id, [model.model_id for model in self.models.available_models])
        await self._ask(methods.SESSION_SET_MODEL, {"sessionId": self.id, "modelId": model_id})
        self.models.current_model_id = model_id

    async def close(self, *, tell: bool = True) -> None:
        """Cancels what runs, ends the terminals, and tells the agent where it offers `session/close` (and `tell`).

        Where it is being closed already, waits for the end of that.
        """
        if self._closed:
            await self.gone.wait()
            return
        self._closed = True
        self.cancel()
        try:
            if tell and self._link.is_alive() and self._link.offered("session_capabilities.close"):
                with contextlib.suppress(SessionNotFound, AgentExited):
                    await self._ask(methods.SESSION_CLOSE, {"sessionId": self.id})
            if (running := self.running) is not None:
                await running.ended()
        finally:
            await self._link.client.remove(self.id, self.hands)
            self._removed = True
            self._leave()

    # ── for the connector ───────────────────────────────────────────────────────────────────────────────────────────

    def opened(self, answer: "LoadSessionResponse") -> None:
        """The agent's answer to session/new, load or resume: what can be chosen."""
        self.modes = self.modes or answer.modes
        self.models = answer.models
        self.config_options = self.config_options or answer.config_options or []

    def replay(self, *, known: bool) -> None:
        """What arrives from here on is a conversation of the past: it becomes turns, or is left out where it is known
        already."""
        self._replaying, self._deaf = not known, known

    def all_replayed(self) -> None:
        """What arrives from here on is new."""
        self._replaying = self._deaf = False

    @contextlib.contextmanager
    def knowing_it_all(self) -> Iterator[None]:
        """What is replayed meanwhile is what we have seen already."""
        self._deaf = True
        try:
            yield
        finally:
            self._deaf = False

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """What arrives meanwhile is taken afterwards: what was `missed` comes first."""
        self._held, whole = [], False
        try:
            yield
            whole = True
        finally:
            held, self._held = self._held or [], None
            for update, raw in held:
                number = seq_of(update) if update is not None else None
                # What is numbered comes again where the process did not last, and has come where it was missed.
                if number is None or (whole and number > (self._seq or 0)):
                    self._take(update, raw)

    def missed(self, update: Update | None, raw: dict[str, Any]) -> None:
        """An update that the agent had logged, and nobody has seen."""
        at_work = self.running is not None or self._restoring
        if update is not None and update.session_update == "user_message_chunk" and at_work:
            self.prompt_logged = True
        else:
            self._take(update, raw)

    def caught_up(self, number: int) -> None:
        """Nothing is missing up to that number."""
        self._seq = max(self._seq or 0, number)

    def take(self, update: Update | None, raw: dict[str, Any]) -> None:
        """What the client calls with each update of this session, in wire order: it is recorded, then told.

        `update` is None for one of a kind that is not known, which only the record gets.
        """
        if self._held is not None:
            self._held.append((update, raw))
        else:
            self._take(update, raw)

    def _take(self, update: Update | None, raw: dict[str, Any]) -> None:
        if update is not None:
            self._note(update)
        if self._deaf:
            return
        if update is not None and update.meta and (seq := seq_of(update)) is not None:
            self._seq = seq
        turn = self._latest
        if self._replaying or turn is None:
            number = self.record.update(None, raw, replayed=self._replaying)
            if self._replaying and update is not None:
                replayed(self._past, update, number)
        else:
            self.record.update(turn.id, raw, late=turn.answered)
            if update is not None:
                self.worked_at = self.worked_at or update.session_update in recovery.SIGNS_OF_WORK
                turn.take(update)
        if update is not None and (turn is None or turn.answered):
            self.outside(update)

    def question(self, kind: str, fields: dict[str, Any]) -> None:
        """Records what was asked, or what was decided."""
        self.record.note(kind, turn=running.id if (running := self.running) is not None else None, **fields)

    @property
    def last_seq(self) -> int | None:
        """The last number (`ars/seq`) that the agent gave to an update; None where it gives none."""
        return self._seq

    def recall(self) -> None:
        """Takes what the record has of the conversation, from applications before this one, for its past."""
        found = self.record.folded()
        self._past[:], self._seq = found.turns, found.seq
        if found.told:
            self._system = ""
        self._untold = found.lost and not found.told
        if self.record.interrupted is not None:
            self._restoring = True
            self._latest = next(turn for turn in self._past if turn.id == self.record.interrupted.id)

    def restored(self) -> None:
        """What arrives from here on is of no turn of the past."""
        if self._restoring:
            self._restoring, self._latest = False, None

    def noted(self, how: str) -> None:
        """Records that the agent's session was opened: new, resumed or loaded."""
        self.restored()
        self.how = how
        self.record.note(
            "opened",
            agent=self._link.name,
            name=self.record.name,
            sessionId=self.id,
            how=how,
            **opened_with(self.params),
        )

    def recreated(self, session_id: str, system: str = "") -> None:
        """The agent has lost the conversation and goes on with it as `session_id`: recorded, and told with the next
        prompt, as `Record.recap` has it, behind `system`."""
        self.id, self._seq = session_id, None
        self._system = system or self._system_prompt
        self._untold, self.cut_off = True, ""
        self.made_anew += 1
        self.noted("recreated")

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _ask(self, row: methods.Request[Any, Any], params: dict[str, Any]) -> Any:
        return await self._link.ask(row, params, timeout=self._link.limits.request)

    def _tell_to_stop(self) -> None:
        self.hands.cancel()
        self._link.tell(methods.SESSION_CANCEL, {"sessionId": self.id})

    async def _work(self) -> None:
        """Carries out what is queued, one after the other, until nothing is."""
        turn = None
        try:
            while True:
                await anyio.sleep_until(self._quiet_from)
                unavailable = await self._until_up()
                if not self._waiting:
                    return
                turn = self._waiting[0]
                if unavailable is not None:
                    turn.end(None, unavailable)
                    continue
                try:
                    with turn.worked_at(self._link.name):
                        await self._carry_out(turn)
                finally:
                    self.hands.end_turn()
                    # An agent that reports something after its answer does so at once: wait before it could be taken
                    # for the next turn's.
                    self._quiet_from = anyio.current_time() + self._link.limits.late
        finally:
            self._working = False
            for left in self.queue:  # where the connector is being shut down
                left.end("cancelled")
            self._link.turned()
            self.record.rest()
            self._leave()

    def _leave(self) -> None:
        """The end of a closing, also of one that did not wait for the turn."""
        if self._removed and self.running is None:
            self.record.close()
            self._on_gone(self)
            self.gone.set()

    async def _until_up(self) -> AgentUnavailable | None:
        """Waits for a supervised agent that is just coming back. Why it will not."""
        if self._link.keeper is not None:
            try:
                await self._link.keeper.up()
            except AgentUnavailable as why:
                return why
        return None

    def _beginning(self) -> list[dict[str, Any]]:
        """What goes in front of the next prompt, once: the system prompt, and what was said where the agent lost it."""
        past = recap(self._past, RECAP_CHARACTERS) if self._untold else ""
        texts = [text for text in (self._system, past, self.cut_off) if text]
        self._system, self._untold, self.cut_off = "", False, ""
        return [{"type": "text", "text": text} for text in texts]

    def _begin(self, turn: Turn) -> None:
        """The turn is not queued any more: its prompt is about to be sent, or sent again."""
        if turn in self._waiting:
            self._waiting.remove(turn)
            self._past.append(turn)
        turn.state = "running"
        self._latest = turn
        self.record.note("begun", turn=turn.id)

    def _ended(self, turn: Turn) -> None:
        """Called by each turn at its end, before anybody learns of it."""
        if turn in self._waiting:
            self._waiting.remove(turn)
            self._past.append(turn)
        more: dict[str, Any] = {"withdrawn": True} if turn.withdrawn else {}
        if turn.failure is not None:
            more |= {"error": told(turn.failure), "partial": turn.text}
        self.record.note("ended", turn=turn.id, stopReason=turn.stop_reason, **more)

    async def _carry_out(self, turn: Turn) -> None:
        turn.began = anyio.current_time()
        with self._link.in_turn():
            stop_reason, failure = await self._attempt(turn, again=True)
        if isinstance(failure, AgentTimeout):
            turn.end(None, failure)
        elif turn.cancelled:
            turn.end("cancelled")
        else:
            turn.end(stop_reason, failure)

    async def _attempt(self, turn: Turn, *, again: bool) -> "tuple[StopReason | None, ConnectorError | None]":
        """Sends the prompt, and (`again`) once more where a supervised process ended before it had any effect."""
        first = self._system, self._untold, self.cut_off
        blocks = [*self._beginning(), *turn.prompt]
        self.hands.begin_turn()
        self._begin(turn)
        made = recovery.attempt(self, self._link)
        answer, failure, too_long = None, None, list[AgentTimeout]()
        async with anyio.create_task_group() as tasks:
            given_up = made.generation, self._tell_to_stop, too_long.append
            tasks.start_soon(overdue.watch, self._link, turn, self.hands, *given_up)
            try:
                params = {"sessionId": self.id, "prompt": blocks}
                answer = await self._link.ask(methods.SESSION_PROMPT, params, timeout=None, on_answer=turn.answer)
            except ConnectorError as why:
                failure = why
            tasks.cancel_scope.cancel()
        if too_long:
            return None, too_long[0]
        if answer is not None:
            turn.usage, cancelled = answer.usage, answer.stop_reason == "cancelled"
            if (cancelled and self.vendor.quirks.forgets) or answer.stop_reason == "refusal":
                # The agent forgets a refused prompt, some a cancelled one, and what stood in it.
                self._system, self._untold, self.cut_off = first
            return answer.stop_reason, None
        if isinstance(failure, SignInNeeded):  # nothing of the prompt has reached the conversation
            self._system, self._untold, self.cut_off = first
        if not isinstance(failure, AgentExited) or self._link.keeper is None or turn.cancelled:
            return None, failure
        if not self.worked_at:
            self._system, self._untold, self.cut_off = first
        settled = await recovery.settle(self, self._link, turn, made, failure, again=again)
        if settled is None and not turn.cancelled:
            return await self._attempt(turn, again=False)
        return None, settled

    def _note(self, update: Update) -> None:
        """What is true of the session from here on."""
        kind = update.session_update
        if kind == "current_mode_update" and self.modes is not None:
            self.modes.current_mode_id = update.current_mode_id
        elif kind == "config_option_update":
            self.config_options = update.config_options
        elif kind == "available_commands_update":
            self.commands = update.available_commands
        elif kind == "session_info_update" and "title" in update.model_fields_set:
            self.title = update.title or ""


def _known(what: str, wanted: str, offered: Sequence[str]) -> None:
    if wanted not in offered:
        raise ValueError(f"there is no {what} {wanted!r}; there are {', '.join(offered) or 'none'}")
