"""Diffs for people: made from two texts, cut into hunks, printed in colour."""

import difflib
from collections.abc import Iterable

from ars_cli.plain import clean
from ars_cli.screen import Screen

CONTEXT = 3
MAX_LINES = 200


def unified(path: str, old: str | None, new: str) -> list[str]:
    """The lines of a unified diff, without their ends; `old` is None for a new file."""
    lines = difflib.unified_diff(
        (old or "").splitlines(),
        new.splitlines(),
        path if old is not None else "/dev/null",
        path,
        n=CONTEXT,
        lineterm="",
    )
    return list(lines)


def counted(lines: Iterable[str]) -> tuple[int, int]:
    """How many lines a diff adds and removes."""
    added = removed = 0
    for line in lines:
        added += line.startswith("+") and not line.startswith("+++ ")
        removed += line.startswith("-") and not line.startswith("--- ")
    return added, removed


def show(screen: Screen, lines: Iterable[str], *, limit: int = MAX_LINES, indent: str = "") -> None:
    """Prints a diff, at most `limit` lines of it."""
    for number, line in enumerate(lines):
        if number == limit:
            screen.line(f"{indent}… the rest is not shown here", "dim")
            return
        screen.line(indent + clean(line.rstrip("\n")), _style(line))


def _style(line: str) -> str:
    if line.startswith(("+++ ", "--- ", "diff --git ", "index ", "new file", "deleted file", "rename ", "*** ")):
        return "bold"
    if line.startswith("@@"):
        return "place"
    return {"+": "added", "-": "removed"}.get(line[:1], "")
