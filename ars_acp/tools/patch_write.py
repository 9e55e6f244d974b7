"""Makes the changes of a patch, all of them or none: where one fails, those already made are put back.

A cancellation in the middle is not put back: nobody may wait for the client then.
"""

import posixpath
from collections.abc import Sequence

from ars_acp.hands import HandsError, Refused, Timeout
from ars_acp.tools.old_text import create, read_old, refuse_changed, run_or_refuse
from ars_acp.tools.patch.model import FileChange
from ars_acp.tools.tool import ToolContext


async def carry_out(ctx: ToolContext, changes: Sequence[FileChange]) -> HandsError | None:
    """Make `changes`. Returns None, or the error that stopped it, whose message tells what could not be put back."""
    begun: list[FileChange] = []
    ctx.changing(changes)
    for change in changes:
        try:
            await check(ctx, change)
            begun.insert(0, change)
            await make(ctx, change)
        except HandsError as exc:
            # The failed one too: of a write that was not answered nobody knows whether it happened.
            left = await _put_back(ctx, begun)
            told = "; nothing was changed" if not left else f". NOT put back, look at them: {'; '.join(left)}"
            return type(exc)(f"{exc.message}{told}")
    return None


async def check(ctx: ToolContext, change: FileChange) -> None:
    """Raise Refused unless everything is still as the plan saw it."""
    await refuse_changed(ctx, change.path, change.old_text)
    if change.move_to is not None:
        await refuse_changed(ctx, change.move_to, None)


async def make(ctx: ToolContext, change: FileChange) -> None:
    """Make one change, unchecked. Raises HandsError."""
    path, new = change.path, change.new_text
    if change.move_to is not None and new is not None:
        await _move(ctx, path, change.move_to)
        if await read_old(ctx, change.move_to) != new:
            await ctx.hands.write(change.move_to, new)
    elif new is None:
        await run_or_refuse(ctx, ["rm", "--", path])
    elif change.old_text is None:
        await create(ctx, path, new)
    else:
        await ctx.hands.write(path, new)


async def _move(ctx: ToolContext, old: str, new: str) -> None:
    if posixpath.dirname(old) != posixpath.dirname(new):
        await run_or_refuse(ctx, ["mkdir", "-p", "--", posixpath.dirname(new)])
    await run_or_refuse(ctx, ["mv", "-n", "--", old, new])
    if await read_old(ctx, new) is None:
        raise Refused(f"{ctx.roots.show(old)} was not moved: something else may stand there")


async def _put_back(ctx: ToolContext, changes: Sequence[FileChange]) -> list[str]:
    """Undo `changes`, judging by what the files hold now. Returns what could not be undone, and why."""
    left: list[str] = []
    for at, change in enumerate(changes):
        name = ctx.roots.show(change.move_to or change.path)
        try:
            await _undo(ctx, change)
        except Timeout:
            # The client answers no more: waiting for each of the others would not help.
            return [*left, *(f"{ctx.roots.show(it.path)} (no answer)" for it in changes[at:])]
        except HandsError as exc:
            left.append(f"{name} ({exc.message})")
    return left


async def _undo(ctx: ToolContext, change: FileChange) -> None:
    found = await read_old(ctx, change.path)
    if change.move_to is not None:
        moved = await read_old(ctx, change.move_to)
        if found is None and moved in (change.old_text, change.new_text):
            await _move(ctx, change.move_to, change.path)
            found = moved
        elif moved is not None:
            raise Refused("somebody else changed it meanwhile")
    if found == change.old_text:
        return
    if found != change.new_text:
        raise Refused("somebody else changed it meanwhile")
    if change.old_text is not None:
        await ctx.hands.write(change.path, change.old_text)
    elif "run" in ctx.hands.can:
        await run_or_refuse(ctx, ["rm", "--", change.path])
    else:
        raise Refused("this client cannot delete it")
