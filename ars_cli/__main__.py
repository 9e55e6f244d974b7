"""`ars`: the person's command."""

import argparse
import contextlib
import os
import sys
from typing import NoReturn

from ars_cli import __version__, sessions
from ars_cli.exits import ABORTED, FAILED, INTERRUPTED, MEANINGS, USAGE

POLICIES = ("ask", "allow-reads", "deny", "allow-once")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Wrong usage: one line, and the code that the help names."""
        print(f"ars: {message} (see `{self.prog} --help`)", file=sys.stderr)
        sys.exit(USAGE)


def main(argv: list[str] | None = None) -> int:
    """Runs the program and returns its exit code."""
    options = _parser().parse_args(argv)
    try:
        return int(options.run(options))
    except BrokenPipeError:
        # Whoever read us has gone; the interpreter must not try to flush once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return ABORTED
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    codes = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in MEANINGS.items())
    parser = _Parser(
        prog="ars",
        description="Talk to coding agents that speak the Agent Client Protocol.",
        epilog=f"exit codes:\n{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ars {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    chat = commands.add_parser(
        "chat",
        help="a conversation in this terminal",
        description="Converse with an agent in this terminal. Without one (in a pipe, a script) it carries out one "
        "prompt, from the arguments or from stdin, and prints the transcript.",
        epilog="permissions: `ask` asks you each time (and refuses where nobody can be asked), `allow-reads` lets it "
        f"read files inside the directory, `deny` refuses, `allow-once` allows everything.\n\nexit codes:\n{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    chat.add_argument("prompt", nargs="?", help="the first prompt; - reads it from stdin")
    chat.add_argument("--cwd", metavar="DIR", help="the project's directory (default: the current one)")
    chat.add_argument("--agent", metavar="CMD", help="the agent's command line (default: ars-acp)")
    chat.add_argument(
        "--pass-env", metavar="NAME", action="append", default=[], help="a variable that the agent gets too"
    )
    chat.add_argument(
        "--permissions", choices=POLICIES, help="who decides (default: ask; with --demo and no terminal allow-once)"
    )
    chat.add_argument("--demo", action="store_true", help="work on a throw-away project whose tests fail")
    chat.set_defaults(run=_chat)
    sessions.add_parser(commands, epilog=f"exit codes:\n{codes}")
    return parser


def _chat(options: argparse.Namespace) -> int:
    from ars_cli.sample import DemoError, throw_away_project
    from connector.errors import AgentNotFound, ConnectorError, SignInNeeded

    try:
        with throw_away_project() if options.demo else contextlib.nullcontext() as project:
            return _converse(options, project)
    except (AgentNotFound, SignInNeeded, DemoError, _ConfigurationError) as why:
        return _failed(why, USAGE)
    except ConnectorError as why:
        return _failed(why, FAILED)


class _ConfigurationError(Exception):
    """Something that the person has to change; the message is one line."""


def _converse(options: argparse.Namespace, project: str | None) -> int:
    import anyio

    from ars_acp.errors import SettingsError
    from ars_cli import settings
    from ars_cli.chat import Options, chat, working_directory

    if options.demo and options.cwd:
        raise _ConfigurationError("--demo brings its own directory, so --cwd makes no sense with it")
    try:
        scripted = options.agent is None and options.demo and not settings.model_is_configured()
        more = ["--store", "memory:"] if options.demo else []
        if scripted:
            more += ["--script", settings.demo_script()]
        command = settings.agent_command(options.agent, more=more, pass_on=options.pass_env)
        cwd = project or working_directory(options.cwd)
    except (SettingsError, ValueError, NotADirectoryError) as why:
        raise _ConfigurationError(str(why)) from None
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    prompt = sys.stdin.read() if options.prompt == "-" else options.prompt
    chosen = Options(
        command=command,
        cwd=cwd,
        prompt=prompt,
        policy=options.permissions or ("allow-once" if options.demo and not terminal else "ask"),
        scripted=scripted,
        demo=options.demo,
        late_seconds=0.0 if options.agent is None else 0.25,
        trusted=options.agent is None,
    )
    return anyio.run(chat, chosen)


def _failed(why: Exception, code: int) -> int:
    from ars_cli.plain import clean

    print(f"ars: {clean(str(why))}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
