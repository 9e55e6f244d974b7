"""Puts a file's patch into its text: hunks placed, line ends kept, indentation carried over."""

import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ars_acp.tools.patch.match import Haystack
from ars_acp.tools.patch.model import Applied, FileChange, FilePatch, Hunk, Op, PatchError


def apply(patch: FilePatch, old: str | None, name: str) -> Applied:
    """What becomes of the file whose text is `old` (None: there is no such file), called `name` in errors.

    Raises PatchError where a hunk fits no place or several, or where the file exists and should not, or the reverse.
    """
    if old is None and (patch.kind == "add" or _is_new(patch)):
        return _added(patch)
    if patch.kind == "add":
        raise PatchError(f"{name}: the patch adds the file, but it exists")
    if old is None:
        raise PatchError(f"{name}: there is no such file")
    if patch.kind == "delete" and not patch.hunks:
        return Applied(FileChange(patch.path, old, None), whole(old, "-"))
    new, hunks = _placed(patch.hunks, old, name)
    if patch.kind == "delete":
        if new:
            raise PatchError(f"{name}: the file has other lines than those that the patch deletes; read it again")
        return Applied(FileChange(patch.path, old, None), hunks)
    if new == old and patch.move_to is None:
        raise PatchError(f"{name}: the patch is already applied: it would change nothing")
    return Applied(FileChange(patch.path, old, new, patch.move_to), hunks, patch.executable)


def whole(text: str, op: Op) -> tuple[Hunk, ...]:
    """All of a file as one hunk, that it comes or goes with; no hunk for an empty file."""
    lines, is_open = _split(text)
    if not lines:
        return ()
    start, inserts = (0, True) if op == "+" else (1, False)
    hunk = Hunk(tuple((op, line) for line in lines), start, inserts, old_open=is_open, new_open=is_open)
    return (hunk,)


def _is_new(patch: FilePatch) -> bool:
    """Models also write a new file as a change of one that is not there: no old lines, at its beginning."""
    if len(patch.hunks) != 1 or patch.kind != "update" or patch.move_to is not None:
        return False
    return not patch.hunks[0].old and patch.hunks[0].start in (None, 0, 1)


def _added(patch: FilePatch) -> Applied:
    lines = [text for hunk in patch.hunks for text in hunk.new]
    is_open = any(hunk.new_open for hunk in patch.hunks)
    text = "\n".join(lines) + ("" if is_open or not lines else "\n")
    return Applied(FileChange(patch.path, None, text), whole(text, "+"), patch.executable)


def _split(text: str) -> tuple[list[str], bool]:
    """The lines of `text`, and whether the last one lacks its newline."""
    lines = text.split("\n")
    if lines[-1]:
        return lines, True
    return lines[:-1], False


@dataclass(slots=True)
class _File:
    """A file's lines without their ends, the end of each, and whether the last one has none."""

    lines: list[str]
    ends: list[str]
    is_open: bool

    default: str = "\n"

    def end_near(self, at: int) -> str:
        """The line end for what is put before line `at`."""
        return self.ends[max(at - 1, 0)] if self.ends else self.default


def _placed(hunks: Sequence[Hunk], old: str, name: str) -> tuple[str, tuple[Hunk, ...]]:
    """The text with all `hunks` in it, and those with the file's own lines and numbers."""
    texts = [text for hunk in hunks for _, text in hunk.lines]
    with_cr = sum(text.endswith("\r") for text in texts)
    if 0 < with_cr < len(texts):
        # Some lines end in CR and some do not: the patch is about line ends, and means them.
        with contextlib.suppress(PatchError):
            return _replaced(hunks, _file(old, strip=False), name)
    default = "\r\n" if texts and with_cr == len(texts) else "\n"
    return _replaced([_without_cr(it) for it in hunks], replace(_file(old, strip=True), default=default), name)


def _without_cr(hunk: Hunk) -> Hunk:
    return replace(hunk, lines=tuple((op, text.removesuffix("\r")) for op, text in hunk.lines))


def _file(text: str, *, strip: bool) -> _File:
    lines, is_open = _split(text)
    if not strip:
        return _File(lines, ["\n"] * len(lines), is_open)
    ends = ["\r\n" if line.endswith("\r") else "\n" for line in lines]
    if is_open:  # what ends the file is not a line end
        ends[-1] = ends[-2] if len(ends) > 1 else "\n"
        return _File([line.removesuffix("\r") for line in lines[:-1]] + lines[-1:], ends, is_open)
    return _File([line.removesuffix("\r") for line in lines], ends, is_open)


@dataclass(slots=True)
class _Edit:
    """Lines from `start` up to `stop` become `lines`, each with its end."""

    start: int
    stop: int
    lines: list[tuple[str, str]]
    hunk: int


