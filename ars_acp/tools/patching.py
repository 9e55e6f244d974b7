"""A patch on its way from text to changes of this project: paths resolved, files read, hunks placed. Writes nothing."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from acp_wire import build
from ars_acp.hands import Refused, Unsupported
from ars_acp.tools import text
from ars_acp.tools.leash import refuse_forbidden
from ars_acp.tools.old_text import read_old
from ars_acp.tools.patch.apply import apply
from ars_acp.tools.patch.model import Applied, FileChange, FilePatch, PatchError
from ars_acp.tools.patch.parse import parse
from ars_acp.tools.roots import Roots
from ars_acp.tools.tool import InvalidArguments, ToolContext

_NAMED_IN_TITLE = 6


async def prepare(ctx: ToolContext, patch: str) -> list[Applied]:
    """All that `patch` would do, with absolute paths. The whole patch is understood and fits, or this raises.

    Every path, of a move's target too, is inside the roots and may be written. Raises Unsupported for deletions and
    moves where the client runs no commands.
    """
    if text.size(patch) > ctx.limits.patch_bytes:
        raise InvalidArguments("the patch is too large: split it")
    if "\0" in patch:
        raise InvalidArguments("the patch holds a NUL character: only text can be patched")
    files = _merged([_resolved(ctx.roots, it) for it in parse(patch)])
    _refuse_collisions(ctx.roots, files)
    if "run" not in ctx.hands.can and any(it.kind == "delete" or it.move_to for it in files):
        raise Unsupported("this client runs no commands, so files can be neither deleted nor moved; leave that out")
    applied = []
    for file in files:
        name = ctx.roots.show(file.path)
        old = await read_old(ctx, file.path)
        if file.kind == "update" and file.hunks and old and "\ufffd" in old:
            raise Refused(f"{name} seems not to be UTF-8: written back as text it would be damaged")
        applied.append(apply(file, old, name))
        if file.move_to is not None and await read_old(ctx, file.move_to) is not None:
            raise PatchError(f"{name}: it cannot be moved to {ctx.roots.show(file.move_to)}, which exists")
    return applied


def paths(changes: Sequence[FileChange]) -> list[str]:
    """Every path that `changes` touch."""
    return [path for it in changes for path in (it.path, it.move_to) if path is not None]


def described(roots: Roots, change: FileChange) -> str:
    """What becomes of one file, for a title: "Delete a.py"."""
    name = roots.show(change.path)
    if change.move_to is not None:
        edited = "" if change.old_text == change.new_text else " and edit"
        return f"Move{edited} {name} to {roots.show(change.move_to)}"
    if change.old_text is None:
        return f"Create {name}"
    return f"Delete {name}" if change.new_text is None else f"Edit {name}"


def title(roots: Roots, changes: Sequence[FileChange]) -> str:
    """Names every file, or says how many there are; `content` then names them."""
    if len(changes) <= _NAMED_IN_TITLE:
        return ", ".join(described(roots, it) for it in changes)
    return f"Change {len(changes)} files"


def content(roots: Roots, changes: Sequence[FileChange]) -> list[dict[str, Any]]:
    """The tool call content that shows `changes` whole: diffs, and in words what no diff can say."""
    told = [it for it in changes if it.move_to or it.new_text is None or len(changes) > _NAMED_IN_TITLE]
    shown = [build.content("\n".join(described(roots, it) for it in told))] if told else []
    changed = [it for it in changes if it.old_text != it.new_text]
    return shown + [build.diff(it.move_to or it.path, it.old_text, it.new_text or "") for it in changed]


def locations(applied: Sequence[Applied]) -> list[dict[str, Any]]:
    """Where `applied` changes something: every path, the changed ones with their first line."""
    found = []
    for it in applied:
        line = it.hunks[0].start or 1 if it.hunks else None
        found.append(build.location(it.change.path, line))
        if it.change.move_to is not None:
            found.append(build.location(it.change.move_to))
    return found


def kind(changes: Sequence[FileChange]) -> str:
    """The ACP kind of a call that makes `changes`."""
    if all(it.new_text is None for it in changes):
        return "delete"
    return "move" if all(it.move_to and it.old_text == it.new_text for it in changes) else "edit"


def _resolved(roots: Roots, file: FilePatch) -> FilePatch:
    path = roots.resolve(file.path)
    move_to = None if file.move_to is None else roots.resolve(file.move_to)
    for it in (path, move_to):
        if it is not None:
            refuse_forbidden(roots, it)
    return replace(file, path=path, move_to=None if move_to == path else move_to)


def _merged(files: Sequence[FilePatch]) -> list[FilePatch]:
    """Several parts that each change the same file, as models write them, made one."""
    merged: list[FilePatch] = []
    for file in files:
        last = next((it for it in merged if it.path == file.path), None)
        if last is not None and last.kind == file.kind == "update" and not last.move_to and not file.move_to:
            merged[merged.index(last)] = replace(last, hunks=(*last.hunks, *file.hunks))
        else:
            merged.append(file)
    return merged


def _refuse_collisions(roots: Roots, files: Sequence[FilePatch]) -> None:
    seen: set[str] = set()
    for path in (path for it in files for path in (it.path, it.move_to) if path is not None):
        if path in seen:
            raise PatchError(f"{roots.show(path)}: the patch does two different things with this file")
        seen.add(path)
