"""What an agent sees of us: one method per ACP client method, over the workspaces of its sessions.

Updates are taken inline by the connection's reader, so they reach a session in wire order and before the answer that
ends their turn. Whatever the agent asks is answered, also when the person has cancelled meanwhile.
"""

import contextlib
import os
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import anyio.lowlevel

from acp_wire import build, methods
from acp_wire.connection import Call, Served
from acp_wire.errors import INVALID_PARAMS, METHOD_NOT_FOUND, NOT_FOUND, REQUEST_CANCELLED, RpcError
from connector import acts, audit, calls
from connector.acts import Judge
from connector.audit import OnDecision
from connector.child import Exit
from connector.grants import Grant, Texts
from connector.permissions import Act, Decision, Policy, act_of, decide, deny_all, merged
from connector.protected import protected
from connector.secrets import Secrets
from connector.terminals import Terminal
from connector.workspace import Workspace

if TYPE_CHECKING:
    from acp_wire.schema.elicitation import (
        CompleteElicitationNotification,
        ElicitationFormMode,
        ElicitationOtherMode,
        ElicitationUrlMode,
    )
    from acp_wire.schema.extensions import CallToolRequest
    from acp_wire.schema.file_system import ReadTextFileRequest, WriteTextFileRequest
    from acp_wire.schema.permission import RequestPermissionRequest
    from acp_wire.schema.session_update import SessionNotification
    from acp_wire.schema.terminals import CreateTerminalRequest, OfTerminal
    from acp_wire.schema.tool_calls import ToolCall, ToolCallUpdate

EARLY_SESSIONS = 16
EARLY_UPDATES = 10_000
# What the record has of its own.
UNWANTED = ("time", "session")

# One of the models of `acp_wire.schema.session_update`.
Update = Any
OnUpdate = Callable[[Update], None]
# The same, None for a kind that is not known, and the update as it came; what was said of its delivery is in `_meta`.
OnCame = Callable[[Update | None, dict[str, Any]], None]


# `asked` or `decided`, and what the record is to say of it.
OnQuestion = Callable[[str, dict[str, Any]], None]


def _nobody(kind: str, fields: dict[str, Any]) -> None:
    """Whoever keeps a record says so."""


class _AsItCame(methods.Notification[Any]):
    """A notification whose handler gets the params as they came, and as they are read."""

    def params(self, raw: Any) -> tuple[Any, Any]:
        return raw, super().params(raw)


UPDATES = _AsItCame("session/update", "session_update", "SessionNotification")
SERVED = Served(
    (*methods.CLIENT_REQUESTS, *methods.CLIENT_EXTENSIONS),
    (UPDATES, methods.ELICITATION_COMPLETE, methods.CANCEL_REQUEST),
)


@dataclass(frozen=True)
class Filled:
    """What a person did with a form; `content` counts when it was accepted.

    `approves` says that it was the review of what the form's tool call is about to do, and that they want it.
    """

    action: Literal["accept", "decline", "cancel"]
    content: dict[str, Any] = field(default_factory=dict)
    approves: bool = False


Fill = Callable[["ElicitationFormMode"], Awaitable[Filled]]
Visit = Callable[["ElicitationUrlMode"], Awaitable[Literal["accept", "decline", "cancel"]]]


