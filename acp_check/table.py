"""The table of requirements on agents: each is a function that tries one, in a module of `acp_check.chapters`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from acp_check.report import Level

if TYPE_CHECKING:
    from acp_check.trial import Trial

Try = Callable[["Trial"], Awaitable[str | None]]


class Broken(Exception):
    """The requirement is broken; the message says what was sent and what came."""


class NotOffered(Exception):
    """The agent does not claim it, and need not."""


class NotSeen(Exception):
    """The agent never came to where it would show."""


@dataclass(frozen=True)
class Requirement:
    """One row. `rules` are those of the project's list that it shows; `turns`: a model is needed to see it."""

    id: str
    level: Level
    title: str
    attempt: Try
    chapter: str
    rules: tuple[str, ...] = ()
    turns: bool = False
    watched: bool = False


REQUIREMENTS: dict[str, Requirement] = {}


def requirement(
    name: str,
    level: Level,
    title: str,
    *,
    rules: tuple[str, ...] = (),
    turns: bool = False,
    watched: bool = False,
) -> Callable[[Try], Try]:
    """Enters a function that tries the requirement `name` into the table.

    It returns when the requirement is met, perhaps with a line about what was seen, and raises `Broken`, `NotOffered`
    or `NotSeen`. `watched`: every message of the whole run is held against it besides (`acp_check.watch`), and the
    function only sees to it that there is something to be seen.
    """

    def enter(attempt: Try) -> Try:
        assert name not in REQUIREMENTS, name
        chapter = attempt.__module__.rpartition(".")[2]
        REQUIREMENTS[name] = Requirement(name, level, title, attempt, chapter, rules, turns, watched)
        return attempt

    return enter