def _replaced(hunks: Sequence[Hunk], file: _File, name: str) -> tuple[str, tuple[Hunk, ...]]:
    haystack = Haystack(name, file.lines)
    edits: list[_Edit] = []
    placed: list[Hunk] = []
    is_open = file.is_open
    for number, hunk in enumerate(hunks, 1):
        at = haystack.place(hunk, number)
        at_end = at + len(hunk.old) == len(file.lines)
        if at_end:
            is_open = _open_after(hunk, file)
        made = _edits(hunk, at, file, number, name)
        edits += made
        placed.append(_as_placed(hunk, at, file, made, at_end and is_open))
    edits.sort(key=lambda it: (it.start, it.stop))
    for before, after in itertools.pairwise(edits):
        if after.start < before.stop or (after.start == before.start and after.hunk != before.hunk):
            raise PatchError(f"{name}: hunks {before.hunk} and {after.hunk} change the same lines")
    lines: list[tuple[str, str]] = []
    at = 0
    for edit in edits:
        lines += zip(file.lines[at : edit.start], file.ends[at : edit.start], strict=True)
        lines += edit.lines
        at = edit.stop
    lines += zip(file.lines[at:], file.ends[at:], strict=True)
    text = "".join(line + end for line, end in lines)
    if is_open and lines:
        text = text[: len(text) - len(lines[-1][1])]
    placed.sort(key=lambda it: it.start or 0)
    return text, tuple(placed)


def _edits(hunk: Hunk, at: int, file: _File, number: int, name: str) -> list[_Edit]:
    """What `hunk` changes when its old side stands at index `at`."""
    indent = _Indentation(hunk.old, file.lines[at : at + len(hunk.old)])
    edits: list[_Edit] = []
    for op, text in hunk.lines:
        if op == "+":
            new = indent.carried(text)
            if new is None:
                raise PatchError(f"{name}: hunk {number} fits only with another indentation; read the file again")
            _edit_at(edits, at, number).lines.append((new, file.end_near(at)))
            continue
        if op == "-":
            _edit_at(edits, at, number).stop = at + 1
        at += 1
    return edits


def _as_placed(hunk: Hunk, at: int, file: _File, edits: Sequence[_Edit], new_open: bool) -> Hunk:
    """`hunk` as it reads in the file: its own lines, their ends (a CR stands with the line), true numbers."""
    start = at
    new = [pair for edit in edits for pair in edit.lines]
    lines: list[tuple[Op, str, str]] = []
    for op, _ in hunk.lines:
        if op == "+":
            lines.append((op, *new.pop(0)))
        else:
            lines.append((op, file.lines[at], file.ends[at]))
            at += 1
    old_open = file.is_open and at == len(file.lines)
    last_old = max((it for it, line in enumerate(lines) if line[0] != "+"), default=-1)
    if old_open and lines[last_old][0] == " " and "+" in (op for op, _, _ in lines[last_old:]):
        # The line stays but gets a newline: only its going and coming can say so.
        _, text, end = lines[last_old]
        lines[last_old : last_old + 1] = [("-", text, end), ("+", text, end)]
    last_new = max((it for it, line in enumerate(lines) if line[0] != "-"), default=-1)
    ends = {*([last_old] if old_open else []), *([last_new] if new_open else [])}
    return Hunk(
        tuple((op, text if it in ends else text + end.removesuffix("\n")) for it, (op, text, end) in enumerate(lines)),
        start=start + 1 if hunk.old else start,
        inserts=not hunk.old,
        old_open=old_open,
        new_open=new_open,
    )


def _edit_at(edits: list[_Edit], at: int, hunk: int) -> _Edit:
    """The edit that ends at `at`, to be continued, or a new one there."""
    if not edits or edits[-1].stop != at:
        edits.append(_Edit(at, at, [], hunk))
    return edits[-1]


def _open_after(hunk: Hunk, file: _File) -> bool:
    """Whether the file's last line lacks its newline after `hunk`, which reaches the end of the file."""
    last = hunk.lines[-1][0]
    if (hunk.new_open or hunk.old_open) and last != " ":
        return hunk.new_open
    # Nothing was said of it, or of a line that stays: what is replaced keeps its state, and so does what stays; what
    # stood before the end had its newline.
    return file.is_open and last != "-"


class _Indentation:
    """How the file indents the lines that the patch indents in another way."""

    def __init__(self, said: Sequence[str], found: Sequence[str]) -> None:
        pairs = [(_indent(a), _indent(b)) for a, b in zip(said, found, strict=True) if a.strip() and b.strip()]
        self.same = all(a == b for a, b in pairs)
        self.known = dict(pairs) if len(set(pairs)) == len(dict(pairs)) else {}
        self.more = _common({b.removesuffix(a) if b.endswith(a) else None for a, b in pairs})
        self.less = _common({a.removesuffix(b) if a.endswith(b) else None for a, b in pairs})

    def carried(self, line: str) -> str | None:
        """`line` with the file's indentation; None where that cannot be known."""
        if self.same or not line.strip():
            return line
        indent, rest = _indent(line), line.lstrip()
        if indent in self.known:
            return self.known[indent] + rest
        if self.more is not None:
            return self.more + line
        if self.less is not None and indent.startswith(self.less):
            return line.removeprefix(self.less)
        return None


def _common(values: set[str | None]) -> str | None:
    return values.pop() if len(values) == 1 else None


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]
