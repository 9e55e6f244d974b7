"""apply_patch: changes to several files at once, all of them or none."""

from pydantic import Field

from ars_acp.tools import patching
from ars_acp.tools.arguments import Arguments
from ars_acp.tools.leash import is_protected
from ars_acp.tools.patch.model import Applied, approval
from ars_acp.tools.patch_write import carry_out
from ars_acp.tools.tool import Act, Tool, ToolContext, ToolResult


class ApplyPatch(Arguments):
    patch: str = Field(description="The patch: a unified or git diff, or the *** Begin Patch form.")


async def plan(ctx: ToolContext, args: ApplyPatch) -> Act:
    applied = await patching.prepare(ctx, args.patch)
    changes = [it.change for it in applied]
    shown = patching.content(ctx.roots, changes)
    key = approval(changes)
    approved = key in ctx.approved_patches

    async def do() -> ToolResult:
        if approved and key not in ctx.approved_patches:
            return ToolResult(False, "this review has been used up: ask again", content=shown, code="REFUSED")
        ctx.approved_patches.discard(key)
        failure = await carry_out(ctx, changes)
        if failure is not None:
            return ToolResult(False, failure.message, content=shown, code=failure.code)
        return ToolResult(True, _done(ctx, applied), content=shown, raw={"files": len(changes)})

    return Act(
        title=patching.title(ctx.roots, changes),
        kind=patching.kind(changes),
        effects="write",
        do=do,
        locations=patching.locations(applied),
        content=shown,
        approved=approved,
        protected=is_protected(ctx.roots, patching.paths(changes)),
    )


def _done(ctx: ToolContext, applied: list[Applied]) -> str:
    lines = []
    for it in applied:
        starts = ", ".join(str(hunk.start or 1) for hunk in it.hunks[:20])
        edited = it.change.old_text is not None and it.change.new_text is not None and it.hunks
        lines.append(patching.described(ctx.roots, it.change) + (f", from line {starts}" if edited else ""))
    modes = [ctx.roots.show(it.change.path) for it in applied if it.executable]
    if modes:
        lines.append(f"File modes were not changed ({', '.join(modes)}): use chmod through run_command.")
    return "\n".join(["applied:", *lines])


TOOL = Tool(
    name="apply_patch",
    description=(
        "Change, create, delete and move files with one patch: a unified diff with a/ and b/ names, a git diff, or\n"
        "*** Begin Patch\n*** Update File: src/a.py\n@@ def f():\n unchanged line\n-old line\n+new line\n"
        "*** Add File: b.py\n+text\n*** Delete File: c.py\n*** End Patch\n"
        "Give each hunk three unchanged lines around, copied from the file to the letter; line numbers may be off. "
        "A hunk that fits nowhere, or in several places, is refused, and then nothing of the patch is applied."
    ),
    arguments=ApplyPatch,
    needs=frozenset({"read", "write"}),
    read_only=False,
    plan=plan,
)
