"""What a command line does, where that is certain: reads inside the roots, or deletes, moves, makes a directory.

Only whole forms that are known to start nothing else count, word by word; everything else is `execute`. The forms are
those that agents use to list, search and patch through a terminal.
"""

import posixpath
import re
from collections.abc import Callable, Sequence

# Options of git itself that start nothing, and switch off what the repository's own settings could start.
GIT_FLAGS = {"--no-pager", "--no-optional-locks", "--literal-pathspecs"}
GIT_SETTINGS = {
    *("core.fsmonitor=", "core.hooksPath=/dev/null", "protocol.allow=never", "submodule.recurse=false"),
    *("grep.fullName=false", "core.quotePath=false", "diff.noprefix=false", "diff.mnemonicPrefix=false"),
    *("diff.orderFile=/dev/null", "diff.external="),
}
GIT_NEEDS = {"core.fsmonitor=", "core.hooksPath=/dev/null", "protocol.allow=never"}
GIT_COMMANDS: dict[str, tuple[re.Pattern[str], set[str]]] = {
    "ls-files": (re.compile(r"-[tcdomsz]|--exclude-standard"), set()),
    "grep": (re.compile(r"-[nIiFPEwl]|--no-color|--untracked|--exclude-standard"), set()),
    "diff": (
        re.compile(
            r"--no-ext-diff|--no-textconv|--no-color|--relative|--cached|--stat|--ignore-submodules=\w+"
            r"|--submodule=short|--end-of-options|[A-Za-z0-9_@][A-Za-z0-9_@./~^{}+-]*"
        ),
        {"--no-ext-diff", "--no-textconv"},
    ),
}
RG = re.compile(
    r"--no-config|--no-heading|--with-filename|--line-number|--color=never|--no-messages|--sort=path|--hidden|--files"
    r"|--max-count=\d+|--glob=[^/].*|-[niFwl]"
)
GREP = re.compile(r"-[rnIHsiFPEwl]+|--exclude-dir=[\w.-]+")
FIND_TESTS = {"-prune", "-o", "-print", "-print0"}


def kind_of(argv: Sequence[str], cwd: str, inside: Callable[[str], bool]) -> tuple[str, tuple[str, ...]]:
    """The tool kind that `argv` amounts to in `cwd`, and the absolute paths that it touches."""
    places = _reads(list(argv))
    if places is not None:
        paths = tuple(posixpath.normpath(posixpath.join(cwd, place)) for place in places)
        if all(map(_stays_below, places)) and all(map(inside, paths)):
            return "read", paths
    return _changes(list(argv), cwd) or ("execute", ())


def _reads(argv: list[str]) -> list[str] | None:
    """The places that a known reading command looks at, as they are written; None for any other command."""
    match argv:
        case ["git", *rest]:
            return _git(rest)
        case ["rg", "--no-config", *rest]:
            return _searched(rest, RG)
        case ["grep", *rest]:
            return _searched(rest, GREP)
        case ["find", place, *rest] if _only_finds(rest):
            return [place]
    return None


def _only_finds(words: list[str]) -> bool:
    while words:
        if words[0] in FIND_TESTS:
            words = words[1:]
        elif words[0] in ("-name", "-type") and len(words) > 1:
            words = words[2:]
        else:
            return False
    return True


def _git(words: list[str]) -> list[str] | None:
    settings: set[str] = set()
    while words and (words[0] in GIT_FLAGS or words[:1] == ["-c"]):
        if words[0] == "-c":
            settings |= set(words[1:2])
            words = words[2:]
        else:
            words = words[1:]
    if not GIT_NEEDS <= settings <= GIT_SETTINGS or not words or words[0] not in GIT_COMMANDS or "--" not in words:
        return None
    flags, needed = GIT_COMMANDS[words[0]]
    if words[0] == "diff" and "diff.external=" not in settings:
        return None
    found = _searched(words[1:], flags)
    return found if needed <= set(words) else None


def _searched(words: list[str], flags: re.Pattern[str]) -> list[str] | None:
    """What stands after `--`, where everything before it is a harmless flag, or a pattern after -e."""
    if "--" not in words:
        return None
    end = words.index("--")
    before, places = words[:end], words[end + 1 :]
    if "-e" in before:
        # The pattern, which may be any word, is the last before the places.
        if before[-2:-1] != ["-e"]:
            return None
        before = before[:-2]
    return (places or ["."]) if all(map(flags.fullmatch, before)) else None


def _stays_below(place: str) -> bool:
    """A relative place that no program takes for an option, and that does not climb."""
    return (place == "." or place.startswith("./")) and ".." not in place.split("/")


def _changes(argv: list[str], cwd: str) -> tuple[str, tuple[str, ...]] | None:
    match argv:
        case ["rm", "--", path]:
            kind, paths = "delete", [path]
        case ["mv", "-n", "--", old, new]:
            kind, paths = "move", [old, new]
        case ["mkdir", "-p", "--", path]:
            kind, paths = "edit", [path]
        case _:
            return None
    return kind, tuple(posixpath.normpath(posixpath.join(cwd, path)) for path in paths)
