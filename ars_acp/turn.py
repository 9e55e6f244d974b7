"""One turn: from a prompt to its stop reason. Read `run_turn` from top to bottom.

Everything that a turn may do is bounded: steps, invalid calls, time to answer a question, time a tool may take.
Whatever ends it, the log afterwards holds a history that a model accepts: no reply without its end, no call without its
result.
"""

import contextlib
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from anyio import get_cancelled_exc_class

from acp_wire.errors import RpcError
from ars_acp import calls, compaction, prompt, steering, usage
from ars_acp.blocks import Takes, for_model
from ars_acp.config import SessionConfig
from ars_acp.errors import LLM_STREAM_INTERRUPTED, rpc_error
from ars_acp.hands import Hands, HandsError
from ars_acp.log import Log
from ars_acp.models.model import Model, ModelError, Reply, Retrying, ToolCallRequest
from ars_acp.session import Entry, Session
from ars_acp.settings import Settings
from ars_acp.steering import Inbox
from ars_acp.streamer import Streamer
from ars_acp.tools import offered
from ars_acp.tools.tool import Tool, ToolLimits

if TYPE_CHECKING:
    from ars_acp.catalog import Known

STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "refusal": "refusal", "tool_calls": "end_turn"}

# What a turn that only plans may call beside the read-only tools.
PLANS = {"update_plan", "prompt_user"}


@dataclass(eq=False)
class Turn:
    """What one turn works with, and what it has to remember until it ends."""

    session: Session
    model: Model
    hands: Hands
    streamer: Streamer
    settings: Settings
    limits: ToolLimits
    log: Log
    config: SessionConfig
    takes: Takes
    inbox: Inbox
    tools: list[Tool] = field(default_factory=list)
    replying: bool = False
    # Tokens of all replies, as the model's provider counted them.
    spent: Counter[str] = field(default_factory=Counter)
    invalid: Counter[tuple[str, str]] = field(default_factory=Counter)
    # Set when a question was not answered in time: the rest of the step is skipped, later ones are refused unasked.
    unanswered: bool = False
    skipping: bool = False
    # The model may look and plan, and change nothing.
    planning: bool = False
    compacted: bool = False
    # Calls of the model that have no result yet, by our id.
    open_calls: dict[str, ToolCallRequest] = field(default_factory=dict)
    # Those that the client has been told of.
    shown_calls: set[str] = field(default_factory=set)
    # What reviews have approved and nothing has applied yet: nobody means it for a later prompt.
    approved_patches: set[str] = field(default_factory=set)


async def run_turn(turn: Turn, said: Entry) -> str:
    """Carries out one prompt and returns its stop reason.

    Raises `RpcError` with LLM_ERROR or LLM_STREAM_INTERRUPTED. When cancelled it closes what is open, without waiting
    for anybody, and lets the cancellation through.
    """
    session = turn.session
    session.record(said)
    stop, why = "error", "an error ended the turn"
    try:
        turn.inbox.open()
        await _prepare(turn)
        for _ in range(turn.settings.steps_per_turn):
            reply = await _next_reply(turn)
            if turn.open_calls:
                await calls.run_calls(turn)
            elif turn.inbox.shut(unless_used=reply.finish != "refusal"):
                stop = STOP_REASONS[reply.finish]
                break
        else:
            stop = "max_turn_requests"
    except get_cancelled_exc_class():
        stop, why = "cancelled", "the person cancelled it"
        raise
    except ModelError as exc:
        why = exc.message
        raise _as_answer(turn, exc) from None
    finally:
        close(turn, why)
        steering.keep(turn)
        session.record({"type": "turn", "stop": stop})
    return stop


async def _prepare(turn: Turn) -> None:
    await turn.model.warm()
    if not turn.model.name:
        name = await turn.model.resolve_name()
        turn.streamer.tell("info", f"OPENAI_MODEL is not set: using {name}, the first that the endpoint lists")
    session = turn.session
    if session.mcp is not None:
        await session.mcp.ready()
    if session.instructions is None and "read" in turn.hands.can:
        session.instructions = await _instructions(turn)


async def _instructions(turn: Turn) -> str:
    try:
        text = await turn.hands.read(f"{turn.session.facts.cwd.rstrip('/')}/{prompt.INSTRUCTIONS_FILE}")
    except HandsError:
        return ""
    return prompt.cut_instructions(text)


def _tools(turn: Turn) -> list[Tool]:
    """What the model may call now: MCP servers come and go while a turn runs."""
    every = offered(turn.hands.can, turn.hands.does) + (turn.session.mcp.tools() if turn.session.mcp else [])
    return [tool for tool in every if not turn.planning or tool.read_only or tool.name in PLANS]


