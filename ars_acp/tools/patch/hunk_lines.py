"""One hunk of a unified diff. Its counts are believed where the lines bear them out, else the lines are counted."""

import re
from dataclasses import dataclass, field

from ars_acp.tools.patch.model import Hunk, Op, PatchError

_NUMBERS = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))?(?: *@@.*| *)")
_SIGNATURE = re.compile(r"-- ?\r?")  # of a patch sent by mail


def starts_file(lines: list[str], at: int) -> bool:
    """True where `lines[at]` is the first of a file's `---` and `+++` lines."""
    return lines[at].startswith("--- ") and at + 1 < len(lines) and lines[at + 1].startswith("+++ ")


def read_hunk(lines: list[str], at: int) -> tuple[Hunk, int]:
    """The hunk whose @@ line is `lines[at]`, and the number of the line after it."""
    title = lines[at].removesuffix("\r")
    if title.startswith("@@@"):
        raise PatchError("a combined diff of a merge cannot be applied")
    found = _NUMBERS.fullmatch(title)
    body = _Body()
    after = None
    if found:
        body, after = _counted(lines, at + 1, int(found[2] or 1), int(found[4] or 1))
    if after is None:
        body, after = _until_the_next(lines, at + 1)
    return Hunk(
        lines=tuple(body.lines),
        start=int(found[1]) if found else None,
        inserts=bool(found and found[2] is not None and int(found[2]) == 0),
        header="" if found else header_text(title),
        old_open=body.old_open,
        new_open=body.new_open,
    ), after


def stated_start(title: str) -> int | None:
    """The old side's line number in an @@ line, if it has one."""
    found = _NUMBERS.fullmatch(title)
    return int(found[1]) if found else None


def header_text(title: str) -> str:
    """The line of code in an @@ line without numbers: `@@ class A:`. Empty where it holds no word."""
    text = title.strip("@ ")
    return text if any(char.isalpha() for char in text) else ""


@dataclass(slots=True)
class _Body:
    lines: list[tuple[Op, str]] = field(default_factory=list)
    old_open: bool = False
    new_open: bool = False

    def mark(self) -> None:
        """`\\ No newline at end of file`, said of the line before."""
        op = self.lines[-1][0] if self.lines else " "
        self.old_open |= op != "+"
        self.new_open |= op != "-"


def _counted(lines: list[str], at: int, old: int, new: int) -> tuple[_Body, int | None]:
    """As many lines as the counts say; None for the place after them where the counts are wrong."""
    body = _Body()
    while at < len(lines) and (old > 0 or new > 0 or lines[at].startswith("\\")):
        line = lines[at]
        at += 1
        if line.startswith("\\"):
            body.mark()
            continue
        op, text = _split(line)
        if op is None:
            return body, None
        old -= op != "+"
        new -= op != "-"
        body.lines.append((op, text))
    if old != 0 or new != 0:
        return body, None
    after = at
    while after < len(lines) and lines[after] in ("", "\r"):
        after += 1
    return body, after if _ends_hunk(lines, after) else None


def _until_the_next(lines: list[str], at: int) -> tuple[_Body, int]:
    """All lines up to what can only be the next hunk, the next file or the end."""
    body = _Body()
    blank = 0  # blank lines that may only stand between this hunk and what follows
    while at < len(lines) and not _ends_hunk(lines, at):
        blank = blank + 1 if lines[at] in ("", "\r") else 0
        if lines[at].startswith("\\"):
            body.mark()
        else:
            op, text = _split(lines[at])
            # Models forget the blank before a line of context.
            body.lines.append((" ", lines[at]) if op is None else (op, text))
        at += 1
    del body.lines[len(body.lines) - blank :]
    return body, at


def _split(line: str) -> tuple[Op | None, str]:
    if line in ("", "\r"):
        return " ", line
    op = line[0]
    return (op, line[1:]) if op in (" ", "-", "+") else (None, line)  # type: ignore[return-value]  # op is one of Op


def _ends_hunk(lines: list[str], at: int) -> bool:
    if at >= len(lines):
        return True
    line = lines[at]
    if line.startswith(("@@", "diff --git ", "Index: ")):
        return True
    if _SIGNATURE.fullmatch(line):
        return at + 1 < len(lines) and re.match(r"\d+\.\d", lines[at + 1]) is not None
    # A line "-- x" that goes and a line "++ y" that comes look the same; no hunk begins after those.
    return starts_file(lines, at) and at + 2 < len(lines) and lines[at + 2].startswith("@@")
