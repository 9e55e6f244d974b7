"""What a patch says, and what comes of it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ars_acp.hands import HandsError
from ars_acp.tools.text import digest

Op = Literal[" ", "-", "+"]


class PatchError(HandsError):
    """The patch cannot be read, or does not fit; nothing was changed. The message tells the model what to mend."""

    code = "PATCH_FAILED"


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines of context (" "), lines that go ("-") and lines that come ("+"), without their newlines."""

    lines: tuple[tuple[Op, str], ...]
    start: int | None = None  # the stated first line of the old side, from 1
    inserts: bool = False  # the stated old side is empty: the lines come after line `start`
    header: str = ""  # what stands after @@ in a patch without line numbers
    old_open: bool = False  # the old side's last line has no newline
    new_open: bool = False
    at_end: bool = False  # *** End of File

    @property
    def old(self) -> list[str]:
        return [text for op, text in self.lines if op != "+"]

    @property
    def new(self) -> list[str]:
        return [text for op, text in self.lines if op != "-"]

    @property
    def changes(self) -> bool:
        return any(op != " " for op, _ in self.lines)


@dataclass(frozen=True, slots=True)
class FilePatch:
    """What a patch says of one file. An added file's whole text is in its only hunk, if it has any."""

    kind: Literal["add", "update", "delete"]
    path: str
    hunks: tuple[Hunk, ...] = ()
    move_to: str | None = None
    executable: bool = False  # the patch wants the file's mode changed


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file before and after. No old text: it is new; no new text: it goes away."""

    path: str
    old_text: str | None
    new_text: str | None
    move_to: str | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """A file's patch put in its place: the hunks with the file's own lines and true line numbers."""

    change: FileChange
    hunks: tuple[Hunk, ...]
    executable: bool = False


def approval(changes: Iterable[FileChange]) -> str:
    """The hash of exactly these changes: the same files, with the same text before and after."""
    whole = sorted([it.path, it.move_to or "", it.old_text, it.new_text] for it in changes)
    return digest(json.dumps(whole))
