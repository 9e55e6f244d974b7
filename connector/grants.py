"""What was allowed in a running turn: the same act needs no second question until the turn ends."""

import posixpath
import shlex
from dataclasses import dataclass

from connector.permissions import Act

CHANGES = ("edit", "delete", "move")
SHELLS = ("sh", "bash", "dash", "zsh")
SCRIPT_FLAGS = ("-c", "-lc")


@dataclass(frozen=True)
class Texts:
    """What a write makes of a file; `before` is None for a new one."""

    before: str | None
    after: str


@dataclass(frozen=True)
class Grant:
    """An allowed act. `by_person` covers what is protected too; `reviewed` whatever is written to its paths."""

    act: Act
    by_person: bool
    reviewed: bool = False

    def covers(self, act: Act, texts: Texts | None = None) -> bool:
        """Whether `act` is what was allowed; `texts` where it writes a file."""
        if act.session != self.act.session or (act.protected and not self.by_person):
            return False
        if act.kind == "execute":
            same_place = self.act.kind == "execute" and act.cwd == self.act.cwd and not act.env
            return same_place and self._same_command(act.argv)
        if act.kind == "read":
            return self.act.kind == "read" and all(self._has(path, above=False) for path in act.paths)
        makes_directory = act.kind == "edit" and texts is None
        if act.kind not in CHANGES or not all(self._has(path, above=makes_directory) for path in act.paths):
            return False
        if texts is None or self.reviewed:
            return self.act.kind in CHANGES or self.reviewed
        return self._shown(act.paths[0], texts)

    def _same_command(self, argv: tuple[str, ...]) -> bool:
        allowed = self.act.argv
        if not allowed or argv == allowed:
            return bool(allowed)
        if len(allowed) > 1:
            return False
        # One string is a script, which agents hand to a shell, or split themselves.
        if len(argv) == 3 and argv[0] in SHELLS and argv[1] in SCRIPT_FLAGS:
            return argv[2] == allowed[0]
        try:
            return list(argv) == shlex.split(allowed[0])
        except ValueError:
            return False

    def _has(self, path: str, *, above: bool) -> bool:
        """Whether it is one of its paths, or a directory above one where that will do."""
        known = [posixpath.normpath(one) for one in self.act.paths]
        return path in known or (above and any(one.startswith(f"{path}/") for one in known))

    def _shown(self, path: str, texts: Texts) -> bool:
        """Whether the diffs that the person saw make this of the file: a whole one, or one passage after another."""
        diffs = [item for item in self.act.tool_call.content or () if item.type == "diff" and item.path == path]
        if not diffs:
            return self.act.kind in CHANGES
        text, wanted = _lines(texts.before or ""), _lines(texts.after)
        for diff in diffs:
            if _lines(diff.new_text) == wanted:
                return True
            if diff.old_text:
                text = text.replace(_lines(diff.old_text), _lines(diff.new_text), 1)
        return text == wanted


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").rstrip("\n")
