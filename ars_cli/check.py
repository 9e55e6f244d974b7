"""`ars check`: whether any agent keeps the protocol, requirement by requirement; a table for people, or JSON."""

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from ars_cli.exits import DONE, FAILED, STOPPED_EARLY
from ars_cli.failures import ConfigurationError, told

if TYPE_CHECKING:
    from acp_check.peer import Limits
    from acp_check.report import Finding
    from acp_check.table import Requirement
    from acp_check.trial import Subject

OUTCOMES = """\
Each requirement is met, broken, not offered (it is not claimed) or not seen (nothing came to where it would show: an
agent has no model, say). Levels: mandatory, conditional (for those that offer it), advisory, info."""
EPILOG = f"""\
{OUTCOMES}
Nothing that the agent asks its client for is done: files are kept in memory, commands succeed at once.

exit codes:
    0  every mandatory requirement is met, and all conditional ones of what is offered
    1  wrong usage, or the agent could not be started
    2  a mandatory or conditional requirement is broken
    3  none is broken, but a mandatory one was not seen

  ars check -- my-agent --acp
  ars check --only FRAME --only INIT --json -- ./agent.py
  ars check --prompt "Say hello." --sign-in openai --pass-env OPENAI_API_KEY -- qwen"""
PROMPT_KINDS = {
    "say": ("", "answered by a short text"),
    "long": ("-long", "answered by a long text, so that there is something to cancel"),
    "write": ("-write", "makes the agent ask for permission to write a file ({cwd}: the session's directory)"),
    "tools": ("-tools", "makes it read a file, write one and run a command"),
}


def add_parser(commands: Any, *, epilog: str) -> None:
    """The command's options."""
    parser = commands.add_parser(
        "check",
        help="whether an agent keeps the protocol: a conformance kit",
        description="Try each requirement of the Agent Client Protocol on an agent and print what was found.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", metavar="AGENT", nargs="*", help="a vendor's name, or a command and its arguments")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--list", action="store_true", help="print the requirements, and start nothing")
    parser.add_argument("--only", metavar="ID", action="append", default=[], help="only ids that begin so; repeatable")
    parser.add_argument("--skip", metavar="ID", action="append", default=[], help="leave these out; repeatable")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, default=900, help="for the whole run (900)")
    parser.add_argument("--patience", metavar="SECONDS", type=float, default=10, help="for each answer (10)")
    parser.add_argument("--turn-patience", metavar="SECONDS", type=float, default=60, help="for each prompt (60)")
    parser.add_argument("--start-patience", metavar="SECONDS", type=float, default=60, help="for initialize (60)")
    for kind, (suffix, what) in PROMPT_KINDS.items():
        parser.add_argument(f"--prompt{suffix}", metavar="TEXT", dest=f"prompt_{kind}", help=f"a prompt that is {what}"
                            if kind in ("say", "long") else f"a prompt that {what}")  # fmt: skip
    parser.add_argument("--no-turns", action="store_true", help="send no prompts; what needs one is not seen")
    parser.add_argument("--sign-in", metavar="METHOD", help="the way to sign in that needs no person")
    parser.add_argument(
        "--env", metavar="NAME=VALUE", action="append", default=[], help="set in the agent's environment"
    )
    parser.add_argument("--pass-env", metavar="NAME", action="append", default=[], help="a variable that it gets too")
    parser.add_argument("--cwd", metavar="DIR", help="the directory of its sessions (default: a throw-away one)")
    parser.add_argument("--scratch-home", action="store_true", help="give it a HOME of its own, empty and thrown away")
    parser.add_argument("--line-mib", metavar="N", type=float, default=8, help="the longest line that is sent (8)")
    parser.add_argument("--endless-line", metavar="N", type=float, default=0, help="MiB of a line without an end (0)")
    parser.set_defaults(run=lambda options: told(lambda: _check(options)))


