"""The names of files in the headers of unified diffs."""

import re

from ars_acp.tools.patch.model import PatchError

NOWHERE = "/dev/null"
_DATE = re.compile(r"\s+\d{4}-\d\d-\d\d[ T]\d\d:\d\d.*$")
_PREFIXES = {"a/", "b/", "c/", "i/", "o/", "w/"}  # git's, with and without diff.mnemonicPrefix
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


def file_name(line: str, start: str = "--- ") -> str:
    """The name in a `--- `, `+++ ` or `rename` line, without quotes and date."""
    rest = line.removesuffix("\r")[len(start) :]
    if rest.startswith('"'):
        return _unquoted(rest)
    return _DATE.sub("", rest.partition("\t")[0]).rstrip()


def common_name(old: str, new: str) -> str:
    """The one file that the --- and +++ lines name. Raises PatchError where they name two."""
    if old == NOWHERE or new == NOWHERE:
        name = new if old == NOWHERE else old
        if name == NOWHERE:
            raise PatchError("the patch names /dev/null on both sides")
        return name[2:] if name[:2] in ("a/", "b/") else name
    for first, second in name_pairs(old, new):
        if first == second:
            return first
    if old == f"a/{new}":
        return new
    if new == f"b/{old}":
        return old
    raise PatchError(f"--- {old} and +++ {new} name two files: a rename needs 'rename from' and 'rename to'")


def same_name(names: str) -> str | None:
    """The name in a `diff --git` line that names one file twice, else None."""
    return next((old for old, new in git_names(names) if old == new), None)


def git_names(names: str) -> list[tuple[str, str]]:
    """Every way to read the two names of a `diff --git` line, which does not mark where the first one ends."""
    if '"' in names:
        first, second = _quoted_pair(names)
        pairs = [(first, second)]
    else:
        pairs = [(names[:at], names[at + 1 :]) for at, char in enumerate(names) if char == " "]
    return [it for a, b in pairs for it in name_pairs(a, b)]


def name_pairs(old: str, new: str) -> list[tuple[str, str]]:
    """Two names without git's prefixes, where they can be that, and as they stand."""
    prefixed = old[:2] != new[:2] and {old[:2], new[:2]} <= _PREFIXES
    return [*([(old[2:], new[2:])] if prefixed else []), (old, new)]


def _quoted_pair(names: str) -> tuple[str, str]:
    found = re.fullmatch(r'("(?:[^"\\]|\\.)*"|\S+) ("(?:[^"\\]|\\.)*"|.+)', names)
    if found is None:
        raise PatchError(f"the names in 'diff --git {names[:100]}' cannot be read")
    return tuple(_unquoted(it) if it.startswith('"') else it for it in found.groups())  # type: ignore[return-value]


def _unquoted(quoted: str) -> str:
    """A name in C quotes, as git writes names with unusual characters."""
    inner = re.match(r'"((?:[^"\\]|\\.)*)"', quoted)
    if inner is None:
        raise PatchError(f"the name {quoted[:100]} has no closing quote")

    def byte(found: re.Match[bytes]) -> bytes:
        it = found[1]
        return bytes([int(it, 8) & 0xFF]) if len(it) == 3 else _ESCAPED.get(it, it)

    raw = _ESCAPE.sub(byte, inner[1].encode("utf-8", "surrogatepass"))
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise PatchError(f"the name {quoted[:100]} is not UTF-8") from None
