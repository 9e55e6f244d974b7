"""apply_patch_review: the person chooses which hunks of a patch they want; what they chose needs no second question.

With forms it is one question with all hunks in it, without them one permission request a hunk.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field

from acp_wire import build
from ars_acp.hands import Timeout
from ars_acp.tools import patching, text
from ars_acp.tools.arguments import Arguments
from ars_acp.tools.patch.apply import apply
from ars_acp.tools.patch.model import Applied, FilePatch, Hunk, PatchError, approval
from ars_acp.tools.patch.render import render, render_hunk
from ars_acp.tools.tool import Act, Tool, ToolContext, ToolResult

_ACCEPT, _ACCEPT_REST, _REJECT, _REJECT_REST = "accept", "accept-rest", "reject", "reject-rest"


class ApplyPatchReview(Arguments):
    patch: str = Field(description="The patch, in any form that apply_patch takes.")


@dataclass(frozen=True, slots=True)
class _Choice:
    """What the person takes or leaves: one hunk, or a file that comes, goes or moves."""

    file: int
    title: str
    text: str  # as a diff shows it
    hunk: Hunk | None = None


async def plan(ctx: ToolContext, args: ApplyPatchReview) -> Act:
    applied = await patching.prepare(ctx, args.patch)
    if text.size(render(applied, ctx.roots.show)) > ctx.limits.output_bytes:
        raise PatchError("the patch is too large to be reviewed at once: split it")
    changes = [it.change for it in applied]
    choices = _choices(ctx, applied)
    shown = patching.content(ctx.roots, changes)

    async def do() -> ToolResult:
        ask = _by_form if "form" in ctx.hands.can else _by_permission
        try:
            accepted = await ask(ctx, applied, choices)
        except Timeout:
            told = "nobody answered the review in time: nothing is accepted"
            return ToolResult(False, told, content=shown, code="TOOL_TIMEOUT", end_turn_step=True)
        return replace(_result(ctx, applied, choices, accepted), content=shown)

    return Act(
        title=f"Review: {patching.title(ctx.roots, changes)}",
        kind="other",
        effects="none",
        do=do,
        locations=patching.locations(applied),
        content=shown,
    )


def _choices(ctx: ToolContext, applied: Sequence[Applied]) -> list[_Choice]:
    choices = []
    for at, it in enumerate(applied):
        named = patching.described(ctx.roots, it.change)
        if it.change.old_text is None or it.change.new_text is None:
            choices.append(_Choice(at, named, "".join(map(render_hunk, it.hunks))))
            continue
        if it.change.move_to is not None:
            choices.append(_Choice(at, named.replace("Move and edit", "Move"), ""))
        for hunk in it.hunks:
            counts = [sum(op == wanted for op, _ in hunk.lines) for wanted in "+-"]
            name = ctx.roots.show(it.change.path)
            where = f"{name}, line {hunk.start or 1} (+{counts[0]} -{counts[1]})"
            choices.append(_Choice(at, where, render_hunk(hunk), hunk))
    return choices


async def _by_form(ctx: ToolContext, applied: Sequence[Applied], choices: Sequence[_Choice]) -> set[int]:
    """One form with a choice of hunks; all are chosen to begin with."""
    numbers = [str(number) for number in range(1, len(choices) + 1)]
    titled = [{"const": n, "title": f"{n}: {it.title}"} for n, it in zip(numbers, choices, strict=True)]
    property_ = {"type": "array", "title": "Hunks to apply", "items": {"anyOf": titled}, "default": numbers}
    message = "Which of these changes do you want?\n\n" + "\n".join(
        f"{n}: {it.title}\n{it.text}" for n, it in zip(numbers, choices, strict=True)
    )
    form = await ctx.hands.form(message, {"type": "object", "properties": {"hunks": property_}}, ctx.call_id)
    chosen = form.content.get("hunks") if form.action == "accept" else None
    return {at for at, n in enumerate(numbers) if isinstance(chosen, list) and n in chosen}


async def _by_permission(ctx: ToolContext, applied: Sequence[Applied], choices: Sequence[_Choice]) -> set[int]:
    """A permission request for each hunk. Closing one is a no to it and to those that follow."""
    accepted: set[int] = set()
    for at, choice in enumerate(choices):
        options = [build.permission_option(_ACCEPT, "Accept this hunk", "allow_once")]
        reject = [build.permission_option(_REJECT, "Reject this hunk", "reject_once")]
        if at + 1 < len(choices):
            options.append(build.permission_option(_ACCEPT_REST, "Accept this and all that follow", "allow_once"))
            reject.append(build.permission_option(_REJECT_REST, "Reject this and all that follow", "reject_once"))
        call = _question(ctx, applied[choice.file], choice, f"Hunk {at + 1} of {len(choices)}")
        answer = await ctx.hands.ask(call, [*options, *reject])
        if answer == _ACCEPT:
            accepted.add(at)
        elif answer == _ACCEPT_REST:
            return accepted | set(range(at, len(choices)))
        elif answer != _REJECT:
            return accepted if answer == _REJECT_REST else set()
    return accepted


def _question(ctx: ToolContext, applied: Applied, choice: _Choice, which: str) -> dict[str, Any]:
    """The tool call of a permission request for one hunk, with that hunk as the diff."""
    path, change = applied.change.path, applied.change
    if choice.hunk is not None:
        old, new = ("\n".join(it) + "\n" if it else "" for it in (choice.hunk.old, choice.hunk.new))
        shown = [build.diff(path, old, new)]
    elif change.old_text is None or change.new_text is None:
        shown = [build.diff(path, change.old_text, change.new_text or "")]
    else:
        shown = [build.content(choice.title)]
    line = choice.hunk.start or 1 if choice.hunk else None
    where = [build.location(path, line)]
    if change.move_to is not None:
        where.append(build.location(change.move_to))
    return build.permission_tool_call(
        ctx.call_id, title=f"{which}: {choice.title}", kind="edit", content=shown, locations=where
    )


def _result(ctx: ToolContext, applied: Sequence[Applied], choices: Sequence[_Choice], accepted: set[int]) -> ToolResult:
    """The patch of what was accepted, which `apply_patch` will not ask about."""
    raw = {"accepted": len(accepted), "of": len(choices)}
    if not accepted:
        return ToolResult(True, "the person rejected all of it: nothing is to be applied", raw=raw)
    kept = _accepted(applied, choices, accepted)
    ctx.approved_patches.add(approval(it.change for it in kept))
    left = [f"rejected: {it.title}" for at, it in enumerate(choices) if at not in accepted]
    summary = f"the person accepted {len(accepted)} of {len(choices)}; now call apply_patch with exactly this patch:"
    return ToolResult(True, "\n".join([*left, summary, render(kept, ctx.roots.show)]), raw=raw)


def _accepted(applied: Sequence[Applied], choices: Sequence[_Choice], accepted: set[int]) -> list[Applied]:
    """What was accepted of each file, put into its text anew."""
    kept = []
    for at, it in enumerate(applied):
        taken = [choices[number] for number in sorted(accepted) if choices[number].file == at]
        if not taken:
            continue
        change = it.change
        if change.old_text is None or change.new_text is None:
            kept.append(it)
            continue
        hunks = tuple(choice.hunk for choice in taken if choice.hunk is not None)
        move_to = change.move_to if len(taken) > len(hunks) else None
        part = FilePatch("update", change.path, hunks, move_to, it.executable)
        kept.append(apply(part, change.old_text, change.path))
    return kept


TOOL = Tool(
    name="apply_patch_review",
    description=(
        "Show a patch to the person, who chooses which of its hunks they want. Changes nothing; gives you the accepted "
        "patch, which you then pass to apply_patch unchanged."
    ),
    arguments=ApplyPatchReview,
    needs=frozenset({"read", "write"}),
    read_only=False,
    plan=plan,
)
