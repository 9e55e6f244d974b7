"""Tools that the client carries out itself, sent whole: named in `_meta["ars/tools"]` when it opens a session, or since
then by `_ars/session/retool`.

Nothing is planned or written here, and nobody is asked for permission: whoever does it all asks their person
themselves. What stays ours are the arguments' form, the session's mode where it refuses, the card that shows the call,
the bounds of what comes back, and that every call has a result. What a person has accepted in a review there is not
asked about once more here (`reviewed`).
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from acp_wire import build
from acp_wire.errors import INVALID_PARAMS
from ars_acp.errors import TOOL_TIMEOUT, invalid_message
from ars_acp.hands import Called, HandsError, Patience, Timeout
from ars_acp.tools import text
from ars_acp.tools.nesting import too_deep
from ars_acp.tools.reviewed import REVIEW, approve
from ars_acp.tools.roots import PathOutsideRoots
from ars_acp.tools.tool import Act, Effects, Tool, ToolContext, ToolResult

if TYPE_CHECKING:
    from pydantic import BaseModel

META = "ars/tools"
RAW_BYTES = 64 * 1024
LONGEST_TITLE, LONGEST_CODE = 200, 64


@dataclass(frozen=True, slots=True)
class _Way:
    """How one tool's calls are shown, judged and waited for. `subject` is the argument that a title names."""

    title: str
    kind: str
    effects: Effects
    patience: Patience
    subject: str = ""
    shown: str = ""  # the argument that the card holds
    language: str | None = ""  # of that; None: it is no code
    # What comes back is of the project, not of the person: to the model it is data.
    data: bool = True


WAYS: Mapping[str, _Way] = {
    "read_file": _Way("Read", "read", "none", "work", "path"),
    "list_files": _Way("List", "search", "none", "work", "path"),
    "search_in_project": _Way("Search", "search", "none", "work", "pattern"),
    "git.diff": _Way("git diff", "read", "none", "work", "revision", "", "diff"),
    "write_file": _Way("Write", "edit", "write", "permission", "path", "content", data=False),
    "apply_patch": _Way("Apply a patch", "edit", "write", "permission", "", "patch", "diff", data=False),
    "apply_patch_review": _Way("Review a patch", "other", "none", "answer", "", "patch", "diff", data=False),
    "run_command": _Way("Run", "execute", "execute", "permission", "argv"),
    "prompt_user": _Way("Ask:", "other", "none", "answer", "question", "question", None, data=False),
}


def named(meta: Mapping[str, Any] | None) -> frozenset[str]:
    """The tools that a client names in a request's `_meta`, by the names of the specification ("git.diff").

    Raises `RpcError` for what is no list of them.
    """
    wanted = (meta or {}).get(META)
    if wanted is None:
        return frozenset()
    known = {name.replace(".", "_"): name for name in WAYS}
    if not isinstance(wanted, list) or not all(isinstance(name, str) for name in wanted):
        raise invalid_message(INVALID_PARAMS, f"_meta.{META}: a list of names of tools is needed: {', '.join(WAYS)}")
    if any(name.replace(".", "_") not in known for name in wanted):
        raise invalid_message(INVALID_PARAMS, f"_meta.{META}: a client can carry out {', '.join(WAYS)}, nothing else")
    return frozenset(known[name.replace(".", "_")] for name in wanted)


@functools.cache
def by_client(tool: Tool) -> Tool:
    """That tool, carried out by the client; it looks the same to the model. The same object every time."""

    async def plan(ctx: ToolContext, args: "BaseModel") -> Act:
        return _act(ctx, tool, WAYS[tool.name], args.model_dump(mode="json", exclude_unset=True, exclude_none=True))

    return replace(tool, needs=frozenset(), plan=plan)


