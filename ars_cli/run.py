"""`ars run`: one prompt to any agent, its turn streamed to stdout, for people and, with --json, for programs."""

import argparse
import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import anyio

from ars_cli import __version__, named, signals
from ars_cli.exits import FAILED, INTERRUPTED, STOPPED_EARLY, USAGE, exit_of
from ars_cli.failures import ConfigurationError, failed, told
from ars_cli.in_order import InOrder

if TYPE_CHECKING:
    from connector import Client, Connector, ConnectorError, Session
    from connector.permissions import Policy
    from connector.vendors import Vendor

ALLOW = ("nothing", "reads", "once")


def add_parser(commands: Any, *, epilog: str) -> None:
    """The command's options."""
    parser = commands.add_parser(
        "run",
        help="one prompt to any agent",
        description="Carry out one prompt and print what the agent says and does. Nobody is asked: what you do not "
        "allow here is refused.",
        epilog=f"An agent is a vendor's name (`ars agents` lists them) or a command line.\n\n{epilog}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("agent", metavar="AGENT", help="a vendor's name, or a command line")
    parser.add_argument("prompt", metavar="PROMPT", nargs="?", default="-", help="the prompt; - reads it from stdin")
    parser.add_argument("--json", action="store_true", help="print each event as a line of JSON")
    parser.add_argument("--name", metavar="NAME", help=named.HELP)
    parser.add_argument("--cwd", metavar="DIR", help="the project's directory (default: the current one)")
    parser.add_argument(
        "--allow", choices=ALLOW, default="reads", help="reads inside the directory (default), or all, each time once"
    )
    parser.add_argument(
        "--allow-command", metavar="CMD", action="append", default=[], help="allow exactly this command as well"
    )
    parser.add_argument(
        "--allow-edit", metavar="GLOB", action="append", default=[], help="allow to change these files as well"
    )
    parser.add_argument("--timeout", metavar="SECONDS", type=float, help="cancel the turn after that time")
    parser.add_argument("--system", metavar="TEXT", default="", help="what to say before the prompt, once")
    parser.add_argument("--audit", metavar="FILE", help="append each decision to this file, a line of JSON each")
    parser.add_argument(
        "--pass-env", metavar="NAME", action="append", default=[], help="a variable that the agent gets too"
    )
    parser.set_defaults(run=lambda options: told(lambda: _carry_out(options)))


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    agent: "Vendor"
    cwd: str
    prompt: str
    allow: str
    commands: tuple[tuple[str, ...], ...]
    edits: tuple[str, ...]
    timeout: float | None
    system: str
    audit: str | None
    as_json: bool
    name: str | None


def _carry_out(options: argparse.Namespace) -> int:
    from ars_cli import settings
    from ars_cli.chat import working_directory

    try:
        cwd = working_directory(options.cwd)
        chosen = Options(
            agent=settings.agent(options.agent, pass_on=options.pass_env),
            cwd=cwd,
            prompt=sys.stdin.read() if options.prompt == "-" else options.prompt,
            allow=options.allow,
            commands=tuple(tuple(shlex.split(command)) for command in options.allow_command),
            edits=tuple(glob if glob.startswith("/") else f"{cwd}/{glob}" for glob in options.allow_edit),
            timeout=options.timeout,
            system=options.system,
            audit=options.audit,
            as_json=options.json,
            name=named.checked(options.name),
        )
    except (ValueError, NotADirectoryError) as why:
        raise ConfigurationError(str(why)) from None
    if not chosen.prompt.strip():
        raise ConfigurationError("there is no prompt: give one, or write it to stdin")
    return anyio.run(run, chosen)


async def run(options: Options) -> int:
    """Carries out one turn and returns the exit code of `ars`."""
    return await _Run(options).run()


def policy(allow: str, client: "Callable[[], Client]") -> "Policy":
    """Who decides where nobody is asked: one of `ALLOW`. `client` is whose directories are meant."""
    from connector import allow_once, allow_reads, deny_all

    policies: dict[str, Policy] = {
        "nothing": deny_all,
        "reads": allow_reads(lambda session, path: client().inside(session, path)),
        "once": allow_once,
    }
    return policies[allow]


class _Run:
    """One turn, from launch to exit code."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._shown = _Events() if options.as_json else _Text(options.cwd)
        self._order = InOrder(self._shown.update)
        self._session: Session | None = None
        self._interrupted = False
        self._exit = FAILED
        self._scope = anyio.CancelScope()

    async def run(self) -> int:
        """Returns the exit code."""
        from connector import AgentNotFound, AgentTimeout, ConnectorError, SignInNeeded

        try:
            with signals.handled(self._interrupt, self._quit), self._scope:
                self._exit = await self._converse()
        except AgentTimeout as why:
            self._shown.error(why)
            return failed(why, STOPPED_EARLY if self._options.timeout is not None else FAILED)
        except ConnectorError as why:
            self._shown.error(why)
            return failed(why, USAGE if isinstance(why, AgentNotFound | SignInNeeded) else FAILED)
        return self._exit

    async def _converse(self) -> int:
        from connector import launch

        options = self._options
        client = self._client()
        limits = replace(options.agent.limits, turn=options.timeout)
        info = {"name": "ars", "title": "ars run", "version": __version__}
        async with (
            named.kept(options.name) as store,
            launch(options.agent, client, cwd=options.cwd, limits=limits, client_info=info, store=store) as connector,
        ):
            more: dict[str, Any] = {"system_prompt": options.system, "outside": self._order.outside}
            session = self._session = await named.opened(connector, options.name, options.cwd, **more)
            self._shown.began(connector, session)
            turn = session.start(options.prompt)
            await self._order.follow(turn)
            reason = await turn.result()
            await session.settle()
            self._shown.ended(reason, turn.text)
            return exit_of(reason, interrupted=self._interrupted)

    def _client(self) -> "Client":
        from connector import Client, audit
        from connector.permissions import Answer
        from connector.rules import Rule, by_rules

        options = self._options
        rules = [Rule(Answer.ALLOW, argv=command) for command in options.commands]
        if options.edits:
            rules.append(Rule(Answer.ALLOW, kinds=("edit",), paths=options.edits))
        keep = audit.to_file(options.audit) if options.audit else None

        def decided(record: dict[str, Any]) -> None:
            self._shown.decision(record)
            if keep is not None:
                keep(record)

        client = Client(policy=by_rules(rules, policy(options.allow, lambda: client)), on_decision=decided)
        return client

    def _interrupt(self) -> None:
        """The first Ctrl-C cancels the turn, the second one ends the program."""
        if self._interrupted or self._session is None:
            self._quit(INTERRUPTED)
            return
        self._interrupted = True
        self._session.cancel()

    def _quit(self, code: int) -> None:
        self._exit = code
        self._scope.cancel()


class _Text:
    """For people: the transcript."""

    def __init__(self, cwd: str) -> None:
        from ars_cli import settings
        from ars_cli.screen import Screen
        from ars_cli.transcript import Transcript

        look = settings.look(sys.stdout)
        self._screen = Screen(colour=look.colour, live=look.live, width=look.width)
        self._transcript = Transcript(self._screen, cwd)

    def began(self, connector: "Connector", session: "Session") -> None:
        """What there is to know of a conversation that goes on; else the first line is the agent's."""
        for line in named.account(session):
            self._screen.line(line, "dim")

    def update(self, update: Any) -> None:
        """Prints it."""
        self._transcript.update(update)

    def decision(self, record: dict[str, Any]) -> None:
        """Says what was refused."""
        from ars_cli.plain import visible

        if not record["allowed"]:
            what = visible(f"{record['kind']} {' '.join(record['argv'] or record['paths']) or record['title']}")
            self._transcript.end_block()
            self._screen.line(f"✗ refused: {what} ({record['reason']})", "warning")

    def error(self, why: "ConnectorError") -> None:
        """stderr has it."""
        self._transcript.end_block()

    def ended(self, stop_reason: str, text: str) -> None:
        """Says how, unless as it should."""
        from ars_cli.chat import REASONS

        self._transcript.end_block()
        if stop_reason in REASONS:
            self._screen.line(f"─ {REASONS[stop_reason]}", "warning")


class _Events:
    """For programs: a line of JSON each, with `event` first."""

    def began(self, connector: "Connector", session: "Session") -> None:
        info = connector.agent.agent_info
        agent = {"name": info.name, "version": info.version} if info else {"name": connector.command.name}
        self._print("session", agent=agent, sessionId=session.id, **named.described(session))

    def update(self, update: Any) -> None:
        """An update as it came."""
        self._print("update", update=update.model_dump(by_alias=True, exclude_none=True))

    def decision(self, record: dict[str, Any]) -> None:
        """A record as the audit has it."""
        self._print("decision", **record)

    def error(self, why: "ConnectorError") -> None:
        """What went wrong, and with which request."""
        known = {"code": getattr(why, "code", None), "details": getattr(why, "details", None) or None}
        asked = {"method": why.method or None, "requestId": why.asked.request_id, "exit": why.exit and str(why.exit)}
        told = {name: value for name, value in {**asked, **known}.items() if value is not None}
        self._print("error", kind=type(why).__name__, message=str(why), **told)

    def ended(self, stop_reason: str, text: str) -> None:
        """The end of the turn, with the whole reply."""
        self._print("end", stopReason=stop_reason, text=text)

    def _print(self, event: str, **fields: Any) -> None:
        print(json.dumps({"event": event, **fields}), flush=True)
