"""A session goes on in another process of its agent: taken up, caught up with, and the turn that it was at settled."""

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from acp_wire import methods
from connector import overdue
from connector.errors import (
    AgentError,
    AgentExited,
    AgentInterrupted,
    AgentUnavailable,
    CallKnown,
    ConnectorError,
    Outcome,
    SignInNeeded,
)
from connector.generation import Generation
from connector.link import Link

if TYPE_CHECKING:
    from acp_wire.schema.session_state import LoadSessionResponse
    from acp_wire.schema.tool_calls import ToolCall, ToolCallUpdate
    from connector.session import Session
    from connector.turn import Turn

Ask = Callable[[methods.Request[Any, Any], dict[str, Any]], Awaitable[Any]]
# Updates that show that a prompt was worked at; the others say something of the session.
SIGNS_OF_WORK = {"agent_message_chunk", "agent_thought_chunk", "tool_call", "tool_call_update", "plan"}
CUT_OFF = (
    "Your process ended while you were answering the message before this one. Your answer was cut off; this is what "
    "you had said of it:\n\n{text}"
)


class _AsItCame(methods.Request[Any, Any]):
    """A request whose answer is had as it came, and as it is read."""

    def result(self, raw: Any) -> tuple[Any, Any]:
        return raw, super().result(raw)


# Our own agent tells some thousand updates in one.
MOST_PAGES = 200
REPLAY = _AsItCame("_ars/session/replay", "extensions", "ReplayRequest", "ReplayResponse")


# ── another process ───────────────────────────────────────────────────────────────────────────────────────────────────


async def take_up(session: "Session", link: Link, ask: Ask) -> str:
    """Goes on with the session in the process that is attached. "" where it does, else why the agent cannot.

    What the agent had logged and nobody has seen is appended to the turn that was interrupted, where the agent can tell
    it. Raises `ConnectorError` where the process cannot even be asked.
    """
    why = "the agent offers neither session/resume nor session/load"
    place = {"sessionId": session.id, **session.params}
    await session.hands.interrupted()
    if link.offered("session_capabilities.resume"):
        try:
            with session.holding():
                await _as_chosen(session, link, await ask(methods.SESSION_RESUME, place))
                if link.offers_ours("ars/replay"):
                    await catch_up(session, link)
            session.noted("resumed")
            return ""
        except SignInNeeded:
            raise
        except AgentError as error:
            why = str(error)
    if link.offered("load_session"):
        try:
            with session.knowing_it_all():
                await _as_chosen(session, link, await ask(methods.SESSION_LOAD, place))
            session.noted("loaded")
            return ""
        except SignInNeeded:
            raise
        except AgentError as error:
            why = str(error)
    return why


async def make_anew(lost: Mapping["Session", str], sessions: dict[str, "Session"], link: Link, ask: Ask) -> None:
    """New sessions of the agent in the place of those that it cannot take up, each with the reason.

    Ids may be used again by agents that forget: the old ones all go before the first new one comes.
    """
    client = link.client
    left = [session for session in lost if not session.closed]
    for session in left:
        client.take_out(session.id, session.hands)
        sessions.pop(session.id, None)
    try:
        for session in list(left):
            if (created := None if session.closed else await ask(methods.SESSION_NEW, session.params)) is None:
                continue
            check_unused(created.session_id, sessions, link)
            if session.closed:  # meanwhile
                await let_go(created.session_id, link)
                continue
            left.remove(session)
            old = session.id
            session.recreated(created.session_id)
            client.put_back(session.id, session.hands)
            sessions[session.id] = session
            link.event("session.recreated", agent=link.name, was=old, session=session.id, why=lost[session])
            await _as_chosen(session, link, created)
            await let_go_if_closed(session, link)
    finally:
        for session in left:  # their turn comes with the next process, unless they were closed
            if not session.closed:
                client.put_back(session.id, session.hands)
            if not session.gone.is_set():
                sessions[session.id] = session


def check_unused(session_id: str, sessions: Mapping[str, "Session"], link: Link) -> None:
    """Raises `ConnectorError` where the agent has given a new session the id of another that is open."""
    known = sessions.get(session_id)
    if known is not None and not known.closed:
        raise ConnectorError(link.name, f"it gave a new session the id of one that is open, {session_id!r}")


async def let_go_if_closed(session: "Session", link: Link) -> None:
    """A session that was closed while the agent took it up is closed there too: it was told before it had it, or not
    at all."""
    if session.closed:
        await let_go(session.id, link)


async def let_go(session_id: str, link: Link) -> None:
    """Closes a session of the agent's that is none of ours, where the agent offers that."""
    if link.offered("session_capabilities.close"):
        with contextlib.suppress(ConnectorError):  # an agent that cannot even do this is found out by other means
            await link.ask(methods.SESSION_CLOSE, {"sessionId": session_id}, timeout=link.limits.request)