def _act(ctx: ToolContext, tool: Tool, way: _Way, arguments: dict[str, Any]) -> Act:
    shown = arguments.get(way.shown) or ""
    body = shown if way.language is None else text.fenced(shown, way.language)

    async def do() -> ToolResult:
        try:
            called = await ctx.hands.call(
                ctx.call_id, tool.name, arguments, patience=way.patience, seconds=_seconds(ctx, tool, arguments)
            )
        except Timeout as exc:
            return _unanswered(way, exc.message)
        except HandsError as exc:
            return ToolResult(False, exc.message, code="TOOL_FAILED")
        if tool.name == REVIEW:
            await approve(ctx, arguments["patch"], called)
        return _result(ctx, tool, way, called)

    return Act(
        title=_title(way, arguments),
        kind=way.kind,
        effects=way.effects,
        do=do,
        locations=_locations(ctx, arguments),
        content=[build.content(body)] if shown else [],
        by_client=True,
    )


def _seconds(ctx: ToolContext, tool: Tool, arguments: Mapping[str, Any]) -> float:
    """How long the work itself may take, beyond what any client is given to answer."""
    if tool.name != "run_command":
        return 0.0
    asked = arguments.get("timeout_seconds") or ctx.limits.command_seconds
    return min(asked, ctx.limits.max_command_seconds)


def _title(way: _Way, arguments: Mapping[str, Any]) -> str:
    subject = arguments.get(way.subject) or arguments.get("command" if way.subject == "argv" else "") or ""
    words = " ".join(subject) if isinstance(subject, list) else str(subject)
    line = "".join(char if char.isprintable() else " " for char in words[: 4 * LONGEST_TITLE])
    return f"{way.title} {text.head(' '.join(line.split()), LONGEST_TITLE)}".rstrip()


def _locations(ctx: ToolContext, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of what lies in the session's directories; where else the client reaches is its own matter."""
    path = arguments.get("path")
    try:
        return [] if path is None else [build.location(ctx.roots.resolve(path), arguments.get("line"))]
    except PathOutsideRoots:
        return []


def _unanswered(way: _Way, why: str) -> ToolResult:
    if way.patience == "answer":
        return ToolResult(False, "nobody answered in time", code=TOOL_TIMEOUT, end_turn_step=True)
    unknown = "" if way.effects == "none" else ". Its outcome is unknown: check before you repeat it"
    return ToolResult(False, f"{why}{unknown}", code=TOOL_TIMEOUT)


def _result(ctx: ToolContext, tool: Tool, way: _Way, called: Called) -> ToolResult:
    whole = text.plain(called.content).replace("\0", "\ufffd")
    cut = text.middle_cut if tool.name == "run_command" else text.head
    kept = cut(whole, ctx.limits.read_bytes if tool.name == "read_file" else ctx.limits.output_bytes)
    note = "" if len(kept) == len(whole) else f"\ncut here: it has {text.size(whole)} bytes; ask for less at once"
    if not kept.strip():
        said = "it failed; the client did not say why" if not called.ok else "it is empty" if way.data else "done"
    else:
        said = f"{text.data(kept) if way.data else kept}{note}"
    code = None if called.ok else _code(called.code)
    shown = None if not way.data or not kept.strip() else [build.content(text.fenced(kept, way.language or ""))]
    return ToolResult(called.ok, said, content=shown, raw=_raw(called.raw), code=code)


def _code(code: str | None) -> str:
    """A word such as TOOL_TIMEOUT, as the client has it; else ours."""
    fits = code is not None and len(code) <= LONGEST_CODE and code.isascii() and code.replace("_", "").isalnum()
    return code if code is not None and fits else "TOOL_FAILED"


def _raw(raw: Any) -> Any:
    """What is shown and kept of it: all, or nothing where that is too much."""
    if raw is None or too_deep(raw):
        return None
    try:
        return raw if len(orjson.dumps(raw)) <= RAW_BYTES else None
    except (TypeError, ValueError):  # half surrogates, numbers that are too large
        return None
