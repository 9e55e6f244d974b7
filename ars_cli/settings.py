"""What `ars` takes from the environment, and the command that starts its agent."""

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

from connector.vendors import VENDORS, Vendor, command_of

# What ars-acp needs beside the usual: its endpoint, its own settings, where its files are, how to get out of the house.
AGENT_NAMES = (
    *("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"),
    *("XDG_CONFIG_HOME", "XDG_STATE_HOME"),
    *(
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
    ),
)
AGENT_PREFIX = "ARS_"
OWN = "ars"


@dataclass(frozen=True)
class Look:
    """How to print: with colours, and with a status line that comes and goes."""

    colour: bool
    live: bool
    width: int


def look(out: TextIO) -> Look:
    """Colours for terminals that can show them, unless NO_COLOR is set to something."""
    terminal = out.isatty()
    capable = os.environ.get("TERM", "dumb") != "dumb"
    return Look(
        colour=terminal and capable and not os.environ.get("NO_COLOR"),
        live=terminal and capable,
        width=shutil.get_terminal_size((100, 24)).columns,
    )


def agent(named: str | None, *, more: Sequence[str] = (), pass_on: Sequence[str] = ()) -> Vendor:
    """The row of an agent: a vendor's name, a command as a person types it, or our own with the arguments `more`.

    Raises ValueError where `named` is no command line. Of our environment an agent gets what its row and `pass_on`
    name, our own also every `ARS_*` variable.
    """
    if named is not None and not named.strip():
        raise ValueError("the agent's command is empty")
    if named not in (None, OWN):
        row = command_of(named or "")
        return replace(row, settings=(*row.settings, *pass_on))
    row = VENDORS[OWN]
    names = (*AGENT_NAMES, *pass_on, *(name for name in os.environ if name.startswith(AGENT_PREFIX)))
    installed = Path(sys.executable).with_name("ars-acp")
    if installed.exists():
        return replace(row, name="ars-acp", argv=(str(installed), *more), settings=names)
    # From a checkout that is not installed. -P: what lies in the agent's cwd must not pass for one of its modules.
    env = {**row.env, "PYTHONPATH": str(Path(__file__).parent.parent)}
    return replace(row, name="ars-acp", argv=(sys.executable, "-P", "-m", "ars_acp", *more), env=env, settings=names)


def model_is_configured() -> bool:
    """Whether ars-acp would find a model: in the environment, or in what `ars-acp login` wrote.

    Raises `ars_acp.errors.SettingsError` for settings that are wrong.
    """
    from ars_acp.settings import load

    return load({}).can_reach_a_model()


def crew_store() -> str:
    """The URL of the store where the conversations of crews are kept, with those of their roles.

    Raises `ars_acp.errors.SettingsError` where there is no home directory.
    """
    from ars_acp.settings import state_directory

    return f"jsonl:{state_directory() / 'crews'}"


def conversation_store() -> str:
    """The URL of the store where the conversations with a name are kept. Raises as `crew_store`."""
    from ars_acp.settings import state_directory

    return f"jsonl:{state_directory() / 'conversations'}"


def demo_script() -> str:
    """The script that plays the model's part in the demonstration."""
    from ars_acp.models.script import DEMO

    return str(DEMO)
