"""Conversations by name: `ars run --name` and `ars chat --name` go on with the same one each time."""

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from ars_cli.failures import ConfigurationError

if TYPE_CHECKING:
    from connector import Connector, Session
    from event_log.stores import Store

HELP = "go on with the conversation of that name with this agent in this directory, or begin it"
LOST = "The agent no longer has this conversation: your prompt goes to it with an account of what was said."


def checked(name: str | None) -> str | None:
    """The name, or None. Raises `ConfigurationError` for an empty one, and where there is no home directory."""
    if name is None:
        return None
    from ars_acp.errors import SettingsError
    from ars_cli import settings

    if not name.strip():
        raise ConfigurationError("the conversation's name is empty")
    try:
        settings.conversation_store()
    except SettingsError as why:
        raise ConfigurationError(str(why)) from None
    return name


@contextlib.asynccontextmanager
async def kept(name: str | None) -> "AsyncIterator[Store | None]":
    """Where the conversation is kept, for the length of the block; None for one without a name."""
    if name is None:
        yield None
        return
    from ars_cli import settings
    from connector import keeping

    async with keeping(settings.conversation_store()) as store:
        yield store


async def opened(connector: "Connector", name: str | None, cwd: str, **more: Any) -> "Session":
    """The conversation of that name, without one a new session. Raises as `Connector.ensure`."""
    if name is None:
        return await connector.new_session(cwd, **more)
    return await connector.ensure(name, cwd, **more)


def account(session: "Session") -> list[str]:
    """What a person should know of a conversation that goes on, a line each."""
    from ars_cli.plain import visible

    if session.how == "new" or not session.record.name:
        return []
    turns = sum(not turn.unsent for turn in session.turns)
    lines = [f"{visible(session.record.name)} goes on, {turns} {'turn' if turns == 1 else 'turns'} so far"]
    if session.how == "recreated":
        lines.append(LOST)
    if session.record.interrupted is not None:
        lines.append("The last turn was cut off when ars ended; what the agent did after that is unknown.")
    lines += [f"Never sent: {visible(turn.exchange().prompt)}" for turn in session.record.unsent]
    return lines


def described(session: "Session") -> dict[str, Any]:
    """The same for programs."""
    record = session.record
    if not record.name:
        return {}
    told = {"name": record.name, "how": session.how, "turns": sum(not turn.unsent for turn in session.turns)}
    return {
        "conversation": {
            **told,
            "interrupted": record.interrupted is not None,
            "unsent": [turn.exchange().prompt for turn in record.unsent],
        }
    }
