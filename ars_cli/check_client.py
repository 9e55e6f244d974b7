"""`ars check-client`: whether a client keeps the protocol: it is started with an agent of ours, again and again."""

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import anyio

from ars_cli.exits import DONE, FAILED, STOPPED_EARLY
from ars_cli.failures import ConfigurationError, told

if TYPE_CHECKING:
    from acp_check.report import Finding

EPILOG = """\
In the client's command {agent} stands for the agent's command line, quoted for a shell; the word {agent_argv} becomes
its words; {prompt} is what to ask, {cwd} where. Whoever reads stdin finds the prompt there, and then the end.
The client should send one prompt, allow what it is asked (nothing outside of a throw-away directory is touched) and
end; what it does not do is not seen.

exit codes:
    0  every mandatory requirement is met, and all conditional ones of what is offered
    1  wrong usage, or the client could not be started
    2  a mandatory or conditional requirement is broken
    3  none is broken, but a mandatory one was not seen

  ars check-client -- my-client --agent {agent} --yes {prompt}
  ars check-client --shows-text --silence 90 -- ./client.py {agent_argv}
  ars check-client --scratch-home --json -- acpx --agent {agent} --approve-all exec {prompt}"""


def add_parser(commands: Any, *, epilog: str) -> None:
    """The command's options."""
    parser = commands.add_parser(
        "check-client",
        help="whether a client keeps the protocol: a conformance kit",
        description="Start a client some dozen times with an agent that does to it what agents do, try each "
        "requirement of the Agent Client Protocol, and print what was found.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    seconds: dict[str, Any] = {"metavar": "SECONDS", "type": float}
    parser.add_argument("command", metavar="CLIENT", nargs="*", help="the client's command, {agent} in it")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--list", action="store_true", help="print the requirements, and start nothing")
    parser.add_argument("--only", metavar="ID", action="append", default=[], help="only ids that begin so; repeatable")
    parser.add_argument("--timeout", **seconds, default=900, help="for the whole run (900)")
    parser.add_argument("--patience", **seconds, default=10, help="for each answer (10)")
    parser.add_argument("--start-patience", **seconds, default=60, help="for the first prompt (60)")
    parser.add_argument("--silence", **seconds, help="try also what the client gives up by itself, within that time")
    parser.add_argument("--shows-text", action="store_true", help="the client prints what the agent says, as it is")
    parser.add_argument("--prompt", metavar="TEXT", default="Please go on.", help="what the client is to ask")
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="how many clients run at once (1)")
    parser.add_argument("--scratch-home", action="store_true", help="give it a HOME of its own, empty and thrown away")
    parser.set_defaults(run=lambda options: told(lambda: _check(options)))


def _check(options: argparse.Namespace) -> int:
    if options.list:
        _list(options.only, as_json=options.json)
        return DONE
    if not options.command:
        raise ConfigurationError("which client? `ars check-client -- COMMAND` (see `ars check-client --help`)")
    if min(options.timeout, options.patience, options.start_patience, options.silence or 1, options.jobs) <= 0:
        raise ConfigurationError("times are seconds, more than 0, and so is the number of jobs")
    with ExitStack() as made:
        env = {}
        if options.scratch_home:
            scratch = tempfile.TemporaryDirectory(prefix="ars-check-home-", ignore_cleanup_errors=True)
            env["HOME"] = made.enter_context(scratch)
        return _show(options, env)


def _show(options: argparse.Namespace, env: dict[str, str]) -> int:
    from acp_check.client import check_client
    from acp_check.report import BROKEN, NOT_ALL_SEEN, as_json, table, verdict

    live = sys.stderr.isatty() and not options.json

    def progress(found: "Finding") -> None:
        if live:
            print(f"\r\x1b[K{found.id} {found.outcome}", end="", file=sys.stderr, flush=True)

    async def check() -> "list[Finding]":
        return await check_client(
            options.command,
            patience=options.patience,
            start_patience=options.start_patience,
            timeout=options.timeout,
            silence=options.silence,
            shows_text=options.shows_text,
            prompt=options.prompt,
            only=options.only,
            jobs=options.jobs,
            env=env,
            on_finding=progress,
        )

    try:
        findings = anyio.run(check)
    except ValueError as why:
        raise ConfigurationError(str(why)) from None
    except OSError as why:
        raise ConfigurationError(f"cannot start `{shlex.join(options.command)}`: {why.strerror or why}") from None
    if live:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps(as_json(shlex.join(options.command), findings), indent=2, ensure_ascii=False))
    else:
        print(table(findings), end="")
    return {BROKEN: FAILED, NOT_ALL_SEEN: STOPPED_EARLY}.get(verdict(findings), DONE)


def _list(only: Sequence[str], *, as_json: bool) -> None:
    from acp_check.client import requirements
    from acp_check.client_table import wanted

    rows = [row for row in requirements() if wanted(row, only)]
    if as_json:
        print(json.dumps([{"id": it.id, "level": it.level, "title": it.title} for it in rows], indent=2))
        return
    wide = max((len(it.id) for it in rows), default=0)
    for it in rows:
        print(f"{it.id:<{wide}}  {it.level:<11}  {it.title}")