async def _next_reply(turn: Turn) -> Reply:
    """One reply. A conversation that has become too long for it is compacted first, once in a turn."""
    turn.session.log.tell(turn.streamer)
    turn.tools = _tools(turn)
    turn.model, turn.takes = turn.config.model(), turn.config.takes()  # as chosen by now
    if compaction.is_due(turn, compaction.size_of(*_request(turn))):
        await compaction.compact(turn)
    steering.join(turn)  # what was said last is in no summary
    try:
        return await _one_reply(turn)
    except ModelError as exc:
        if not compaction.is_too_long(turn, exc):
            raise
        turn.replying = False  # nothing was shown of it
        if await compaction.compact(turn, refused=True) is not None:
            turn.replying = True
            raise
    return await _one_reply(turn)


def _request(turn: Turn) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    session = turn.session
    names = [tool.model_name for tool in turn.tools]
    system = prompt.opening(
        session.facts.cwd, session.facts.directories, session.instructions, names, planning=turn.planning
    )
    return [system, *for_model(session.history.messages, turn.takes)], [tool.spec() for tool in turn.tools]


async def _one_reply(turn: Turn) -> Reply:
    """Streams one reply of the model to the client, and records its end."""
    session, streamer = turn.session, turn.streamer
    messages, tools = _request(turn)
    size = compaction.size_of(messages, tools)
    streamer.begin_reply()
    turn.replying = True
    reply: Reply | None = None
    stream = turn.model.stream(messages, tools)
    async with contextlib.aclosing(stream) as events:
        async for event in events:
            if type(event) is list:
                streamer.pieces(event)
                await streamer.room()
            elif isinstance(event, Retrying):
                told = f"Trying again in {event.delay:.1f} s (attempt {event.attempt})"
                streamer.tell("warning", told, event.reason)
            elif isinstance(event, Reply):
                reply = event
    if reply is None:
        raise rpc_error(LLM_STREAM_INTERRUPTED, "the model's reply had no end", retryable=True)
    streamer.release()
    session.record(_reply_entry(turn, reply))
    turn.replying = False
    if reply.usage is not None:
        turn.spent.update({name: count for name, count in asdict(reply.usage).items() if count is not None})
    session.size.counted(size, reply.usage)
    usage.tell(streamer, session, turn.model.name, _known(turn), counted=reply.usage is not None)
    _log_reply(turn, reply)
    return reply


def spent(turn: Turn) -> dict[str, int]:
    """The tokens of a turn, as the protocol's `PromptResponse.usage` names them; empty where nobody counted any."""
    found = turn.spent
    if not found:
        return {}
    names = {"thought": "thoughtTokens", "cached": "cachedReadTokens"}
    usage = {"totalTokens": found["input"] + found["output"], "inputTokens": found["input"]}
    usage["outputTokens"] = found["output"]
    return usage | {shown: found[name] for name, shown in names.items() if name in found}


def _as_answer(turn: Turn, exc: ModelError) -> RpcError:
    turn.streamer.release()
    details = {key: value for key, value in exc.details.items() if key != "partial_chars"}
    if exc.code == LLM_STREAM_INTERRUPTED:
        details["partialChars"] = turn.session.history.partial_chars()
    turn.log.error("model.failed", session=turn.session.id, code=exc.code, reason=exc.message, details=details)
    return rpc_error(exc.code, exc.message, retryable=exc.retryable, retry_after_ms=exc.retry_after_ms, details=details)


def _reply_entry(turn: Turn, reply: Reply) -> Entry:
    wanted = [] if reply.finish == "length" else reply.tool_calls
    made = []
    for position, call in enumerate(wanted):
        call_id = f"{turn.session.next_id('call')}_{position}"
        turn.open_calls[call_id] = call
        name, arguments = calls.sound_name(call.name), calls.sound_arguments(call.arguments)
        made.append({"id": call_id, "name": name, "arguments": arguments})
    entry: Entry = {"type": "reply", "finish": reply.finish, "calls": made, "model": turn.model.name}
    entry["seconds"] = round(reply.seconds, 3)
    if reply.usage is not None:
        entry["usage"] = usage.entry(reply.usage, _known(turn))
    return entry


def _known(turn: Turn) -> "Known | None":
    return turn.config.models.known(turn.model.name)


def _log_reply(turn: Turn, reply: Reply) -> None:
    speed = reply.usage.output / reply.seconds if reply.usage and reply.seconds else None
    turn.log.info(
        "model.replied",
        session=turn.session.id,
        model=turn.model.name,
        finish=reply.finish,
        calls=len(reply.tool_calls),
        first_token_ms=None if reply.first_token is None else round(reply.first_token * 1000, 1),
        seconds=round(reply.seconds, 3),
        tokens_per_second=None if speed is None else round(speed, 1),
    )
    if reply.thought:
        turn.log.debug("model.thought", session=turn.session.id, thought=reply.thought)


def close(turn: Turn, reason: str) -> None:
    """Ends what a turn that stopped in the middle has left open; does nothing after one that did not. Never waits."""
    turn.streamer.end_reply()
    session = turn.session
    if turn.replying:
        turn.replying = False
        partial: dict[str, Any] = {"reason": reason, "partialChars": session.history.partial_chars()}
        session.record({"type": "interrupted", **partial})
    for call_id in list(turn.open_calls):
        calls.finish(turn, call_id, calls.failed("CANCELLED", f"Not finished: {reason}. Its outcome is unknown."))
