"""Reads a patch: a unified diff, a git diff, or the `*** Begin Patch` form."""

from ars_acp.tools.patch import begin_patch, unified
from ars_acp.tools.patch.model import FilePatch, PatchError

_MOST_FILES = 500
_MOST_HUNKS = 5000


def parse(patch: str) -> list[FilePatch]:
    """All that `patch` says, or PatchError: a patch is understood whole or not at all.

    Paths are as written, without git's a/ and b/; whoever uses them must resolve them.
    """
    lines = _lines(patch)
    if any(line.rstrip() == begin_patch.BEGIN for line in lines[:1]):
        files = begin_patch.parse(lines)
    else:
        files = unified.parse(lines)
    if not files:
        raise PatchError("the patch holds no change: it needs ---, +++ and @@ lines, or the *** Begin Patch form")
    if len(files) > _MOST_FILES or sum(len(it.hunks) for it in files) > _MOST_HUNKS:
        raise PatchError("the patch is too large: split it")
    return files


def _lines(patch: str) -> list[str]:
    """The patch's lines, without a Markdown fence, blank lines around, and CRs that are only the transport's."""
    lines = patch.split("\n")
    if all(line.endswith("\r") for line in lines if line):
        lines = [line.removesuffix("\r") for line in lines]
    while lines and not lines[0].strip():
        del lines[0]
    if lines and lines[-1] == "":
        del lines[-1]
    if lines and lines[0].startswith("```"):
        end = len(lines) - 1
        while end > 0 and not lines[end].strip():
            end -= 1
        lines = lines[1:end] if lines[end].strip() == "```" else lines[1:]
        while lines and not lines[0].strip():
            del lines[0]
    return lines
