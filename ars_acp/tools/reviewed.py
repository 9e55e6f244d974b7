"""What a review that the client carried out itself has approved: the patch that came back, where nothing speaks against
it.

Approved is what the client says a person has accepted, as it stands: a patch and nothing else, each file's part of it
as it stood in the reviewed one, hunk by hunk, put into the files that are here. Whatever else comes back approves
nothing: `apply_patch` asks.
"""

import re
from collections.abc import Sequence

from ars_acp.hands import Called, HandsError
from ars_acp.tools import patching
from ars_acp.tools.patch.model import Applied, approval
from ars_acp.tools.tool import ToolContext

REVIEW = "apply_patch_review"
# Prose among a patch's lines says nothing to whoever applies it, but may say no to a reader.
_OF_A_PATCH = re.compile(r"[ +\-@\\]|\*\*\* |(?:diff --git|index|new|old|deleted|similarity|rename) |$")


async def approve(ctx: ToolContext, patch: str, called: Called) -> None:
    """Notes what the client's answer to the review of `patch` has approved, for one `apply_patch` of this turn."""
    if not (called.ok and called.approved and {"read", "write"} <= ctx.hands.can):
        return
    if not all(map(_OF_A_PATCH.match, called.content.splitlines())):
        return
    try:
        reviewed = await patching.prepare(ctx, patch)
        kept = await patching.prepare(ctx, called.content)
    except HandsError:
        return
    if all(_is_part(it, reviewed) for it in kept):
        ctx.approved_patches.add(approval(it.change for it in kept))


def _is_part(kept: Applied, reviewed: Sequence[Applied]) -> bool:
    """Whether that was reviewed: all of a file's part, or some of its hunks."""
    whole = next((it for it in reviewed if it.change.path == kept.change.path), None)
    if whole is None or kept.change == whole.change:
        return whole is not None
    texts = (kept.change.old_text, kept.change.new_text, whole.change.new_text)
    return (
        None not in texts
        and kept.change.old_text == whole.change.old_text
        and kept.change.move_to in (None, whole.change.move_to)
        and set(kept.hunks) <= set(whole.hunks)
    )
