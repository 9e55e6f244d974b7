"""Which of a log's entries still stand, and which turns a rewind takes back.

A `rewind` entry says that the entries above `to`, up to `through`, count no more: no model reads them, no replay shows
them. They stay in the log, and what was chosen or paid for in them stays chosen and paid for.
"""

from collections.abc import Iterable
from typing import Any

Numbered = tuple[int, dict[str, Any]]


class NothingToRewind(Exception):
    """There is no such turn; the message says so to the person."""


def rewinds(entries: Iterable[Numbered]) -> list[tuple[int, int]]:
    """What was taken back: (`to`, `through`) of each rewind."""
    return [(entry["to"], entry["through"]) for _, entry in entries if entry["type"] == "rewind"]


def stands(number: int, taken_back: Iterable[tuple[int, int]]) -> bool:
    """Whether no rewind has taken back the entry of that number."""
    return not any(to < number <= through for to, through in taken_back)


def standing(entries: Iterable[Numbered]) -> list[Numbered]:
    """The entries that no rewind has taken back."""
    every = list(entries)
    taken_back = rewinds(every)
    return [it for it in every if stands(it[0], taken_back)] if taken_back else every


def last_turns(entries: Iterable[Numbered], turns: int) -> list[Numbered]:
    """The entries from the beginning of the last `turns` turns on. A command that changed no file is no turn of these.

    `entries` are those that stand. Raises NothingToRewind.
    """
    every = list(entries)
    begun: int | None = None
    changed = False
    for at in range(len(every) - 1, -1, -1):
        kind = every[at][1]["type"]
        changed = changed or kind == "files"
        if kind == "prompt" or (kind == "command" and changed):
            begun, turns = at, turns - 1
        if kind in ("prompt", "command"):
            changed = False
        if turns == 0:
            return every[at:]
    if begun is None:
        raise NothingToRewind("There is no turn to take back.")
    raise NothingToRewind("There are not so many turns to take back.")


def turns_after(entries: Iterable[Numbered], number: int) -> list[Numbered]:
    """The entries from the beginning of the first turn after `number` on. Raises as `last_turns`."""
    every = list(entries)
    for at, (its_number, entry) in enumerate(every):
        if its_number > number and entry["type"] in ("prompt", "command"):
            return every[at:]
    raise NothingToRewind("No turn began after that entry.")
