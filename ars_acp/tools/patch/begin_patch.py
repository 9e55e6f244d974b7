"""The `*** Begin Patch` form: files by name, hunks by their context instead of by line numbers."""

from ars_acp.tools.patch.hunk_lines import header_text, stated_start
from ars_acp.tools.patch.model import FilePatch, Hunk, Op, PatchError

BEGIN, END, END_OF_FILE = "*** Begin Patch", "*** End Patch", "*** End of File"
_ADD, _UPDATE, _DELETE, _MOVE = "*** Add File: ", "*** Update File: ", "*** Delete File: ", "*** Move to: "


def parse(lines: list[str]) -> list[FilePatch]:
    """`lines` begin with BEGIN."""
    end = len(lines)
    while end > 1 and not lines[end - 1].strip():
        end -= 1
    if lines[end - 1].rstrip() != END:
        raise PatchError(f"the patch does not end with {END!r}: it may have been cut short")
    files: list[FilePatch] = []
    sections = [at for at in range(1, end - 1) if lines[at].startswith((_ADD, _UPDATE, _DELETE))]
    if any(line.strip() for line in lines[1 : sections[0] if sections else end - 1]):
        raise PatchError(f"line 2 of the patch must be one of {_ADD!r}, {_UPDATE!r}, {_DELETE!r}")
    for at, until in zip(sections, [*sections, end - 1][1:], strict=True):
        files.append(_section(lines[at], lines[at + 1 : until], at + 2))
    return files


def _section(title: str, body: list[str], number: int) -> FilePatch:
    """One file's part; `number` is the line of `body`'s first line in the patch, from 1."""
    path = title.partition(": ")[2].strip()
    if title.startswith(_DELETE):
        if any(line.strip() for line in body):
            raise PatchError(f"line {number} of the patch: nothing may follow {_DELETE}{path}")
        return FilePatch("delete", path)
    if title.startswith(_ADD):
        return _added(path, body, number)
    move_to = None
    if body and body[0].startswith(_MOVE):
        move_to = body[0].removeprefix(_MOVE).strip()
        body, number = body[1:], number + 1
    hunks = _hunks(path, body, number)
    if not hunks and move_to is None:
        raise PatchError(f"{path}: the patch names the file and changes nothing")
    return FilePatch("update", path, hunks, move_to)


def _added(path: str, body: list[str], number: int) -> FilePatch:
    while body and not body[-1].strip():
        body = body[:-1]
    lines: list[tuple[Op, str]] = []
    for offset, line in enumerate(body):
        if line.strip() and not line.startswith("+"):
            raise PatchError(f"line {number + offset} of the patch: every line of an added file starts with +")
        lines.append(("+", line[1:] if line.startswith("+") else ""))
    return FilePatch("add", path, (Hunk(tuple(lines)),) if lines else ())


def _hunks(path: str, body: list[str], number: int) -> tuple[Hunk, ...]:
    hunks: list[Hunk] = []
    header: list[str] = []
    start: int | None = None
    lines: list[tuple[Op, str]] = []
    blank = 0  # blank lines that may only stand between this hunk and what follows

    def close(*, at_end: bool = False) -> None:
        del lines[len(lines) - blank :]
        if lines:
            hunk = Hunk(tuple(lines), start=start, header="\n".join(header), at_end=at_end)
            if not hunk.changes:
                raise PatchError(f"{path}: hunk {len(hunks) + 1} has no + and no - lines")
            hunks.append(hunk)
            header.clear()
            lines.clear()

    for offset, line in enumerate(body):
        op = line[:1]
        if line.startswith("@@"):
            close()
            start = stated_start(line.rstrip())
            # Several headers in a row narrow the place down: a class, then its method.
            header += [text] if start is None and (text := header_text(line)) else []
        elif line.rstrip() == END_OF_FILE:
            close(at_end=True)
        elif line.startswith("*** "):
            raise PatchError(f"line {number + offset} of the patch: {line[:60]!r} is not understood here")
        elif op in (" ", "-", "+"):
            lines.append((op, line[1:]))  # type: ignore[arg-type]  # op is one of Op
        else:
            lines.append((" ", line))  # models forget the blank before context, above all on empty lines
        blank = blank + 1 if lines and not line else 0
    close()
    return tuple(hunks)
