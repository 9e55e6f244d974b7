"""Unified diffs, plain ones and git's: file headers here, hunks in hunk_lines.py.

Every name that a header holds must agree with the others: a patch that says one path to the person and another to us
is refused. So is what is not a regular text file: links, submodules, binary patches, copies.
"""

import re
from dataclasses import dataclass, field

from ars_acp.tools.patch.hunk_lines import read_hunk, starts_file
from ars_acp.tools.patch.model import FilePatch, Hunk, PatchError
from ars_acp.tools.patch.names import NOWHERE, common_name, file_name, git_names, name_pairs, same_name

_MODES = {"100644", "100755", "100664", "100600"}
_MODE = re.compile(r"(?:(old|new|new file|deleted file) mode|index [0-9a-f]+\.\.[0-9a-f]+) (\d+)")


@dataclass(slots=True)
class _Header:
    """What is known of the file at hand."""

    git: str | None = None
    old: str | None = None
    new: str | None = None
    rename_from: str | None = None
    rename_to: str | None = None
    modes: dict[str, str] = field(default_factory=dict)
    hunks: list[Hunk] = field(default_factory=list)


def parse(lines: list[str]) -> list[FilePatch]:
    files: list[FilePatch] = []
    header = _Header()
    at = 0
    while at < len(lines):
        line = lines[at].removesuffix("\r")
        if line.startswith("diff --git "):
            _finish(header, files)
            header = _Header(git=line.removeprefix("diff --git "))
        elif starts_file(lines, at):
            if header.old is not None:
                _finish(header, files)
                header = _Header()
            header.old, header.new = file_name(line), file_name(lines[at + 1])
            at += 1
        elif line.startswith("@@"):
            if header.old is None:
                raise PatchError(f"line {at + 1} of the patch: a hunk without the --- and +++ lines of its file")
            hunk, at = read_hunk(lines, at)
            header.hunks += [hunk] if hunk.changes else []
            continue
        else:
            _header_line(header, line)
        at += 1
    _finish(header, files)
    return files


def _header_line(header: _Header, line: str) -> None:
    """A line that is neither a file's names nor a hunk: git's own headers, and prose, which says nothing."""
    if line.startswith(("Binary files ", "GIT binary patch", "diff --cc ", "diff --combined ", "*** Begin Patch")):
        raise PatchError(f"{line[:60]!r}: only text patches of one form are taken")
    if header.git is None:
        return
    if line.startswith(("copy from ", "copy to ")):
        raise PatchError("copies are not taken: add the file with its text")
    if line.startswith("rename from "):
        header.rename_from = file_name(line, "rename from ")
    elif line.startswith("rename to "):
        header.rename_to = file_name(line, "rename to ")
    elif found := _MODE.fullmatch(line):
        if found[2] not in _MODES:
            raise PatchError(f"mode {found[2]}: symbolic links, submodules and special files are not taken")
        header.modes[found[1] or "index"] = found[2]


def _finish(header: _Header, files: list[FilePatch]) -> None:
    """Add what `header` has gathered to `files`."""
    if header.git is None and header.old is None:
        return
    if (header.rename_from is None) != (header.rename_to is None):
        raise PatchError("'rename from' and 'rename to' belong together")
    executable = "new" in header.modes or header.modes.get("new file") == "100755"
    if header.rename_from is not None and header.rename_to is not None:
        _check_rename(header, header.rename_from, header.rename_to)
        hunks = tuple(header.hunks)
        files.append(FilePatch("update", header.rename_from, hunks, header.rename_to, executable))
        return
    name = _name(header)
    if header.old == NOWHERE or "new file" in header.modes:
        files.append(FilePatch("add", name, _whole(header, name, "+"), executable=executable))
    elif header.new == NOWHERE or "deleted file" in header.modes:
        files.append(FilePatch("delete", name, _whole(header, name, "-")))
    elif header.hunks:
        files.append(FilePatch("update", name, tuple(header.hunks), executable=executable))
    elif executable:
        raise PatchError(f"{name}: the patch changes only the file's mode; use chmod through run_command")
    else:
        raise PatchError(f"{name}: the patch names the file and changes nothing")


def _name(header: _Header) -> str:
    """The one name of a file that is not renamed."""
    by_git = None if header.git is None else same_name(header.git)
    if header.old is None or header.new is None:
        if by_git is None:
            raise PatchError(f"the names in 'diff --git {(header.git or '')[:100]}' cannot be told apart")
        return by_git
    name = common_name(header.old, header.new)
    if header.git is not None and by_git != name:
        raise PatchError(f"{name}: the 'diff --git' line names another file")
    return name


def _check_rename(header: _Header, old: str, new: str) -> None:
    if header.old is not None and header.new is not None and (old, new) not in name_pairs(header.old, header.new):
        raise PatchError(f"{old}: the --- and +++ lines name other files than the rename")
    if header.git is not None and (old, new) not in git_names(header.git):
        raise PatchError(f"{old}: the 'diff --git' line names other files than the rename")


def _whole(header: _Header, name: str, op: str) -> tuple[Hunk, ...]:
    """The hunks of a file that comes or goes as a whole: at most one, of one kind of lines."""
    if len(header.hunks) > 1 or any(it != op for hunk in header.hunks for it, _ in hunk.lines):
        what = "a new file" if op == "+" else "a deleted file"
        raise PatchError(f"{name}: the patch of {what} has one hunk, and only {op} lines in it")
    return tuple(header.hunks)
