"""Unified diffs as a correct tool writes them, for tests to apply and to spoil."""

import difflib

OPEN = "\\ No newline at end of file"


def unified(old: str, new: str, path: str = "a.txt", context: int = 3) -> str:
    """The diff from `old` to `new`, lines ending in newlines only, with marks for a missing last one."""
    lines: list[str] = []
    found = difflib.unified_diff(_lines(old), _lines(new), f"a/{path}", f"b/{path}", n=context, lineterm="")
    for at, line in enumerate(found):
        lines += [line] if line.endswith("\n") or at < 2 or line.startswith("@@") else [line, OPEN]
    return "".join(line if line.endswith("\n") else line + "\n" for line in lines)


def _lines(text: str) -> list[str]:
    """Lines with their newlines: splitlines would also split at form feeds and the like."""
    found = [line + "\n" for line in text.split("\n")]
    found[-1] = found[-1][:-1]
    return found if found[-1] else found[:-1]
