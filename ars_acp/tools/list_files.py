"""list_files: what git tracks or could track; without git, what find finds."""

from pydantic import Field

from acp_wire import build
from ars_acp.hands import Ran
from ars_acp.tools import text
from ars_acp.tools.arguments import Arguments
from ars_acp.tools.commands import beneath, first_working
from ars_acp.tools.git import GIT
from ars_acp.tools.glob import matcher
from ars_acp.tools.tool import Act, Tool, ToolContext, ToolResult

# With -t, a file that was deleted is listed twice: as H (known) and as R (removed).
_LS_FILES = (*GIT, "ls-files", "-t", "-c", "-d", "-o", "--exclude-standard", "-z", "--")
_SKIPPED = (".git", "node_modules", ".venv", "__pycache__")


class ListFiles(Arguments):
    path: str = Field(".", description="Directory, relative to the project.")
    glob: str | None = Field(None, description='Only files like this: "*.py", "src/**/*.ts".')


async def plan(ctx: ToolContext, args: ListFiles) -> Act:
    whole = ctx.roots.resolve(args.path)
    root, relative = ctx.roots.split(whole)
    wanted = matcher(args.glob)
    place = beneath(relative)

    async def do() -> ToolResult:
        ran = await first_working(ctx, [[*_LS_FILES, place], _find(place)], cwd=root, good=frozenset({0, 1}))
        inner = "" if relative == "." else f"{relative}/"
        files = [it for it in _names(ran) if wanted(it) or wanted(it.removeprefix(inner))]
        if root != ctx.roots.cwd:
            files = [f"{root}/{it}" for it in files]
        return _result(ctx, files, ctx.roots.show(whole), args.glob, cut=ran.truncated)

    pattern = "" if args.glob is None else f" ({args.glob})"
    return Act(
        title=f"List {ctx.roots.show(whole)}{pattern}",
        kind="search",
        effects="none",
        do=do,
        locations=[build.location(whole)],
    )


def _find(place: str) -> list[str]:
    skipped: list[str] = []
    for name in _SKIPPED:
        skipped += ["-name", name, "-prune", "-o"]
    return ["find", place, *skipped, "-type", "f", "-print0"]


def _names(ran: Ran) -> list[str]:
    names = ran.output.split("\0")
    if ran.truncated:
        del names[0]  # its beginning is gone
    # Two characters stand before each: git's tag and a blank, or the "./" that find was given.
    removed = {name[2:] for name in names if name.startswith("R ")}
    return sorted({name[2:] for name in names} - removed - {""})


def _result(ctx: ToolContext, files: list[str], place: str, glob: str | None, *, cut: bool) -> ToolResult:
    if not files:
        return ToolResult(True, f"no files in {place}" + ("" if glob is None else f" match {glob}"))
    listed = files[: ctx.limits.files_listed]
    kept = text.head("\n".join(listed), ctx.limits.output_bytes)
    count = kept.count("\n") + 1
    note = "" if count == len(files) else f"; the first {count} are shown, narrow it down with path or glob"
    more = " (more than the terminal could hold: the first ones are missing)" if cut else ""
    return ToolResult(True, f"{len(files)} files{more}{note}\n{text.data(kept)}", raw={"files": len(files)})


TOOL = Tool(
    name="list_files",
    description="List the project's files, without those that git ignores.",
    arguments=ListFiles,
    needs=frozenset({"run"}),
    read_only=True,
    plan=plan,
)
