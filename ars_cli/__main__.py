"""`ars`: the person's command."""

import argparse
import contextlib
import os
import sys
from typing import NoReturn

from ars_cli import __version__, agents, check, check_client, crew, named, run, sessions
from ars_cli.exits import ABORTED, INTERRUPTED, MEANINGS, USAGE
from ars_cli.failures import ConfigurationError, told

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
    chat.add_argument(
        "words",
        metavar="[AGENT] [PROMPT]",
        nargs="*",
        help="a vendor's name, if not our own; the first prompt, - for stdin",
    )
    chat.add_argument("--cwd", metavar="DIR", help="the project's directory (default: the current one)")
    chat.add_argument("--name", metavar="NAME", help=named.HELP)
    chat.add_argument("--agent", metavar="CMD", help="the agent's name or command line (default: ars-acp)")
    chat.add_argument(
        "--pass-env", metavar="NAME", action="append", default=[], help="a variable that the agent gets too"
    )
    chat.add_argument(
        "--permissions", choices=POLICIES, help="who decides (default: ask; with --demo and no terminal allow-once)"
    )
    chat.add_argument("--demo", action="store_true", help="work on a throw-away project whose tests fail")
    chat.set_defaults(run=_chat)
    for command in (run, crew, agents, sessions, check, check_client):
        command.add_parser(commands, epilog=f"exit codes:\n{codes}")
    return parser


def _chat(options: argparse.Namespace) -> int:
    from ars_cli.sample import DemoError, throw_away_project

    def work() -> int:
        try:
            with throw_away_project() if options.demo else contextlib.nullcontext() as project:
                return _converse(options, project)
        except DemoError as why:
            raise ConfigurationError(str(why)) from None

    return told(work)


def _words(options: argparse.Namespace) -> str | None:
    """The prompt among what stands without an option; a vendor's name in front of it is the agent."""
    from connector.vendors import VENDORS

    words = list(options.words)
    if options.agent is None and words and words[0] in VENDORS:
        options.agent = words.pop(0)
    if len(words) > 1:
        raise ConfigurationError(f"one prompt at a time, in quotes: {words[0]!r} is no agent (see `ars agents`)")
    return words[0] if words else None


def _converse(options: argparse.Namespace, project: str | None) -> int:
    import anyio

    from ars_acp.errors import SettingsError
    from ars_cli import settings
    from ars_cli.chat import Options, chat, working_directory

    if options.demo and options.cwd:
        raise ConfigurationError("--demo brings its own directory, so --cwd makes no sense with it")
    if options.demo and options.name:
        raise ConfigurationError("--demo is thrown away in the end, so --name makes no sense with it")
    words = _words(options)
    own = options.agent in (None, settings.OWN)
    try:
        scripted = own and options.demo and not settings.model_is_configured()
        more = ["--store", "memory:"] if options.demo else []
        if scripted:
            more += ["--script", settings.demo_script()]
        agent = settings.agent(options.agent, more=more, pass_on=options.pass_env)
        cwd = project or working_directory(options.cwd)
    except (SettingsError, ValueError, NotADirectoryError) as why:
        raise ConfigurationError(str(why)) from None
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    prompt = sys.stdin.read() if words == "-" else words
    chosen = Options(
        agent=agent,
        cwd=cwd,
        prompt=prompt,
        policy=options.permissions or ("allow-once" if options.demo and not terminal else "ask"),
        scripted=scripted,
        demo=options.demo,
        late_seconds=0.0 if own else 0.25,
        trusted=own,
        name=named.checked(options.name),
    )
    return anyio.run(chat, chosen)


if __name__ == "__main__":
    sys.exit(main())
