"""search_in_project: a regular expression or a text in all files, by rg, else git grep, else grep."""

import re
from collections.abc import Callable

from pydantic import Field

from acp_wire import build
from ars_acp.hands import Ran
from ars_acp.tools import text
from ars_acp.tools.arguments import Arguments
from ars_acp.tools.commands import beneath, first_working
from ars_acp.tools.git import GIT
from ars_acp.tools.glob import matcher
from ars_acp.tools.tool import Act, InvalidArguments, Tool, ToolContext, ToolResult

_RG = "rg --no-config --no-heading --with-filename --line-number --color=never --no-messages --sort=path --hidden"
_GIT_GREP = "grep -n -I --no-color --untracked --exclude-standard"
_GREP = "grep -rnIHs --exclude-dir=.git --exclude-dir=node_modules --exclude-dir=.venv"
_SIMPLE_GLOB = re.compile(r"[\w.*?-]+")
_FOUND = re.compile(r"(.+?):(\d+):(.*)")


class SearchInProject(Arguments):
    pattern: str = Field(min_length=1, max_length=2000, description="Regular expression, matched within a line.")
    path: str = Field(".", description="File or directory to search, relative to the project.")
    glob: str | None = Field(None, description='Only files like this: "*.py", "src/**/*.ts".')
    literal: bool = Field(False, description="Take pattern as plain text.")
    ignore_case: bool = Field(False, description="Ignore upper and lower case.")


async def plan(ctx: ToolContext, args: SearchInProject) -> Act:
    whole = ctx.roots.resolve(args.path)
    root, relative = ctx.roots.split(whole)
    wanted = matcher(args.glob)
    if text.hidden_character(args.pattern, allowed="\t"):
        raise InvalidArguments("search_in_project: pattern holds a control character; it is matched within one line")

    async def do() -> ToolResult:
        ran = await first_working(ctx, _candidates(ctx, args, beneath(relative)), cwd=root, good=frozenset({0, 1}))
        prefix = "" if root == ctx.roots.cwd else f"{root}/"
        return _result(ctx, ran, wanted, prefix)

    where = "" if relative == "." else f" in {ctx.roots.show(whole)}"
    pattern = "" if args.glob is None else f" ({args.glob})"
    return Act(
        title=f"Search {args.pattern!r}{where}{pattern}",
        kind="search",
        effects="none",
        do=do,
        locations=[build.location(whole)],
    )


def _candidates(ctx: ToolContext, args: SearchInProject, place: str) -> list[list[str]]:
    """The command lines to try. A value of the model stands after -e, after --, or joined to its option by =."""
    case = ["-i"] if args.ignore_case else []
    last = ["-e", args.pattern, "--", place]
    rg = [*_RG.split(), f"--max-count={ctx.limits.matches_listed}", "--glob=!.git", *case]
    rg += ["-F"] if args.literal else []
    # The test on the results is the one that counts; this one keeps rg from filling the terminal with other files.
    rg += [f"--glob={args.glob}"] if args.glob and _SIMPLE_GLOB.fullmatch(args.glob) else []
    git_grep = [*GIT, *_GIT_GREP.split(), *case]
    dialects = ["-F"] if args.literal else ["-P", "-E"]  # not every git was built with -P
    grep = [*_GREP.split(), *case, dialects[-1]]
    return [[*rg, *last], *([*git_grep, dialect, *last] for dialect in dialects), [*grep, *last]]


def _result(ctx: ToolContext, ran: Ran, wanted: Callable[[str], bool], prefix: str) -> ToolResult:
    lines = ran.output.split("\n")
    if ran.truncated:
        del lines[0]
    matches = [(it[1].removeprefix("./"), int(it[2]), it[3]) for it in map(_FOUND.fullmatch, lines) if it]
    matches = sorted(it for it in matches if wanted(it[0]))
    files = {name for name, _, _ in matches}
    found = [f"{prefix}{name}:{number}:{_cut_line(ctx, line)}" for name, number, line in matches]
    if not found:
        return ToolResult(True, "nothing found", raw={"matches": 0})
    kept = text.head("\n".join(found[: ctx.limits.matches_listed]), ctx.limits.output_bytes)
    count = kept.count("\n") + 1
    note = "" if count == len(found) else f"; the first {count} are shown, narrow it down with path, glob or pattern"
    more = " (more than the terminal could hold: the first ones are missing)" if ran.truncated else ""
    summary = f"{len(found)} lines in {len(files)} files{more}{note}"
    return ToolResult(True, f"{summary}\n{text.data(kept)}", raw={"matches": len(found), "files": len(files)})


def _cut_line(ctx: ToolContext, line: str) -> str:
    cut = text.head(line, ctx.limits.line_bytes)
    return line if cut == line else f"{cut} [... line cut]"


TOOL = Tool(
    name="search_in_project",
    description="Search the project's files for a regular expression; gives path:line:text of each match.",
    arguments=SearchInProject,
    needs=frozenset({"run"}),
    read_only=True,
    plan=plan,
)
