"""Read-only commands of the tools themselves: the first of several that the client's machine has."""

from collections.abc import Sequence

from ars_acp.hands import NotFound, Ran, Refused, Timeout
from ars_acp.tools import text
from ars_acp.tools.tool import ToolContext

_MISSING = (126, 127)


async def first_working(
    ctx: ToolContext, candidates: Sequence[Sequence[str]], *, cwd: str, good: frozenset[int] = frozenset({0})
) -> Ran:
    """Run the candidates in turn until one exits with a code in `good`; its output is plain text.

    Raises Timeout where one does not end in time, and Refused with what the most telling one said where all fail.
    """
    failure = ""
    for argv in candidates:
        try:
            ran = await ctx.hands.run(
                argv, cwd=cwd, timeout=ctx.limits.search_seconds, output_limit=ctx.limits.terminal_bytes
            )
        except (NotFound, Refused) as exc:
            failure = failure or exc.message
            continue
        if ran.timed_out:
            raise Timeout(f"{argv[0]} did not end within {ctx.limits.search_seconds:g} seconds: narrow it down")
        output = text.plain(ran.output)
        if ran.exit_code in good:
            return Ran(output, ran.truncated, ran.exit_code, ran.signal, False, ran.terminal_id)
        if ran.exit_code not in _MISSING:
            failure = output.strip() or failure
    raise Refused(f"that did not work: {text.head(failure, 2000) or 'the client could not run the command'}")


def beneath(path: str) -> str:
    """A path relative to the command's directory, written so that no program takes it for an option."""
    return path if path == "." else f"./{path}"
