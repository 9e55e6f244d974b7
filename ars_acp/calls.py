"""The tool calls of one step: read-only ones side by side, the others one by one, each with exactly one result.

A tool's failure is a value that the model reads; the turn goes on. Here, and only here, the hands' errors become
values.
"""

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import anyio

from acp_wire import build
from ars_acp import permissions
from ars_acp.errors import LLM_ERROR, TOOL_TIMEOUT, rpc_error
from ars_acp.hands import HandsError, Timeout
from ars_acp.models.model import ToolCallRequest
from ars_acp.redact import redact
from ars_acp.tools import put_back
from ars_acp.tools.nesting import too_deep
from ars_acp.tools.patch.model import FileChange
from ars_acp.tools.tool import Act, InvalidArguments, Tool, ToolContext, ToolResult

# Arguments longer than this are shown to the person by their beginning only.
SHOWN_INPUT = 1024 * 1024
LONGEST_NAME = 64
_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_-]")
# Longer ones are neither carried out nor kept: every later request to the model would carry them.
LONGEST_ARGUMENTS = 8 * 1024 * 1024

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ars_acp.turn import Turn


async def run_calls(turn: "Turn") -> None:
    """Carries out the calls that the last reply has left open. Raises `RpcError` when the model only errs."""
    turn.skipping = False
    together: list[str] = []
    for call_id, call in list(turn.open_calls.items()):
        tool = _offered(turn, call.name)
        if tool is not None and tool.read_only:
            together.append(call_id)
            continue
        await _run_together(turn, together)
        together = []
        await _run(turn, call_id)
    await _run_together(turn, together)
    _give_up_on_a_model_that_only_errs(turn)


async def run_for_person(turn: "Turn", tool: Tool, arguments: dict[str, Any]) -> ToolResult:
    """Carries out a call that a command of the person's makes: shown and permitted as the model's, which reads none."""
    turn.tools = [tool]
    call_id = f"{turn.session.next_id('call')}_0"
    turn.open_calls[call_id] = ToolCallRequest(call_id, tool.model_name, json.dumps(arguments))
    return await _run(turn, call_id)


async def _run_together(turn: "Turn", call_ids: list[str]) -> None:
    if len(call_ids) == 1:
        await _run(turn, call_ids[0])
        return
    limiter = anyio.CapacityLimiter(turn.settings.parallel_calls)

    async def run(call_id: str) -> None:
        async with limiter:
            await _run(turn, call_id)

    async with anyio.create_task_group() as tasks:
        for call_id in call_ids:
            tasks.start_soon(run, call_id)


async def _run(turn: "Turn", call_id: str) -> ToolResult:
    call = turn.open_calls[call_id]
    tool = _offered(turn, call.name)
    shown = tool.name if tool else redact(sound_name(call.name))
    turn.shown_calls.add(call_id)
    turn.streamer.update(
        build.tool_call(call_id, title=shown, name=shown, status="pending", raw_input=_readable(call.arguments))
    )
    began = anyio.current_time()
    try:
        if turn.skipping:
            result = failed("SKIPPED", "Not done: a question before it was not answered.")
        else:
            tool = _valid(tool, call)
            result = await _attempt(turn, call_id, tool, _arguments(tool, call))
    except InvalidArguments as exc:
        turn.invalid[call.name, call.arguments] += 1
        result = failed(InvalidArguments.code, exc.message)
    finish(turn, call_id, result)
    turn.log.info(
        "tool.finished",
        session=turn.session.id,
        tool=shown,
        call=call_id,
        ok=result.ok,
        code=result.code,
        ms=round((anyio.current_time() - began) * 1000, 1),
    )
    return result


async def _attempt(turn: "Turn", call_id: str, tool: Tool, arguments: "BaseModel") -> ToolResult:
    result = await _attempt_once(turn, call_id, tool, arguments)
    if result.code == TOOL_TIMEOUT and tool.read_only:
        turn.log.warning("tool.retried", session=turn.session.id, tool=tool.name, call=call_id)
        result = await _attempt_once(turn, call_id, tool, arguments)
    return result


async def _attempt_once(turn: "Turn", call_id: str, tool: Tool, arguments: "BaseModel") -> ToolResult:
    def show(**changed: Any) -> None:
        turn.streamer.update(build.tool_call_update(call_id, **changed))

    def changing(changes: Sequence[FileChange], *, known: bool = True) -> None:
        turn.session.record(put_back.entry(call_id, changes, known=known))

    context = ToolContext(
        hands=turn.hands,
        roots=turn.session.roots,
        call_id=call_id,
        limits=turn.limits,
        send=turn.streamer.update,
        show=show,
        approved_patches=turn.approved_patches,
        changing=changing,
    )
    try:
        act = await tool.plan(context, arguments)
        show(title=act.title, kind=act.kind, locations=act.locations, content=act.content or None)
        refusal = await _refusal(turn, call_id, tool, act)
        if refusal is not None:
            return refusal
        show(status="in_progress")
        if act.by_client and act.effects != "none":
            turn.session.record({"type": "handed", "call": call_id})
        result = await act.do()
    except InvalidArguments:
        raise
    except HandsError as exc:
        result = failed(exc.code or "TOOL_FAILED", exc.message)
    if result.end_turn_step:
        turn.unanswered = turn.skipping = True
    return result


