"""write_file: a whole file, new or replaced."""

from pydantic import Field

from acp_wire import build
from ars_acp.tools import text
from ars_acp.tools.arguments import Arguments
from ars_acp.tools.leash import is_protected, refuse_forbidden
from ars_acp.tools.old_text import create, read_old, refuse_changed
from ars_acp.tools.patch.model import FileChange
from ars_acp.tools.tool import Act, InvalidArguments, Tool, ToolContext, ToolResult


class WriteFile(Arguments):
    path: str = Field(description="File, relative to the project.")
    content: str = Field(description="The whole new text.")


async def plan(ctx: ToolContext, args: WriteFile) -> Act:
    path = ctx.roots.resolve(args.path)
    refuse_forbidden(ctx.roots, path)
    name = ctx.roots.show(path)
    if text.size(args.content) > ctx.limits.file_bytes:
        raise InvalidArguments(f"write_file: content is larger than {ctx.limits.file_bytes} bytes")
    if "\0" in args.content:
        raise InvalidArguments("write_file: content holds a NUL character; this tool writes text")
    readable = "read" in ctx.hands.can
    old = await read_old(ctx, path) if readable else None
    new, note = _with_newlines_of(old, args.content)

    # Without the old text a diff would claim that the file is new.
    shown = [build.diff(path, old, new) if readable else build.content(text.fenced(new))]

    async def do() -> ToolResult:
        if readable:
            await refuse_changed(ctx, path, old)
        ctx.changing([FileChange(path, old, new)], known=readable)
        await (create(ctx, path, new) if readable and old is None else ctx.hands.write(path, new))
        done = "Wrote" if not readable else "Created" if old is None else "Replaced"
        return ToolResult(True, f"{done} {name} ({text.size(new)} bytes){note}", content=shown)

    new_file = readable and old is None
    return Act(
        title=f"{'Create' if new_file else 'Write'} {name}",
        kind="edit",
        effects="write",
        do=do,
        locations=[build.location(path)],
        content=shown,
        protected=is_protected(ctx.roots, [path]),
    )


def _with_newlines_of(old: str | None, new: str) -> tuple[str, str]:
    """Models write plain newlines; a file that has CRLF throughout keeps it."""
    if not old or "\r" in new or "\n" not in new or old.count("\r\n") != old.count("\n") or "\n" not in old:
        return new, ""
    return new.replace("\n", "\r\n"), ", with the CRLF line ends it had"


TOOL = Tool(
    name="write_file",
    description="Create a file, or replace all of its text. For a change within a file use apply_patch.",
    arguments=WriteFile,
    needs=frozenset({"write"}),
    read_only=False,
    plan=plan,
)
