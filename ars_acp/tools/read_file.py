"""read_file: a text file, or a range of its lines, as the editor holds it."""

from pydantic import Field

from acp_wire import build
from ars_acp.hands import Refused
from ars_acp.tools import text
from ars_acp.tools.arguments import Arguments
from ars_acp.tools.tool import Act, Tool, ToolContext, ToolResult


class ReadFile(Arguments):
    path: str = Field(description="File, relative to the project.")
    line: int | None = Field(None, ge=1, le=2**31, description="First line to read, from 1.")
    limit: int | None = Field(None, ge=1, le=2**31, description="How many lines; 2000 if absent.")


async def plan(ctx: ToolContext, args: ReadFile) -> Act:
    path = ctx.roots.resolve(args.path)
    first = args.line or 1
    limit = min(args.limit or ctx.limits.read_lines, 2**31)

    async def do() -> ToolResult:
        # One line more than asked for tells whether the file goes on.
        found = await ctx.hands.read(path, line=args.line, limit=limit + 1)
        return _result(ctx, path, found, first, limit)

    lines = "" if args.line is None else f":{first}"
    return Act(
        title=f"Read {ctx.roots.show(path)}{lines}",
        kind="read",
        effects="none",
        do=do,
        locations=[build.location(path, args.line)],
    )


def _result(ctx: ToolContext, path: str, found: str, first: int, limit: int) -> ToolResult:
    name = ctx.roots.show(path)
    if "\0" in found[: 1 << 20]:
        raise Refused(f"{name} is binary: it cannot be read as text")
    wanted = _first_lines(found, limit)
    kept = text.head(wanted, ctx.limits.read_bytes)
    if len(kept) < len(wanted):
        kept = kept[: kept.rfind("\n") + 1] or kept
    count = kept.count("\n") + (not kept.endswith("\n"))
    if not kept:
        return ToolResult(True, f"{name} is empty" if first == 1 else f"{name} has no line {first}")
    last = first + count - 1
    note = ""
    if len(kept) < len(found):
        whole_line = kept.endswith("\n")
        note = f"; cut here, read on with line={last + 1}" if whole_line else f"; line {last} is too long and was cut"
    return ToolResult(True, f"{name}, lines {first}-{last}{note}\n{text.data(kept)}")


def _first_lines(found: str, limit: int) -> str:
    end = 0
    for _ in range(limit):
        newline = found.find("\n", end)
        if newline < 0:
            return found
        end = newline + 1
    return found[:end]


TOOL = Tool(
    name="read_file",
    description=(
        "Read a text file, with the editor's unsaved changes. Long files are cut; the answer tells where, "
        "so that you can read on with line and limit."
    ),
    arguments=ReadFile,
    needs=frozenset({"read"}),
    read_only=True,
    plan=plan,
)
