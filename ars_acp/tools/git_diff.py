"""git.diff: what has changed in the working tree, in the index, or against a revision."""

import re

from pydantic import Field

from acp_wire import build
from ars_acp.tools import text
from ars_acp.tools.arguments import Arguments
from ars_acp.tools.commands import beneath, first_working
from ars_acp.tools.git import GIT
from ars_acp.tools.tool import Act, InvalidArguments, Tool, ToolContext, ToolResult

# --ignore-submodules: git would ask each submodule with a git of its own, and that one's configuration.
_DIFF = (
    *GIT,
    *("-c", "core.quotePath=false", "-c", "diff.noprefix=false", "-c", "diff.mnemonicPrefix=false"),
    *("-c", "diff.orderFile=/dev/null", "-c", "diff.external="),
    *("diff", "--no-ext-diff", "--no-textconv", "--no-color", "--relative"),
    *("--ignore-submodules=dirty", "--submodule=short"),
)
_REVISION = re.compile(r"[A-Za-z0-9_@][A-Za-z0-9_@./~^{}+-]*")


class GitDiff(Arguments):
    paths: list[str] = Field([], max_length=200, description="Only these files or directories.")
    staged: bool = Field(False, description="What is staged, instead of the working tree.")
    revision: str | None = Field(None, max_length=200, description='Compare with this: "HEAD~1", "main...HEAD".')


async def plan(ctx: ToolContext, args: GitDiff) -> Act:
    resolved = [ctx.roots.resolve(path) for path in args.paths]
    places = [ctx.roots.split(path) for path in resolved]
    roots = {root for root, _ in places} or {ctx.roots.cwd}
    if len(roots) > 1:
        raise InvalidArguments("git_diff: the paths lie in different project directories: one call for each")
    if args.revision is not None and not _REVISION.fullmatch(args.revision):
        raise InvalidArguments("git_diff: revision is not the name of a revision")
    options = ["--cached"] if args.staged else []
    revision = [] if args.revision is None else ["--end-of-options", args.revision]
    argv = [*_DIFF, *options, *revision, "--", *(beneath(relative) for _, relative in places)]

    async def do() -> ToolResult:
        ran = await first_working(ctx, [argv], cwd=roots.copy().pop())
        if not ran.output.strip():
            return ToolResult(True, "no changes")
        kept = text.head(ran.output, ctx.limits.output_bytes)
        lost = "the beginning is lost: it is too long for the terminal; name paths\n" if ran.truncated else ""
        cut = "\ncut here: name paths to see the rest" if len(kept) < len(ran.output) else ""
        return ToolResult(True, f"{lost}{text.data(kept)}{cut}", content=[build.content(text.fenced(kept, "diff"))])

    what = [f"against {args.revision}"] if args.revision else []
    what += ["staged"] if args.staged else []
    what += [ctx.roots.show(path) for path in resolved]
    return Act(
        title=" ".join(["git diff", *what]),
        kind="read",
        effects="none",
        do=do,
        locations=[build.location(path) for path in resolved],
    )


TOOL = Tool(
    name="git.diff",
    description="The project's changes as a git diff. Untracked files are not in it.",
    arguments=GitDiff,
    needs=frozenset({"run"}),
    read_only=True,
    plan=plan,
)
