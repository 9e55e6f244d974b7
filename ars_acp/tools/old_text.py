"""The text that a change starts from, looked at again right before it is written; and commands that change files."""

import posixpath
from collections.abc import Sequence

from ars_acp.hands import NotFound, Refused, Timeout
from ars_acp.tools import text
from ars_acp.tools.tool import ToolContext


async def read_old(ctx: ToolContext, path: str) -> str | None:
    """The whole file as the editor holds it, None where there is no such file. Refuses huge and binary files."""
    try:
        found = await ctx.hands.read(path)
    except NotFound:
        return None
    if text.size(found) > ctx.limits.file_bytes:
        raise Refused(f"{ctx.roots.show(path)} is too large to be changed this way: use run_command")
    if "\0" in found:
        raise Refused(f"{ctx.roots.show(path)} is binary: it cannot be changed as text")
    return found


async def refuse_changed(ctx: ToolContext, path: str, planned: str | None) -> None:
    """Raise Refused when the file no longer holds what the plan, and whoever approved it, saw."""
    if await read_old(ctx, path) != planned:
        raise Refused(f"{ctx.roots.show(path)} has changed since this call was planned: read it again")


async def create(ctx: ToolContext, path: str, new: str) -> None:
    """Write a file that is new; its directory is made where the client does not do that by itself."""
    try:
        await ctx.hands.write(path, new)
    except Refused:
        if "run" not in ctx.hands.can:
            raise
        await run_or_refuse(ctx, ["mkdir", "-p", "--", posixpath.dirname(path)])
        await ctx.hands.write(path, new)


async def run_or_refuse(ctx: ToolContext, argv: Sequence[str]) -> None:
    """Run a command that changes files; its last argument is a resolved path. Raises Refused where it fails."""
    root, _ = ctx.roots.split(argv[-1])
    ran = await ctx.hands.run(argv, cwd=root, timeout=ctx.limits.search_seconds, output_limit=ctx.limits.terminal_bytes)
    if ran.timed_out:
        raise Timeout(f"{argv[0]} did not end in time")
    if ran.exit_code != 0:
        raise Refused(f"{argv[0]} failed: {text.head(text.plain(ran.output).strip(), 500)}")
