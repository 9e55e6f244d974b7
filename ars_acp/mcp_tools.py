"""The tools of MCP servers as tools of ours: their names, the act that is shown and asked for, the answer as a result.

A server's word is never a reason to ask less: whatever it says of a tool, calling it counts as execution.
"""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

from pydantic import RootModel

from acp_wire import build
from ars_acp.errors import TOOL_TIMEOUT
from ars_acp.hands import HandsError
from ars_acp.tools import text
from ars_acp.tools.tool import Act, Tool, ToolContext, ToolResult

LONGEST_NAME = 64
LONGEST_DESCRIPTION = 4096
LARGEST_SCHEMA = 64 * 1024
MOST_TOOLS = 100  # of one server: providers take few more in all
LARGEST_SHOWN = 8 * 1024 * 1024  # of an image, as the base64 text that it comes in
SHOWN_ARGUMENTS = 16 * 1024


class ServerFault(HandsError):
    """A server did not do what it was asked to; the text says why."""

    code = "MCP_FAILED"


class TimedOut(Exception):
    """A server did not answer a call in time; it was told that nobody waits any more."""


@dataclass(frozen=True)
class Listed:
    """A tool as its server describes it."""

    name: str
    description: str
    schema: dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What came of a call: content blocks as MCP, and so ACP, writes them."""

    ok: bool
    blocks: list[dict[str, Any]]
    structured: Any = None


Call = Callable[[str, dict[str, Any], float], Awaitable[Answer]]


class AsGiven(RootModel[dict[str, Any]]):
    """Arguments that the server will check by its own schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class McpTool(Tool):
    """A tool whose arguments are described by the server."""

    schema: dict[str, Any]

    def spec(self) -> dict[str, Any]:
        function = {"name": self.model_name, "description": self.description, "parameters": self.schema}
        return {"type": "function", "function": function}


def tools_of(server: str, listed: Collection[Listed], taken: set[str], call: Call, seconds: float) -> list[Tool]:
    """The tools of one server, under names that no other has (`taken` grows by them).

    What is too large or too many is left out.
    """
    tools: list[Tool] = []
    for it in listed:
        if len(tools) == MOST_TOOLS:
            break
        if len(json.dumps(it.schema, default=str)) > LARGEST_SCHEMA:
            continue
        name = _named(server, it.name, taken)
        tools.append(
            McpTool(
                name=name,
                description=text.head(f"{it.description}\n(A tool of the MCP server {server}.)", LONGEST_DESCRIPTION),
                arguments=AsGiven,
                needs=frozenset(),
                read_only=False,
                plan=_planner(server, it.name, call, seconds),
                schema={"type": "object", "properties": {}} | {k: v for k, v in it.schema.items() if k != "$schema"},
            )
        )
    return tools


def _named(server: str, tool: str, taken: set[str]) -> str:
    whole = "mcp__" + "__".join(re.sub(r"[^a-zA-Z0-9_-]", "_", part) or "_" for part in (server, tool))
    name = whole
    if len(whole) > LONGEST_NAME or whole in taken:
        mark = hashlib.sha256(f"{server}\0{tool}\0{len(taken)}".encode("utf-8", "surrogatepass")).hexdigest()[:8]
        name = f"{whole[: LONGEST_NAME - 9]}_{mark}"
    taken.add(name)
    return name


def _planner(server: str, tool: str, call: Call, seconds: float) -> Callable[[ToolContext, Any], Awaitable[Act]]:
    async def plan(ctx: ToolContext, args: AsGiven) -> Act:
        async def do() -> ToolResult:
            try:
                answer = await call(tool, args.root, seconds)
            except TimedOut:
                said = f"The MCP server {server} did not answer within {seconds:g} seconds; it was told to stop."
                return ToolResult(False, said, code=TOOL_TIMEOUT)
            return _result(answer, ctx.limits.output_bytes)

        asked = json.dumps(args.root, ensure_ascii=False, indent=2)
        return Act(
            title=f"{visible(server)}: {visible(tool)}",
            kind="other",
            effects="execute",
            do=do,
            content=[build.content(text.fenced(text.middle_cut(asked, SHOWN_ARGUMENTS), "json"))],
        )

    return plan


def visible(name: str) -> str:
    """A name from outside, on one line and without what hides."""
    return "".join(char for char in name if text.hidden_character(char, allowed="") is None)[:100] or "(no name)"


def _result(answer: Answer, limit: int) -> ToolResult:
    read: list[str] = []
    shown: list[dict[str, Any]] = []
    for block in answer.blocks:
        words, content = _block(block)
        read.append(words)
        if content is not None:
            shown.append(build.content(content))
    if not read and answer.structured is not None:
        read.append(json.dumps(answer.structured, ensure_ascii=False))
    whole = text.middle_cut("\n".join(read), limit)
    if whole.strip():
        shown.insert(0, build.content(whole))
    framed = text.data(whole) if whole.strip() else "It answered nothing."
    return ToolResult(answer.ok, framed if answer.ok else f"It failed.\n{framed}", shown or None)


def _block(block: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
    """What the model reads of a block, and what the person sees beside that."""
    match block:
        case {"type": "text", "text": str(words)}:
            return words, None
        case {"type": "image" | "audio" as kind, "data": str(data), "mimeType": str(mime)}:
            size = len(data) * 3 // 4
            if len(data) > LARGEST_SHOWN:
                return f"[{kind}, {mime}, {size} bytes: too large to be shown]", None
            content = build.content_image(data, mime) if kind == "image" else build.content_audio(data, mime)
            return f"[{kind}, {mime}, {size} bytes: shown to the person]", content
        case {"type": "resource_link", "uri": str(uri), "name": str(name)}:
            return f"[resource {name}: {uri}]", build.content_resource_link(name, uri)
        case {"type": "resource", "resource": {"uri": str(uri), "text": str(words)}}:
            return f"[resource {uri}]\n{words}", None
        case {"type": "resource", "resource": {"uri": str(uri), "blob": str(data)}}:
            return f"[resource {uri}, {len(data) * 3 // 4} bytes, not text]", None
    return f"[{block.get('type')} that is not shown]", None
