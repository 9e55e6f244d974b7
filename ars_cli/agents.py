"""`ars agents`: which agents are installed, their version, whether one is signed in, what they can do.

Each is really launched, as far as a session: what an agent says of itself is the only thing that is true of it.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import anyio

from ars_cli import __version__
from ars_cli.exits import DONE
from ars_cli.failures import told

if TYPE_CHECKING:
    from connector import Connector
    from connector.vendors import Vendor

AT_ONCE = 3
SECONDS = 60.0
ABILITIES = {
    "image": "prompt_capabilities.image",
    "audio": "prompt_capabilities.audio",
    "embeddedContext": "prompt_capabilities.embedded_context",
    "load": "load_session",
    "resume": "session_capabilities.resume",
    "list": "session_capabilities.list",
    "close": "session_capabilities.close",
    "delete": "session_capabilities.delete",
    "directories": "session_capabilities.additional_directories",
    "mcp-http": "mcp_capabilities.http",
    "mcp-sse": "mcp_capabilities.sse",
}


@dataclass
class Found:
    """What is known of one agent. `signed_in` is None where only a prompt would tell; `todo` is for the person."""

    name: str
    title: str
    installed: bool = False
    version: str = ""
    signed_in: bool | None = None
    can: list[str] = field(default_factory=list)
    modes: list[str] = field(default_factory=list)
    sign_in_methods: list[str] = field(default_factory=list)
    todo: str = ""
    problem: str = ""


def add_parser(commands: Any, *, epilog: str) -> None:
    """The command's options."""
    parser = commands.add_parser(
        "agents",
        help="which agents are here, and what they can do",
        description="Launch each known agent that is installed and print its version, whether you are signed in, and "
        "what it can do.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", metavar="AGENT", nargs="*", help="only these (names or command lines)")
    parser.add_argument("--json", action="store_true", help="print a JSON array")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, default=SECONDS, help="for each (default: 60)")
    parser.set_defaults(run=lambda options: told(lambda: _survey(options)))


def _survey(options: argparse.Namespace) -> int:
    from ars_cli import settings
    from ars_cli.failures import ConfigurationError
    from connector.vendors import VENDORS

    try:
        rows = {name: settings.agent(name) for name in options.names or VENDORS}
    except ValueError as why:
        raise ConfigurationError(str(why)) from None
    found = anyio.run(survey, rows, options.timeout)
    if options.json:
        print(json.dumps([asdict(one) for one in found], indent=2))
    else:
        _show(found)
    return DONE


async def survey(rows: "Mapping[str, Vendor]", seconds: float) -> list[Found]:
    """All of them, a few at a time, in the order of `rows`; none takes longer than about `seconds`."""
    found = [Found(name, row.title) for name, row in rows.items()]
    slots = anyio.CapacityLimiter(AT_ONCE)
    async with anyio.create_task_group() as tasks:
        for row, one in zip(rows.values(), found, strict=True):
            tasks.start_soon(_look_at, row, one, seconds, slots)
    return found


async def _look_at(row: "Vendor", found: Found, seconds: float, slots: anyio.CapacityLimiter) -> None:
    from connector import Client, ConnectorError, SignInNeeded, launch

    found.installed = shutil.which(row.argv[0]) is not None
    if not found.installed:
        found.todo = f"install it: {row.install}" if row.install else f"there is no {row.argv[0]} on the PATH"
        return
    limits = replace(row.limits, initialize=seconds, session=seconds, authenticate=seconds)
    info = {"name": "ars", "title": "ars agents", "version": __version__}
    async with slots:
        with tempfile.TemporaryDirectory(prefix="ars-agents-", ignore_cleanup_errors=True) as cwd:
            try:
                async with launch(row, Client(), cwd=cwd, limits=limits, client_info=info) as connector:
                    _note(connector, found)
                    await _try_a_session(connector, found, cwd)
                found.signed_in = None if row.sign_in.shows == "session/prompt" else True
            except SignInNeeded:
                found.signed_in, found.todo = False, row.sign_in.run
            except ConnectorError as why:
                found.problem = str(why)
    if found.signed_in is None and not found.problem:
        found.todo = f"only a prompt tells whether you are signed in; if not: {row.sign_in.run}"


def _note(connector: "Connector", found: Found) -> None:
    info = connector.agent.agent_info
    found.version = info.version if info else ""
    found.can = [name for name, capability in ABILITIES.items() if connector.offers(capability)]
    found.sign_in_methods = [method.id for method in connector.agent.auth_methods]


async def _try_a_session(connector: "Connector", found: Found, cwd: str) -> None:
    """A session shows whether one is signed in; it is taken away again as far as the agent lets us."""
    session = await connector.new_session(cwd)
    found.modes = [mode.id for mode in session.modes.available_modes] if session.modes else []
    if connector.offers(ABILITIES["delete"]):
        await connector.delete_session(session.id)
    else:
        await session.close()


def _show(found: list[Found]) -> None:
    from ars_cli import settings
    from ars_cli.plain import clean, visible
    from ars_cli.screen import Screen

    look = settings.look(sys.stdout)
    screen = Screen(colour=look.colour, live=False, width=look.width)
    wide = max(len(one.name) for one in found)
    for one in found:
        state, style = _state(one)
        screen.write(f"{visible(one.name):<{wide}}  ", "bold")
        screen.write(f"{state:<14}", style)
        screen.write(visible(f"{one.title} {one.version}".strip()) + "\n")
        for text in (" ".join(one.can), f"modes: {', '.join(one.modes)}" if one.modes else "", one.todo, one.problem):
            for line in clean(text).splitlines():
                screen.line(f"{' ' * wide}  {line}", "dim")


def _state(found: Found) -> tuple[str, str]:
    if found.problem:
        return "failed", "bad"
    if not found.installed:
        return "not installed", "dim"
    return ("sign in", "warning") if found.signed_in is False else ("ready", "good")
