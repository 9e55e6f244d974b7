"""What a change of files leaves in the log, and how such changes are put back, the newest first.

A change is recorded before it is made, and judged by what the file holds when it is to be put back: what was there
before it (then it was never made, or is put back already), what it made, or something else, which is left alone. A file
is put back to where all these changes found it, or not at all.
"""

import contextlib
from collections.abc import Sequence
from typing import Any

from ars_acp.hands import HandsError, Refused, Timeout, Unsupported
from ars_acp.tools import patching
from ars_acp.tools.arguments import Arguments
from ars_acp.tools.leash import is_protected, refuse_forbidden
from ars_acp.tools.old_text import read_old
from ars_acp.tools.patch.model import FileChange
from ars_acp.tools.patch_write import check, make
from ars_acp.tools.roots import PathOutsideRoots, Roots
from ars_acp.tools.text import digest, size
from ars_acp.tools.tool import Act, Tool, ToolContext, ToolResult

Json = dict[str, Any]
# Bytes of a file's former text that are kept; a longer one cannot be put back.
KEPT = 2 * 1024 * 1024


def entry(call_id: str, changes: Sequence[FileChange], *, known: bool) -> Json:
    """The log's entry for changes that are about to be made; not `known` is what the files hold before."""
    return {"type": "files", "call": call_id, "changes": [_recorded(it, known) for it in changes]}


def _recorded(change: FileChange, known: bool) -> Json:
    recorded: Json = {"path": change.path, "after": None if change.new_text is None else digest(change.new_text)}
    if known and (change.old_text is None or size(change.old_text) <= KEPT):
        recorded["before"] = change.old_text
    if change.move_to is not None:
        recorded["moveTo"] = change.move_to
    return recorded


class Undo(Arguments):
    """What to put back is not the model's to say."""


class PutBack:
    """Recorded changes, oldest first, on their way back. `outcome` says what became of each file, by its path.

    An outcome is "restored", "unchanged" (it was as before), or the reason why the file was left as it is.
    """

    def __init__(self, recorded: Sequence[Json]) -> None:
        self._recorded = list(recorded)
        self.outcome: dict[str, str] = {}
        self._found: dict[str, str | None] = {}
        self._wanted: dict[str, str | None] = {}
        # Files whose changes only fit together, by path.
        self._bound: dict[str, set[str]] = {}
        self._moves: list[tuple[str, str]] = []
        # The client answers no more: waiting for each file would not help.
        self._silent = False

    def tool(self) -> Tool:
        """The call that does it: the person has asked for it, so only what is protected is asked about."""
        return Tool(
            name="undo",
            description="Put files back as they were before turns that are taken back.",
            arguments=Undo,
            needs=frozenset(),
            read_only=False,
            plan=self._plan,
        )

    def refuse_the_rest(self, reason: str) -> None:
        """What was to be put back stays as it is, for this reason."""
        for path in self._wanted:
            self.outcome.setdefault(path, reason)

    async def _plan(self, ctx: ToolContext, _: Undo) -> Act:
        for change in reversed(self._recorded):
            await self._step_back(ctx, change)
        changes = self._changes()
        paths = patching.paths(changes)
        shown = patching.content(ctx.roots, changes)
        protected = is_protected(ctx.roots, paths)

        async def do() -> ToolResult:
            for change in changes:
                await self._make(ctx, change)
            left = sum(it not in ("restored", "unchanged") for it in self.outcome.values())
            return ToolResult(not left, "\n".join(self.told(ctx.roots)), content=shown or None)

        return Act(
            title=f"Take back: {patching.title(ctx.roots, changes)}" if changes else "No file to put back",
            kind="edit",
            effects="write" if changes else "none",
            do=do,
            content=shown,
            approved=not protected,
            protected=protected,
        )

    def told(self, roots: Roots) -> list[str]:
        """A line for each file, in the order of their paths."""
        lines = []
        for path, outcome in sorted(self.outcome.items()):
            said = {"restored": "put back", "unchanged": "as it was before"}.get(outcome, f"left as it is: {outcome}")
            with contextlib.suppress(PathOutsideRoots):  # of a session that has moved
                path = roots.show(path)
            lines.append(f"{path}: {said}")
        return lines

    async def _step_back(self, ctx: ToolContext, change: Json) -> None:
        path, target = change["path"], change.get("moveTo")
        paths = [path] if target is None else [path, target]
        bound = set().union(*(self._bound.setdefault(it, {it}) for it in paths))
        for it in bound:
            self._bound[it] = bound
        try:
            if any(it in self.outcome for it in bound):
                raise Refused(next(self.outcome[it] for it in bound if it in self.outcome))
            for it in paths:
                await self._look(ctx, it)
            self._undo(change, path, target)
        except HandsError as exc:
            self._silent = self._silent or isinstance(exc, Timeout)
            for it in bound:
                self.outcome[it] = exc.message
                self._wanted.pop(it, None)

    async def _look(self, ctx: ToolContext, path: str) -> None:
        if path in self._found:
            return
        if not {"read", "write"} <= ctx.hands.can:
            raise Unsupported("this client does not both read and write files for its agent")
        self._refuse_silent()
        ctx.roots.split(path)
        refuse_forbidden(ctx.roots, path)
        self._found[path] = self._wanted[path] = await read_old(ctx, path)

    def _undo(self, change: Json, path: str, target: str | None) -> None:
        if "before" not in change:
            raise Refused("what it held before is not known")
        before, after = change["before"], change["after"]
        changed = path if target is None else target
        holds = self._wanted[changed]
        if _is(holds, after) and (target is None or self._wanted[path] is None):
            if target is not None:
                self._moves.append((target, path))
                self._wanted[target] = None
            self._wanted[path] = before
        elif self._wanted[path] != before or (target is not None and holds is not None):
            raise Refused("it was changed since")

    def _changes(self) -> list[FileChange]:
        """What is to be done: moves as such, so that a file keeps what else there is of it."""
        changes: list[FileChange] = []
        rest = {path for path, text in self._wanted.items() if text != self._found[path]}
        self.outcome |= dict.fromkeys(self._wanted.keys() - rest, "unchanged")
        for source, path in self._moves:
            if {source, path} <= rest and self._found[path] is None and self._wanted[source] is None:
                changes.append(FileChange(source, self._found[source], self._wanted[path], path))
                rest -= {source, path}
        return changes + [FileChange(path, self._found[path], self._wanted[path]) for path in sorted(rest)]

    async def _make(self, ctx: ToolContext, change: FileChange) -> None:
        outcome = "restored"
        try:
            self._refuse_silent()
            if change.new_text is None and "run" not in ctx.hands.can:
                raise Unsupported("this client cannot delete it")
            await check(ctx, change)
            await make(ctx, change)
        except HandsError as exc:
            self._silent = self._silent or isinstance(exc, Timeout)
            outcome = exc.message
        for path in patching.paths([change]):
            self.outcome[path] = outcome

    def _refuse_silent(self) -> None:
        if self._silent:
            raise Timeout("the client did not answer in time")


def _is(text: str | None, after: str | None) -> bool:
    """Whether a file that holds `text` is as a change has made it."""
    return after is None if text is None else after == digest(text)
