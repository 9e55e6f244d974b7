"""The text that a change starts from: read before it is shown, and looked at again right before it is written."""

from ars_acp.hands import NotFound, Refused
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