@dataclass(eq=False)
class Hands:
    """One session as the agent's requests meet it."""

    workspace: Workspace
    on_update: OnCame
    on_question: OnQuestion
    # Between session/cancel and the end of the turn every question is answered `cancelled`.
    cancelled: bool = False
    asking: set[Call] = field(default_factory=set)
    # How many of its requests are being answered, and when something was last heard of it, by the monotonic clock.
    waits: int = 0
    heard: float = 0.0
    # How many of them there have been.
    served: int = 0
    tool_calls: "dict[str, ToolCall | ToolCallUpdate]" = field(default_factory=dict)
    grants: list[Grant] = field(default_factory=list)
    # The tools that the agent was told we carry out ourselves.
    tools: frozenset[str] = frozenset()

    def begin_turn(self) -> None:
        """Questions are asked again, after a cancelled turn, and nothing is granted yet."""
        self.cancelled = False
        self.grants.clear()

    def end_turn(self) -> None:
        """What was granted for this turn is granted no longer."""
        self.grants.clear()

    def cancel(self) -> None:
        """Answers what is being asked `cancelled`, and whatever else the turn may still ask."""
        self.cancelled = True
        for call in list(self.asking):
            call.scope.cancel()

    async def interrupted(self) -> None:
        """The agent's process is gone: so are its terminals, its tool calls and what it was granted."""
        self.tool_calls.clear()
        self.grants.clear()
        await self.workspace.terminals.close()

    def carry_out(self, tools: Collection[str]) -> None:
        """The agent may leave these tools to us from here on, and no others."""
        self.tools = frozenset(map(calls.plain, tools))

    def silent_since(self) -> float:
        """When the agent last said something in this session; now, where it waits for something of ours."""
        return time.monotonic() if self.waits else self.heard