async def _refusal(turn: "Turn", call_id: str, tool: Tool, act: Act) -> ToolResult | None:
    """None where the act may be done; else what the model is told."""
    session = turn.session
    verdict = permissions.verdict(session.mode, act, session.always_allowed)
    if verdict == "allow":
        return None
    if verdict == "refuse":
        return failed("REFUSED", f"Refused: this session is {session.mode}.")
    if turn.unanswered:
        return failed("REFUSED", "Refused: a question before it was not answered, so nobody is there to ask.")
    question = build.permission_tool_call(
        call_id, title=act.title, kind=act.kind, status="pending", locations=act.locations, content=act.content or None
    )
    try:
        chosen = await turn.hands.ask(question, permissions.options(act))
    except Timeout:
        turn.unanswered = turn.skipping = True
        return failed("REFUSED", "Refused: the person did not answer in time.")
    turn.log.info("permission.answered", session=session.id, tool=tool.name, call=call_id, answer=chosen)
    if chosen == "allow_always" and act.rule is not None:
        session.always_allowed.add(act.rule)
    if chosen in ("allow_once", "allow_always"):
        return None
    return failed("REFUSED", "Refused by the person. Do not try it again; go on without it, or ask what they want.")


def finish(turn: "Turn", call_id: str, result: ToolResult) -> None:
    """The one place where a call gets its result: shown to the person who saw it begin, recorded for the model."""
    del turn.open_calls[call_id]
    content = result.content
    if content is None:
        content = [build.content(result.text)]
    status = "completed" if result.ok else "failed"
    raw = result.raw if result.raw is not None else ({"error": result.code} if result.code else None)
    if call_id in turn.shown_calls:
        turn.streamer.update(build.tool_call_update(call_id, status=status, content=content or None, raw_output=raw))
    turn.session.record({"type": "result", "id": call_id, "ok": result.ok, "code": result.code, "text": result.text})


def failed(code: str, text: str) -> ToolResult:
    """A call that did not do what it was asked to."""
    return ToolResult(ok=False, text=redact(text), content=None, code=code)


def sound_arguments(text: str) -> str:
    """The arguments as history keeps them: a conversation that holds broken JSON is refused by some endpoints."""
    return text if len(text) <= LONGEST_ARGUMENTS and isinstance(_parsed(text), dict) else "{}"


def sound_name(name: str) -> str:
    """The name as history keeps it: providers refuse a conversation that holds one they would not have let us offer."""
    return _NOT_IN_A_NAME.sub("_", name[:LONGEST_NAME]) or "_"


def _offered(turn: "Turn", model_name: str) -> Tool | None:
    return next((tool for tool in turn.tools if tool.model_name == model_name), None)


def _valid(tool: Tool | None, call: ToolCallRequest) -> Tool:
    if tool is None:
        raise InvalidArguments(f"There is no tool {call.name[:LONGEST_NAME]!r} here. Use one of those you were given.")
    return tool


def _arguments(tool: Tool, call: ToolCallRequest) -> "BaseModel":
    if len(call.arguments) > LONGEST_ARGUMENTS:
        raise InvalidArguments("The arguments are too long. Send less in one call.")
    parsed = _parsed(call.arguments or "{}")
    if not isinstance(parsed, dict):
        raise InvalidArguments("The arguments are not a JSON object. Send the call again with complete, valid JSON.")
    return tool.check(parsed)


def _parsed(text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return None if too_deep(value) else value


def _readable(text: str) -> Any:
    parsed = _parsed(text) if len(text) <= SHOWN_INPUT else None
    return parsed if isinstance(parsed, dict) else {"unreadable": text[:1000], "characters": len(text)}


def _give_up_on_a_model_that_only_errs(turn: "Turn") -> None:
    settings = turn.settings
    if not turn.invalid:
        return
    worst = max(turn.invalid.values())
    if worst >= settings.same_invalid_calls or turn.invalid.total() >= settings.invalid_calls_per_turn:
        raise rpc_error(
            LLM_ERROR,
            f"the model made {turn.invalid.total()} calls that cannot be carried out; the last of them {worst} times",
            retryable=False,
            details={"invalidCalls": turn.invalid.total()},
        )
