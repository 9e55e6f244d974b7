"""What is asked of a client: a row a requirement, and the function that tries it.

Three kinds of functions are tried. Most need a turn and nothing else, and share one (`in_turn`); some are about how a
conversation is opened, and change what the agent does until the prompt comes (`opening`); the rest have a run of the
client of their own (`scene`). What none of them tries is judged from every message of every run (`judged`).
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from acp_check.report import Level, Outcome

if TYPE_CHECKING:
    from acp_check.client_run import Run, Script, Turn

Json = dict[str, Any]


class Verdict(Exception):
    """What ends a trial before its end, with the reason; a trial that ends by itself is met."""

    outcome: Outcome


class Broken(Verdict):
    """The client did what it must not, or did not what it must."""

    outcome = "broken"


class NotSeen(Verdict):
    """The client never did what would show it."""

    outcome = "not seen"


class NotOffered(Verdict):
    """The client does not offer it, and need not."""

    outcome = "not offered"


class Gone(Exception):
    """The client, or its end of the connection, is gone."""


@dataclass(frozen=True)
class Row:
    """One requirement."""

    id: str
    level: Level
    title: str


@dataclass(frozen=True)
class InTurn:
    """A trial inside an open turn. What it asks of the client is answered before it returns, or its verdict says so."""

    row: Row
    play: "Callable[[Turn], Awaitable[None]]"


@dataclass(frozen=True)
class Opening:
    """A trial that changes a script. Those of one `group` go together, until that shows that one of them is broken."""

    row: Row
    group: str
    change: "Callable[[Script], None]"


@dataclass(frozen=True)
class Scene:
    """A trial with a run of its own, which settles all of its rows."""

    rows: tuple[Row, ...]
    play: "Callable[[Run], Awaitable[None]]"
    script: "Callable[[Script], None]"
    needs: str = ""


@dataclass
class Table:
    """All that there is, in the order in which it is told."""

    rows: dict[str, Row] = field(default_factory=dict)
    turns: list[InTurn] = field(default_factory=list)
    openings: list[Opening] = field(default_factory=list)
    scenes: list[Scene] = field(default_factory=list)
    judged: set[str] = field(default_factory=set)

    def add(self, row: Row) -> Row:
        """One more row. Two of one id are a mistake of ours."""
        if row.id in self.rows:
            raise ValueError(f"{row.id} is there already")
        self.rows[row.id] = row
        return row


TABLE = Table()


def judged(*rows: Row) -> None:
    """Rows that every message of a client is held against."""
    TABLE.judged.update(TABLE.add(row).id for row in rows)


def in_turn(id: str, level: Level, title: str) -> "Callable[[Callable[[Turn], Awaitable[None]]], None]":
    """Enters a trial that shares a turn with others."""
    return lambda play: TABLE.turns.append(InTurn(TABLE.add(Row(id, level, title)), play))


def opening(id: str, level: Level, title: str, *, group: str) -> "Callable[[Callable[[Script], None]], None]":
    """Enters a trial of how a conversation is opened."""
    return lambda change: TABLE.openings.append(Opening(TABLE.add(Row(id, level, title)), group, change))


def scene(
    *rows: Row, script: "Callable[[Script], None]" = lambda script: None, needs: str = ""
) -> "Callable[[Callable[[Run], Awaitable[None]]], None]":
    """Enters a trial with a run of its own; `needs` is the option without which it is left out."""
    return lambda play: TABLE.scenes.append(Scene(tuple(map(TABLE.add, rows)), play, script, needs))


def wanted(row: Row, only: Iterable[str]) -> bool:
    """Whether `only`, ids or beginnings of ids, names the row; none of them means all."""
    chosen = tuple(only)
    return not chosen or row.id.startswith(chosen)
