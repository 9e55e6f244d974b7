"""`ars crew`: several agents in one conversation about a task, as a small file describes them."""

import argparse
import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import anyio

from ars_cli import __version__, signals
from ars_cli.crew_file import EXAMPLE, CrewFile, read
from ars_cli.exits import ABORTED, DONE, FAILED, INTERRUPTED, STOPPED_EARLY, USAGE
from ars_cli.failures import ConfigurationError, failed, told
from ars_cli.run import policy

if TYPE_CHECKING:
    from connector import Client
    from connector.crew import Agents, Crew, Reply, Talk
    from connector.vendors import Vendor
    from event_log import Store

INFO = {"name": "ars", "title": "ars crew", "version": __version__}
LONGEST_AGENT = 40
# How a role failed where it was not its agent that did.
BY_LIMIT = ("slow", "budget", "refusal")


def add_parser(commands: Any, *, epilog: str) -> None:
    """The command's options."""
    parser = commands.add_parser(
        "crew",
        help="several agents in one conversation",
        description="Have several agents, each in a role of its own, work on a task together. `ars crew --example` "
        "prints a file to begin with. Nobody is asked: what the file does not allow a role is refused.",
        epilog="With --name the conversation is kept: the next task goes on in it, and without a task a round in which "
        f"the program was ended goes on.\n\n{epilog}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", nargs="?", help="the crew, as TOML")
    parser.add_argument("task", metavar="TASK", nargs="?", help="what to say to all of them; - reads it from stdin")
    parser.add_argument("--example", action="store_true", help="print a file that works, with what each line means")
    parser.add_argument("--json", action="store_true", help="print each event as a line of JSON")
    parser.add_argument("--cwd", metavar="DIR", help="the project's directory (default: the current one)")
    parser.add_argument("--round", metavar="HOW", help="take turns otherwise than the file says")
    parser.add_argument("--to", metavar="ROLE", action="append", help="speak to these roles only, in this order")
    parser.add_argument("--name", metavar="NAME", help="the conversation to go on with, or to begin and keep")
    parser.add_argument("--store", metavar="URL", help="where it is kept (default: with ars's own files)")
    parser.add_argument(
        "--pass-env", metavar="NAME", action="append", default=[], help="a variable that the agents get too"
    )
    parser.set_defaults(run=lambda options: told(lambda: _carry_out(options)))


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line. Without a `task`, to go on with what was interrupted."""

    crew: CrewFile
    agents: "dict[str, Vendor]"
    cwd: str
    task: str | None
    round: str | None
    to: Sequence[str] | None
    name: str | None
    store: str
    as_json: bool


def _carry_out(options: argparse.Namespace) -> int:
    from event_log import LogError, StoreInvalid

    if options.example:
        sys.stdout.write(EXAMPLE)
        return DONE
    chosen = _chosen(options)
    try:
        return anyio.run(run, chosen)
    except LogError as why:
        return failed(why, USAGE if isinstance(why, StoreInvalid) else FAILED)


def _chosen(options: argparse.Namespace) -> Options:
    from ars_acp.errors import SettingsError
    from ars_cli import settings
    from ars_cli.chat import working_directory
    from connector.crew import ROUNDS

    if options.file is None:
        raise ConfigurationError("name a file that describes a crew; `ars crew --example` prints one")
    crew = read(options.file)
    task = sys.stdin.read() if options.task == "-" else options.task
    if (task is None and options.name is None) or (task is not None and not task.strip()):
        raise ConfigurationError("there is no task: give one, or write it to stdin and say -")
    if options.round not in (None, *ROUNDS):
        raise ConfigurationError(f"--round is one of {', '.join(ROUNDS)}, not {options.round!r}")
    names = [role.name for role in crew.roles]
    if unknown := [name for name in options.to or () if name not in names]:
        raise ConfigurationError(f"there is no role {', '.join(unknown)}; there are {', '.join(names)}")
    try:
        return Options(
            crew=crew,
            agents={role.name: settings.agent(role.agent, pass_on=options.pass_env) for role in crew.roles},
            cwd=working_directory(options.cwd),
            task=task,
            round=options.round,
            to=options.to,
            name=options.name,
            store=options.store or (settings.crew_store() if options.name else "memory:"),
            as_json=options.json,
        )
    except (SettingsError, ValueError, NotADirectoryError) as why:
        raise ConfigurationError(str(why)) from None


async def run(options: Options) -> int:
    """Carries out one round and returns the exit code of `ars`."""
    return await _Run(options).run()


class _Run:
    """One round, from the start of the agents to the exit code."""

    def __init__(self, options: Options) -> None:
        from ars_cli.crew_screen import Events, People

        self._options = options
        titles = {role.name: _short(role.agent) for role in options.crew.roles}
        self._shown = Events() if options.as_json else People(options.cwd, titles)
        self._talk: Talk | None = None
        self._interrupted = False
        self._exit = FAILED
        self._scope = anyio.CancelScope()

    async def run(self) -> int:
        """Returns the exit code."""
        from connector.crew import open_crew
        from connector.stored import keeping

        options = self._options
        roles = [replace(role, agent=role.name) for role in options.crew.roles]
        with signals.handled(self._interrupt, self._quit), self._scope:
            async with (
                keeping(options.store) as store,
                self._agents(store) as agents,
                open_crew(
                    agents,
                    store,
                    options.name or "crew",
                    roles,
                    cwd=options.cwd,
                    budget=options.crew.budget,
                    on_entry=self._shown.entry,
                    on_update=self._shown.update,
                ) as crew,
            ):
                self._talk = talk = self._begin(crew)
                async for _ in talk:
                    pass
                self._shown.ended(talk, crew.spent)
                self._exit = self._exit_of(talk)
        return self._exit

    def _begin(self, crew: "Crew") -> "Talk":
        options = self._options
        if options.task is not None:
            return crew.say(options.task, round=options.crew.turns(options.round), to=options.to)
        if (interrupted := crew.conversation.interrupted) is None:
            raise ConfigurationError("there is no task, and no round to go on with")
        try:
            return crew.go_on(options.crew.turns(interrupted.kind))
        except ValueError as why:
            raise ConfigurationError(str(why)) from None

    @contextlib.asynccontextmanager
    async def _agents(self, store: "Store") -> "AsyncIterator[Agents]":
        """Each role has an agent of its own, under the role's name, which may do what the file allows that role."""
        from connector import Supervisor
        from connector.crew import Agents

        async with Supervisor(store=store, on_event=self._shown.event) as supervisor:
            for name, agent in self._options.agents.items():
                supervisor.add(name, agent, self._client(name), cwd=self._options.cwd, client_info=INFO)
            yield Agents(supervisor)

    def _client(self, role: str) -> "Client":
        from connector import Client

        def decided(record: dict[str, Any]) -> None:
            self._shown.decision(role, record)

        client = Client(policy=policy(self._options.crew.allow[role], lambda: client), on_decision=decided)
        return client

    def _exit_of(self, talk: "Talk") -> int:
        """What went wrong last with each role, the worst of it."""
        if talk.why == "cancelled":
            return INTERRUPTED if self._interrupted else ABORTED
        last = {reply.role: reply for reply in talk.replies}
        if any(_by_its_agent(reply) for reply in last.values()):
            return FAILED
        early = talk.why != "done" or any(reply.failed for reply in last.values())
        return STOPPED_EARLY if early else DONE

    def _interrupt(self) -> None:
        """The first Ctrl-C cancels the round, the second one ends the program."""
        if self._interrupted or self._talk is None:
            self._quit(INTERRUPTED)
            return
        self._interrupted = True
        self._talk.cancel()

    def _quit(self, code: int) -> None:
        self._exit = code
        self._scope.cancel()


def _short(agent: str) -> str:
    return agent if len(agent) <= LONGEST_AGENT else f"{agent[: LONGEST_AGENT - 1]}…"


def _by_its_agent(reply: "Reply") -> bool:
    return reply.failed and reply.kind not in BY_LIMIT