async def _as_chosen(session: "Session", link: Link, answer: "LoadSessionResponse") -> None:
    """What had been chosen in the session is chosen again where the new process begins with something else."""
    place = {"sessionId": session.id}
    asked: list[tuple[methods.Request[Any, Any], dict[str, Any]]] = []
    had, has = session.modes, answer.modes
    if had is not None and has is not None and had.current_mode_id != has.current_mode_id:
        asked.append((methods.SESSION_SET_MODE, {"modeId": had.current_mode_id}))
    offered = {option.id: option.current_value for option in answer.config_options or ()}
    for option in session.config_options:
        if option.current_value != offered.get(option.id, option.current_value):
            kind = {"type": "boolean"} if isinstance(option.current_value, bool) else {}
            asked.append(
                (methods.SESSION_SET_CONFIG_OPTION, {"configId": option.id, "value": option.current_value, **kind})
            )
    model, begins = session.models, answer.models
    if not offered and model is not None and begins is not None and model.current_model_id != begins.current_model_id:
        asked.append((methods.SESSION_SET_MODEL, {"modelId": model.current_model_id}))
    session.modes, session.models = had or has, session.models or answer.models
    session.config_options = session.config_options or answer.config_options or []
    for row, params in asked:
        try:
            await link.ask(row, {**place, **params}, timeout=link.limits.request)
        except AgentError as why:
            link.event("session.choice_lost", agent=link.name, session=session.id, chosen=params, why=str(why))


async def catch_up(session: "Session", link: Link) -> None:
    """Has the agent tell what it has logged of the session and nobody has seen. It goes on all the same where that is
    not told to its end: the log is not whole, or it takes more than `MOST_PAGES` answers, or than `limits.session`.
    """
    why = ""
    with anyio.move_on_after(link.limits.session) as scope:
        why = await _told_of(session, link)
    if scope.cancelled_caught:
        why = f"it has not told all within {link.limits.session:g} s"
    if why:
        link.event("session.not_caught_up", agent=link.name, session=session.id, why=why)


async def _told_of(session: "Session", link: Link) -> str:
    """Page by page. "" at the end, else why there is none."""
    for _ in range(MOST_PAGES):
        after = session.last_seq or 0
        try:
            asked = {"sessionId": session.id, "after": after}
            raw, page = await link.ask(REPLAY, asked, timeout=link.limits.request)
        except AgentError as why:
            return str(why)
        for whole, params in zip(raw["updates"], page.updates, strict=True):
            update = params.update
            update.meta = {**(update.meta or {}), **(params.meta or {})}
            known = type(update).__name__ != "UnknownUpdate"
            session.missed(update if known else None, {**whole["update"], "_meta": update.meta})
        session.caught_up(page.last)
        if not page.more or page.last <= after:
            return ""
    return f"it has more to tell than {MOST_PAGES} answers hold"


# ── the turn that was interrupted ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Attempt:
    """A prompt on its way: where everything stood when it was sent."""

    generation: Generation
    made_anew: int
    seen: int
    served: int


def attempt(session: "Session", link: Link) -> Attempt:
    """To be made right before the prompt is sent."""
    session.worked_at = session.prompt_logged = False
    return Attempt(link.there, session.made_anew, session.last_seq or 0, session.hands.served)


async def settle(
    session: "Session", link: Link, turn: "Turn", made: Attempt, why: AgentExited, *, again: bool
) -> ConnectorError | None:
    """Waits until the agent is back, or the turn cancelled, or has taken too long. The error that the turn ends with,
    None: it is to be sent again, as nothing of it had an effect (and `again`), or it was cancelled.
    """
    assert link.keeper is not None
    served = session.hands.served - made.served
    statuses = {call_id: call.status for call_id, call in turn.tool_calls.items()}
    unavailable: AgentUnavailable | None = None
    async with anyio.create_task_group() as tasks:
        tasks.cancel_scope.deadline = overdue.deadline(link, turn)
        tasks.start_soon(_cancelled, turn, tasks.cancel_scope)
        try:
            await link.keeper.up(made.generation)
        except AgentUnavailable as error:
            unavailable = error
        tasks.cancel_scope.cancel()
    if turn.cancelled:
        return None
    if (too_long := overdue.taken_too_long(link, turn)) is not None:
        return too_long
    untouched = not session.worked_at and not served
    if unavailable is None and untouched and again and await _taken_back(session, link, made):
        return None
    calls = [_known(call_id, call, statuses, link) for call_id, call in turn.tool_calls.items()]
    if link.vendor.quirks.forgets_unfinished and session.made_anew == made.made_anew and turn.text:
        session.cut_off = CUT_OFF.format(text=turn.text)
    return AgentInterrupted(why, turn.text, calls, unavailable)


async def _cancelled(turn: "Turn", scope: anyio.CancelScope) -> None:
    await turn.cancelling()
    scope.cancel()


async def _taken_back(session: "Session", link: Link, made: Attempt) -> bool:
    """Whether the agent remembers nothing of the prompt, so that it can be sent once more."""
    if not session.prompt_logged or session.made_anew != made.made_anew:
        return True
    if not link.offers_ours("ars/rewind"):
        return False
    asked = {"sessionId": session.id, "toSeq": made.seen}
    try:
        await link.ask(methods.ARS_SESSION_REWIND, asked, timeout=link.limits.request)
    except ConnectorError:
        return False
    return True


def _known(call_id: str, call: "ToolCall | ToolCallUpdate", before: Mapping[str, str | None], link: Link) -> CallKnown:
    """What became of a call. What an agent says of calls that it finds open after its end is no outcome."""
    status, then = call.status, before.get(call_id)
    code = call.raw_output.get("error") if isinstance(call.raw_output, dict) else None
    what: Outcome
    if status == "completed":
        what = "done"
    elif then == "failed" or (status == "failed" and code not in ("UNKNOWN_OUTCOME", "NOT_DONE")):
        what = "failed"
    elif code == "NOT_DONE" or (code is None and status in (None, "pending") and link.offers_ours("ars/replay")):
        what = "not begun"
    else:
        what = "outcome unknown"
    return CallKnown(call_id, getattr(call, "title", None) or "", what)
