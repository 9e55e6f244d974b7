"""Glob patterns over relative paths, as git and editors read them: `*.py`, `src/**/*.{js,ts}`, `docs/`."""

import fnmatch
import functools
import re
from collections.abc import Callable

from ars_acp.tools.tool import InvalidArguments

_BRACES = re.compile(r"\{([^{}]*)\}")


def matcher(pattern: str | None) -> Callable[[str], bool]:
    """A test of relative paths. A pattern without a slash is matched against the last part; None matches all."""
    if pattern is None:
        return lambda _path: True
    if len(pattern) > 300 or pattern.count("/") > 30:
        raise InvalidArguments("the glob is too long")
    patterns = [_parts(it) for it in _alternatives(pattern)]
    return lambda path: any(_matches(tuple(path.split("/")), parts) for parts in patterns)


def _alternatives(pattern: str) -> list[str]:
    """`*.{js,ts}` as `*.js` and `*.ts`."""
    done, open_ones = [], [pattern]
    while open_ones:
        found = _BRACES.search(it := open_ones.pop())
        if found is None:
            done.append(it)
        else:
            open_ones += [it[: found.start()] + choice + it[found.end() :] for choice in found[1].split(",")]
        if len(done) + len(open_ones) > 100:
            raise InvalidArguments("the glob has too many alternatives")
    return done


def _parts(pattern: str) -> tuple[str, ...]:
    parts = pattern.removeprefix("./").removeprefix("/").rstrip("/").split("/")
    if pattern.endswith("/"):
        parts.append("**")
    elif len(parts) == 1:
        parts.insert(0, "**")
    return tuple(parts)


def _matches(path: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    @functools.cache
    def rest(at: int, wanted: int) -> bool:
        if wanted == len(pattern):
            return at == len(path)
        if pattern[wanted] == "**":
            return any(rest(later, wanted + 1) for later in range(at, len(path) + 1))
        return at < len(path) and fnmatch.fnmatchcase(path[at], pattern[wanted]) and rest(at + 1, wanted + 1)

    return rest(0, 0)
