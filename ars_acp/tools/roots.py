"""Roots: the directories a session may touch, and how the model's paths are taken.

The check is lexical, made before anything is asked of the client. Symbolic links are the client's matter: it alone can
resolve a path without a race.
"""

import posixpath
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from ars_acp.hands import HandsError
from ars_acp.tools.text import hidden_character

_ENCODED = re.compile(r"%(2e|2f|5c|00|25)", re.IGNORECASE)
_LONGEST = 4096  # characters; what systems take as one path
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")


class PathOutsideRoots(HandsError):
    """The path leaves the session's directories, or is written in a way that could."""

    code = "PATH_OUTSIDE_ROOTS"


class Roots:
    """The working directory, which relative paths start from, and the other directories of the session."""

    def __init__(self, cwd: str, directories: Sequence[str] = ()) -> None:
        self.cwd = posixpath.normpath(cwd)
        self.all = tuple(dict.fromkeys((self.cwd, *(posixpath.normpath(it) for it in directories))))

    def resolve(self, path: str) -> str:
        """`path` as an absolute, normalised path inside one of the roots. Raises PathOutsideRoots."""
        _refuse_odd(path)
        whole = posixpath.normpath(posixpath.join(self.cwd, path))
        if self._root(whole) is None:
            raise PathOutsideRoots(f"{path!r} is outside the project's directories")
        return whole

    def split(self, whole: str) -> tuple[str, str]:
        """A resolved path as (its root, the path relative to it, "." for the root itself)."""
        root = self._root(whole)
        if root is None:
            raise PathOutsideRoots(f"{whole!r} is outside the project's directories")
        return root, str(PurePosixPath(whole).relative_to(root))

    def show(self, whole: str) -> str:
        """A resolved path as people and the model should read it: relative to cwd where it lies below it."""
        root, relative = self.split(whole)
        return relative if root == self.cwd else whole

    def _root(self, whole: str) -> str | None:
        inside = [root for root in self.all if PurePosixPath(whole).is_relative_to(root)]
        return max(inside, key=len, default=None)


def _refuse_odd(path: str) -> None:
    """Refuse what another reader of the path could take for something else than we do."""
    reason = None
    if not path.strip():
        reason = "is empty"
    elif len(path) > _LONGEST:
        reason = f"has {len(path)} characters, {_LONGEST} are the most"
    elif hidden_character(path, allowed=""):
        reason = "holds a control character"
    elif path.startswith("~"):
        reason = "starts with ~: give a path relative to the project"
    elif "\\" in path:
        reason = "holds a backslash: use /"
    elif _SCHEME.match(path) or path.casefold().startswith("file:"):
        reason = "is a URL: give a plain path"
    elif _ENCODED.search(path):
        reason = "is percent-encoded: give a plain path"
    elif any(part not in ("", ".", "..") and not part.strip(". ") for part in path.split("/")):
        reason = "has a part of dots and spaces only"
    if reason is not None:
        raise PathOutsideRoots(f"the path {path[:200]!r} {reason}")