def _check(options: argparse.Namespace) -> int:
    from acp_check.run import chosen

    try:
        rows = chosen(options.only, options.skip)
    except ValueError as why:
        raise ConfigurationError(str(why)) from None
    if options.list:
        names = ("id", "level", "title", "turns", "rules")
        list_rows([{name: getattr(it, name) for name in names} for it in rows], as_json=options.json)
        return DONE
    if not options.command:
        raise ConfigurationError("which agent? `ars check -- COMMAND` (see `ars check --help`)")
    with ExitStack() as made:
        home = made.enter_context(_scratch()) if options.scratch_home else None
        subject = _subject(options, home)
        return _show(options, subject, rows)


def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="ars-check-home-", ignore_cleanup_errors=True)


def _subject(options: argparse.Namespace, home: str | None) -> "Subject":
    from acp_check.trial import Subject
    from ars_cli import settings
    from connector.environment import inherited

    named = options.command[0] if len(options.command) == 1 else shlex.join(options.command)
    try:
        command = settings.agent(named, pass_on=options.pass_env).command()
        given = dict(_variable(text) for text in options.env)
    except ValueError as why:
        raise ConfigurationError(str(why)) from None
    if options.cwd is not None and not Path(options.cwd).is_dir():
        raise ConfigurationError(f"{options.cwd} is no directory")
    homes = {} if home is None else {"HOME": home, **{f"XDG_{it}_HOME": f"{home}/{it.lower()}" for it in _PLACES}}
    prompts = {kind: text for kind in PROMPT_KINDS if (text := getattr(options, f"prompt_{kind}")) is not None}
    return Subject(
        argv=command.argv,
        env={**inherited(command.passed_on), **command.env, **homes, **given},
        cwd=options.cwd and str(Path(options.cwd).resolve()),
        prompts=prompts,
        turns=not options.no_turns,
        sign_in=options.sign_in,
        line_mib=options.line_mib,
        endless_mib=options.endless_line,
        limits=_limits(options),
    )


_PLACES = ("CONFIG", "DATA", "STATE", "CACHE")


def _limits(options: argparse.Namespace) -> "Limits":
    from acp_check.peer import DEFAULTS

    if min(options.timeout, options.patience, options.turn_patience, options.start_patience) <= 0:
        raise ConfigurationError("times are seconds, more than 0")
    return replace(
        DEFAULTS,
        total=options.timeout,
        start=options.start_patience,
        answer=options.patience,
        session=max(options.patience, min(DEFAULTS.session, options.patience * 3)),
        turn=options.turn_patience,
    )


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"--env wants NAME=VALUE, not {text!r}")
    return name, value


def _show(options: argparse.Namespace, subject: "Subject", rows: "Sequence[Requirement]") -> int:
    from acp_check.run import check

    progress = Progress(sys.stderr.isatty() and not options.json, len(rows))
    try:
        findings = anyio.run(check, subject, rows, progress)
    except (OSError, ValueError) as why:
        raise ConfigurationError(f"cannot start `{shlex.join(subject.argv)}`: {why}") from None
    progress.over()
    return report(subject.argv, findings, as_json=options.json)


class Progress:
    """A line on a terminal that says how far it is."""

    def __init__(self, live: bool, of: int) -> None:
        self._live, self._of, self._done = live, of, 0

    def __call__(self, found: "Finding") -> None:
        self._done += 1
        self._print(f"{self._done}/{self._of} {found.id}")

    def over(self) -> None:
        """Takes the line away."""
        self._print("")

    def _print(self, text: str) -> None:
        if self._live:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def report(command: Sequence[str], findings: "Sequence[Finding]", *, as_json: bool) -> int:
    """Prints what was found, and returns the exit code."""
    from acp_check.report import as_json as told_as_json
    from acp_check.report import table, verdict

    if as_json:
        print(json.dumps(told_as_json(shlex.join(command), findings), indent=2, ensure_ascii=False))
    else:
        print(table(findings), end="")
    return _EXITS[verdict(findings)]


def list_rows(rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """Prints the requirements of either kit: their id, level and title; as JSON all that is known of them."""
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    wide = max(len(it["id"]) for it in rows)
    for it in rows:
        print(f"{it['id']:<{wide}}  {it['level']:<11}  {it['title']}")


_EXITS = {0: DONE, 2: FAILED, 3: STOPPED_EARLY}