class Client:
    """Serves one agent connection (`SERVED`).

    `policy` answers permission requests, and holds what the agent does through our hands without asking, unless
    `unasked` does: for an agent that is trusted to ask where its mode says so. `fill` shows forms, `visit` an address
    that a person is to open; without them they are not advertised, and with `writes=False` neither is
    fs/write_text_file. `call` carries out the calls of the tools that a session was opened with (`tools`): no policy is
    asked about them. `on_decision` gets the record of each decision (`connector.audit`).
    """

    def __init__(
        self,
        *,
        policy: Policy = deny_all,
        unasked: Policy | None = None,
        fill: Fill | None = None,
        visit: Visit | None = None,
        call: calls.CarryOut | None = None,
        writes: bool = True,
        protected: Judge = protected,
        on_decision: OnDecision | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.secrets = Secrets({})
        self._policy = policy
        self._unasked = unasked or policy
        self._fill = fill
        self._visit = visit
        self._call = call
        self._writes = writes
        self._protected = protected
        self._on_decision = on_decision
        self._sessions: dict[str, Hands] = {}
        self._early: dict[str, deque[tuple[Update, dict[str, Any]]]] = {}
        self._visited: deque[str] = deque(maxlen=EARLY_SESSIONS)

    def capabilities(self, *, withheld: Collection[str] = ()) -> dict[str, Any]:
        """The `clientCapabilities` of initialize: exactly what is served here, less the methods `withheld`."""
        return build.client_capabilities(
            read_text_file="fs/read_text_file" not in withheld,
            write_text_file=self._writes,
            terminal=True,
            elicitation=[mode for mode, shown in (("form", self._fill), ("url", self._visit)) if shown is not None],
            notices=True,
        )

    @property
    def carries_out(self) -> bool:
        """Whether sessions can be opened with tools of ours."""
        return self._call is not None

    def add(
        self,
        session_id: str,
        workspace: Workspace,
        on_update: OnCame,
        on_question: OnQuestion = _nobody,
        tools: Collection[str] = (),
    ) -> Hands:
        """Serves `session_id` from here on; `on_update` gets what the agent had reported too early, then the rest.

        `on_question` is told, for the session's record, of what is `asked` and what is `decided`. `tools` are those
        that the agent may leave to us. What is returned is the caller's, who removes it in the end.
        """
        hands = Hands(workspace, on_update, on_question, tools=frozenset(map(calls.plain, tools)))
        self.put_back(session_id, hands)
        return hands

    async def remove(self, session_id: str, hands: Hands) -> None:
        """Serves the session with these no more: what they are asked is cancelled, and their terminals end."""
        self.take_out(session_id, hands)
        hands.cancel()
        await hands.workspace.close()

    def take_out(self, session_id: str, hands: Hands) -> None:
        """Serves the session with these no more, until they are put back under that id or another. Others that have
        come in their place stay."""
        if self._sessions.get(session_id) is hands:
            del self._sessions[session_id]

    def overlook(self, session_id: str) -> None:
        """What the agent has reported of a session that is only about to be opened again is of the past."""
        self._early.pop(session_id, None)

    def put_back(self, session_id: str, hands: Hands) -> None:
        """Serves `session_id` from here on, as `add` does."""
        self._sessions[session_id] = hands
        for update, raw in self._early.pop(session_id, ()):
            self._deliver(hands, update, raw)

    def received(self, call: Call) -> None:
        """An agent that waits for us is not silent."""
        session_id = call.raw.get("sessionId") if isinstance(call.raw, dict) else None
        hands = self._sessions.get(session_id) if isinstance(session_id, str) else None
        if hands is not None:
            hands.waits += 1
            hands.served += 1
            call.ended(lambda: _answered(hands))

    def inside(self, session_id: str, path: str) -> bool:
        """Whether `path` lies inside the session's roots; for `permissions.allow_reads`."""
        hands = self._sessions.get(session_id)
        return hands is not None and hands.workspace.files.contains(path)

    # ── what agents ask for, in the order of the specification ──────────────────────────────────────────────────────

    def session_update(self, came: "tuple[dict[str, Any], SessionNotification]") -> None:
        """Passes an update on, or keeps it until its session is known. What is said of its delivery goes with it."""
        whole, params = came
        update, raw = params.update, whole["update"]
        if params.meta:
            update.meta = {**(update.meta or {}), **params.meta}
            raw = {**raw, "_meta": update.meta}
        if hands := self._sessions.get(params.session_id):
            self._deliver(hands, update, raw)
            return
        if params.session_id not in self._early and len(self._early) >= EARLY_SESSIONS:
            del self._early[next(iter(self._early))]
        self._early.setdefault(params.session_id, deque(maxlen=EARLY_UPDATES)).append((update, raw))

    async def session_request_permission(self, params: "RequestPermissionRequest", call: Call) -> dict[str, Any]:
        """Lets the policy decide; `cancelled` when the turn is."""
        hands = self._hands(params.session_id)
        known = hands.tool_calls.get(params.tool_call.tool_call_id)
        act = self._act(hands, params.session_id, params.options, params.tool_call, known)
        async with _asking(hands, call, build.cancelled()):
            return (await self._decide(hands, act)).outcome()

    async def fs_read_text_file(self, params: "ReadTextFileRequest", call: Call) -> dict[str, Any]:
        """The text of a file inside the session's roots."""
        hands = self._hands(params.session_id)
        real = await hands.workspace.real(params.path)
        if (reason := self._protected(real)) is not None and reason.from_reading:
            await self._permit(hands, call, acts.reading(params.session_id, hands.workspace, params.path, real))
        text = await hands.workspace.read(params.path, line=params.line, limit=params.limit, real=real)
        return {"content": text}

    async def fs_write_text_file(self, params: "WriteTextFileRequest", call: Call) -> dict[str, Any]:
        """Replaces a file inside the session's roots."""
        if not self._writes:
            raise RpcError(METHOD_NOT_FOUND, "Writing files is not offered")
        hands = self._hands(params.session_id)
        real = await hands.workspace.real(params.path)
        texts = Texts(await _old_text(hands.workspace, params.path, real), params.content)
        act = acts.writing(params.session_id, hands.workspace, params.path, real, texts, self._protected)
        await self._permit(hands, call, act, texts)
        await hands.workspace.write(params.path, params.content, real=real)
        return {}

    async def terminal_create(self, params: "CreateTerminalRequest", call: Call) -> dict[str, Any]:
        """Starts a command, when it is permitted, and answers at once."""
        hands = self._hands(params.session_id)
        env = {variable.name: variable.value for variable in params.env}
        act = acts.running(
            params.session_id, hands.workspace, [params.command, *params.args], params.cwd, env, self._protected
        )
        if act.kind != "read":
            await self._permit(hands, call, act)
        terminal_id = hands.workspace.terminals.create(
            params.command, params.args, env=env, cwd=params.cwd, output_limit=params.output_byte_limit
        )
        return {"terminalId": terminal_id}

    async def terminal_output(self, params: "OfTerminal", call: Call) -> dict[str, Any]:
        """What the command has written so far, and how it ended if it has."""
        terminal = self._terminal(params)
        output, ended = terminal.output(), terminal.child.exit
        return build.terminal_output(output, terminal.tail.dropped, _exit_status(ended) if ended else None)

    async def terminal_wait_for_exit(self, params: "OfTerminal", call: Call) -> dict[str, Any]:
        """Answers when the command has ended."""
        return _exit_status(await self._terminal(params).wait())

    async def terminal_kill(self, params: "OfTerminal", call: Call) -> dict[str, Any]:
        """Kills the command and what it has started; its output stays."""
        await self._terminal(params).child.kill()
        return {}

    async def terminal_release(self, params: "OfTerminal", call: Call) -> dict[str, Any]:
        """Ends the terminal and its id."""
        await self._hands(params.session_id).workspace.terminals.release(params.terminal_id)
        return {}

    async def elicitation_create(
        self, params: "ElicitationFormMode | ElicitationUrlMode | ElicitationOtherMode", call: Call
    ) -> dict[str, Any]:
        """Shows a form or an address; `cancel` when the turn is cancelled."""
        if self._fill is None and self._visit is None:
            raise RpcError(METHOD_NOT_FOUND, "Neither forms nor addresses are offered")
        from acp_wire.schema.elicitation import ElicitationFormMode, ElicitationUrlMode

        hands = self._hands(params.session_id) if params.session_id is not None else None
        async with _asking(hands, call, build.elicitation_result("cancel")):
            if isinstance(params, ElicitationFormMode) and self._fill is not None:
                filled = await self._fill(params)
                self._note_review(hands, params, filled)
                return build.elicitation_result(filled.action, filled.content if filled.action == "accept" else None)
            if isinstance(params, ElicitationUrlMode) and self._visit is not None:
                self._visited.append(params.elicitation_id)
                return build.elicitation_result(await self._visit(params))
        raise RpcError(INVALID_PARAMS, "That mode is not offered")

    async def ars_tool_call(self, params: "CallToolRequest", call: Call) -> dict[str, Any]:
        """Carries out a call of a tool that the session was opened with; CANCELLED when the turn is cancelled."""
        hands = self._hands(params.session_id)
        if self._call is None or calls.plain(params.name) not in hands.tools:
            raise RpcError(METHOD_NOT_FOUND, f"This session was not opened with the tool {params.name!r:.100}")
        async with _asking(hands, call, calls.CANCELLED):
            made = calls.ToolCall(params.session_id, params.tool_call_id, params.name, params.arguments)
            return await self._call(made)

    def elicitation_complete(self, params: "CompleteElicitationNotification") -> None:
        """What an address was for is done; nobody waits for that, and unknown ids are nobody's."""
        known = params.elicitation_id in self._visited
        self.counts["elicitation.complete" if known else "elicitation.unknown"] += 1

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _deliver(self, hands: Hands, update: Update, raw: dict[str, Any]) -> None:
        hands.heard = time.monotonic()
        kind = update.session_update
        if kind in ("tool_call", "tool_call_update"):
            # An update may come before its tool call: then it stands for it.
            known = hands.tool_calls.get(update.tool_call_id)
            hands.tool_calls[update.tool_call_id] = update if known is None else merged(known, update)
            if update.status in ("completed", "failed"):
                del hands.tool_calls[update.tool_call_id]
        elif type(update).__name__ == "UnknownUpdate":
            self.counts["update.unknown"] += 1
            update = None
        hands.on_update(update, raw)

    async def _decide(self, hands: Hands, act: Act, texts: Texts | None = None) -> Decision:
        """Lets the policy decide, where nothing that was granted in this turn covers the act, and keeps the record."""
        if not act.asked and any(grant.covers(act, texts) for grant in hands.grants):
            decision = Decision(None, "granted in this turn", allowed=True, by="grant")
        else:
            act = replace(act, id=os.urandom(8).hex())
            decision = await self._ask(hands, act)
            if decision.allowed:
                hands.grants.append(Grant(act, decision.by == "person"))
        self._note_decision(hands, act, decision)
        return decision

    async def _ask(self, hands: Hands, act: Act) -> Decision:
        """What the policy decides. Whoever answers, a turn that is cancelled before the agent has it is cancelled."""
        options = [it.model_dump(by_alias=True, exclude_none=True) for it in act.options]
        hands.on_question("asked", {"id": act.id, **audit.described(act, self.secrets), "options": options})
        try:
            decision = await decide(act, self._policy if act.asked else self._unasked)
            await anyio.lowlevel.checkpoint_if_cancelled()
        except BaseException:
            self._note_decision(hands, act, Decision(None, "the question was withdrawn", by="cancel"))
            raise
        return decision

    def _note_decision(self, hands: Hands, act: Act, decision: Decision) -> None:
        told = audit.record(act, decision, self.secrets)
        if self._on_decision is not None:
            self._on_decision(told)
        hands.on_question("decided", {"id": act.id, **{name: it for name, it in told.items() if name not in UNWANTED}})

    async def _permit(self, hands: Hands, call: Call, act: Act, texts: Texts | None = None) -> None:
        """Raises `RpcError` unless an act that the agent is about to do through us may be done."""
        if hands.cancelled:
            raise RpcError(REQUEST_CANCELLED, "The turn was cancelled")
        async with _asking(hands, call, None):
            decision = await self._decide(hands, act, texts)
        if not decision.allowed:
            raise RpcError(INVALID_PARAMS, f"PERMISSION_DENIED: {decision.reason}")

    def _act(self, hands: Hands, session_id: str, options: Any, asked: Any, known: Any) -> Act:
        workspace = hands.workspace
        return act_of(
            session_id,
            options,
            asked,
            known,
            root=workspace.roots[0],
            protected=lambda path: acts.is_protected(workspace, path, self._protected),
        )

    def _note_review(self, hands: Hands | None, form: "ElicitationFormMode", filled: Filled) -> None:
        """Whoever has reviewed a tool call has allowed it: its writes are not asked about again."""
        known = hands.tool_calls.get(form.tool_call_id or "") if hands is not None else None
        if hands is not None and known is not None and filled.action == "accept" and filled.approves:
            act = self._act(hands, form.session_id or "", (), known, None)
            hands.grants.append(Grant(act, by_person=True, reviewed=True))
            self._note_decision(hands, act, Decision(None, "reviewed", allowed=True, by="person"))

    def _hands(self, session_id: str) -> Hands:
        try:
            return self._sessions[session_id]
        except KeyError:
            raise RpcError(NOT_FOUND, "No such session", {"sessionId": session_id}) from None

    def _terminal(self, params: "OfTerminal") -> Terminal:
        return self._hands(params.session_id).workspace.terminals.get(params.terminal_id)


async def _old_text(workspace: Workspace, path: str, real: str) -> str | None:
    """The text that is there, None where there is none that can be read."""
    try:
        return await workspace.read(path, real=real)
    except RpcError:
        return None


def _answered(hands: Hands) -> None:
    hands.waits -= 1
    hands.heard = time.monotonic()


def _exit_status(ended: Exit) -> dict[str, Any]:
    return build.exit_status(ended.code, ended.signal)


@contextlib.asynccontextmanager
async def _asking(hands: Hands | None, call: Call, if_cancelled: dict[str, Any] | None) -> AsyncIterator[None]:
    """While the person is asked: a cancel answers for them, at once when the turn is cancelled already."""
    call.if_cancelled = if_cancelled
    if hands is None:  # a question that belongs to no session
        yield
        return
    hands.asking.add(call)
    try:
        if hands.cancelled:
            call.scope.cancel()
        await anyio.lowlevel.checkpoint()
        yield
    finally:
        hands.asking.discard(call)
