"""run_command: a program with arguments, or a shell script where the model wants a shell, in the client's terminal."""

import shlex
from typing import Any

from pydantic import Field, model_validator

from acp_wire import build
from ars_acp.hands import Ran
from ars_acp.tools import text
from ars_acp.tools.always import rule
from ars_acp.tools.arguments import Arguments
from ars_acp.tools.tool import Act, InvalidArguments, Tool, ToolContext, ToolResult


class RunCommand(Arguments):
    argv: list[str] = Field([], max_length=1000, description='Program and arguments: ["pytest", "-q"]. No shell.')
    command: str | None = Field(None, description="Instead of argv, a script for sh, where you need a shell.")
    cwd: str = Field(".", description="Directory to run in, relative to the project.")
    timeout_seconds: float | None = Field(None, gt=0, description="Time limit; 120 if absent, 600 at most.")

    @model_validator(mode="before")
    @classmethod
    def _by_type(cls, raw: Any) -> Any:
        """A string in `argv` is a script, and a list in `command` is an argv: the type says what was meant."""
        if isinstance(raw, dict):
            argv, command = raw.get("argv"), raw.get("command")
            if isinstance(argv, str) and not command:
                return raw | {"argv": None, "command": argv}
            if isinstance(command, list) and not argv:
                return raw | {"argv": command, "command": None}
        return raw


async def plan(ctx: ToolContext, args: RunCommand) -> Act:
    argv = _argv(args)
    cwd = ctx.roots.resolve(args.cwd)
    limit = min(args.timeout_seconds or ctx.limits.command_seconds, ctx.limits.max_command_seconds)

    async def do() -> ToolResult:
        ran = await ctx.hands.run(
            argv,
            cwd=cwd,
            timeout=limit,
            output_limit=ctx.limits.terminal_bytes,
            started=lambda terminal_id: ctx.show(content=[build.terminal(terminal_id)]),
        )
        return _result(ctx, ran, limit)

    where = "" if cwd == ctx.roots.cwd else f" (in {ctx.roots.show(cwd)})"
    script = args.command if not args.argv else None
    return Act(
        title=(shlex.join(argv) if script is None else f"sh: {script}") + where,
        kind="execute",
        effects="execute",
        do=do,
        locations=[] if cwd == ctx.roots.cwd else [build.location(cwd)],
        content=[build.content(text.fenced(shlex.join(argv) if script is None else script, "sh"))],
        rule=rule(argv, cwd),
    )


def _argv(args: RunCommand) -> list[str]:
    """What the client is to run. Raises InvalidArguments for what a person could not read on the screen."""
    if bool(args.argv) == bool(args.command):
        raise InvalidArguments("run_command: give either argv or command")
    argv = list(args.argv) if args.command is None or args.argv else ["sh", "-c", args.command]
    if not argv[0].strip():
        raise InvalidArguments("run_command: the program has no name")
    if text.hidden_character(argv[0], allowed="") or any(map(text.hidden_character, argv)):
        raise InvalidArguments("run_command: control and invisible characters are not allowed in a command")
    return argv


def _result(ctx: ToolContext, ran: Ran, limit: float) -> ToolResult:
    output = text.middle_cut(text.plain(ran.output), ctx.limits.output_bytes)
    lost = "; the beginning of its output is lost" if ran.truncated else ""
    shown_output = text.data(output) if output.strip() else "no output"
    content = [build.terminal(ran.terminal_id)]
    raw = {"exitCode": ran.exit_code, "signal": ran.signal, "timedOut": ran.timed_out, "truncated": ran.truncated}
    if ran.timed_out:
        summary = f"stopped: it did not end within {limit:g} seconds{lost}. Output so far:"
        return ToolResult(False, f"{summary}\n{shown_output}", content, raw, "TOOL_TIMEOUT")
    ended = f"exit code {ran.exit_code}" if ran.exit_code is not None else f"ended by signal {ran.signal or 'unknown'}"
    return ToolResult(ran.exit_code == 0, f"{ended}{lost}\n{shown_output}", content, raw)


TOOL = Tool(
    name="run_command",
    description=(
        "Run a program in the project, such as its tests, and get its exit code and output. It has no input and must "
        "end by itself. Prefer argv; use command only for pipes, redirections and the like."
    ),
    arguments=RunCommand,
    needs=frozenset({"run"}),
    read_only=False,
    plan=plan,
)
