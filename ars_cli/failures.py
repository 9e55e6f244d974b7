"""What goes wrong in a command, as a few lines on stderr and an exit code."""

import sys
from collections.abc import Callable

from ars_cli.exits import FAILED, USAGE


class ConfigurationError(Exception):
    """Something that the person has to change; the message is one line."""


def told(work: Callable[[], int]) -> int:
    """Does the work and returns its exit code, or tells what went wrong and returns that one's."""
    from connector.errors import AgentNotFound, ConnectorError, SignInNeeded

    try:
        return work()
    except (AgentNotFound, SignInNeeded, ConfigurationError) as why:
        return failed(why, USAGE)
    except ConnectorError as why:
        return failed(why, FAILED)


def failed(why: Exception, code: int) -> int:
    """Tells it; `code` is the exit code."""
    from ars_cli.plain import clean

    print(f"ars: {clean(str(why))}", file=sys.stderr)
    return code
