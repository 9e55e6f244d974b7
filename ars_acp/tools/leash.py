"""The leash: files that steer agents, editors and git, or hold secrets. To write them is asked about or refused."""

import itertools
import unicodedata
from collections.abc import Iterable

from ars_acp.hands import Refused
from ars_acp.tools.roots import Roots

_REFUSED = {".git", ".ssh", ".gnupg"}
_REFUSED_PATHS = {(".config", "ars"), (".config", "ars-acp")}
_ASKED = {
    ".ars", ".ars-acp", ".claude", ".codex", ".cursor", ".gemini", ".idea", ".qwen", ".vscode", ".zed",
    "agents.md", "claude.md", "gemini.md", "qwen.md", ".mcp.json", ".gitmodules", ".gitattributes",
}  # fmt: skip
_ASKED_BEGINNINGS = (".opencode", ".env")


def refuse_forbidden(roots: Roots, path: str) -> None:
    """Raise Refused for what the agent never writes: git's own directory, keys, our own configuration."""
    parts = _parts(roots, path)
    pairs = set(itertools.pairwise(parts))
    if not _REFUSED.isdisjoint(parts) or not _REFUSED_PATHS.isdisjoint(pairs):
        raise Refused(f"{roots.show(path)}: files there are never written by this agent")


def is_protected(roots: Roots, paths: Iterable[str]) -> bool:
    """True where one of the resolved `paths` may only be written after the person was asked."""
    return any(part in _ASKED or part.startswith(_ASKED_BEGINNINGS) for path in paths for part in _parts(roots, path))


def _parts(roots: Roots, path: str) -> list[str]:
    """The path's parts below its root, as the most forgiving file system would compare them."""
    _, relative = roots.split(path)
    visible = "".join(char for char in relative if unicodedata.category(char) != "Cf")
    folded = unicodedata.normalize("NFKC", visible).casefold()
    return [part.rstrip(". ") or part for part in folded.split("/")]
