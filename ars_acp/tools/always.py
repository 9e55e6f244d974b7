"""What "always allow" stands for, where it may be offered at all."""

import json
import posixpath
import re
from collections.abc import Sequence

_RUNS_ANYTHING = re.compile(
    r"(ba|z|da|a|k|mk|c|tc|fi)?sh|busybox|env|xargs|parallel|find|sudo|su|doas|nohup|nice|ionice|timeout|time|watch"
    r"|stdbuf|setsid|chroot|unshare|script|ssh|docker|podman|exec|eval|command|start|open|expect|npx|uvx|bunx|uv|osascript"
)
_INTERPRETER = re.compile(r"python|pypy|perl|ruby|node|deno|bun|php|lua|tclsh|[gmn]?awk|sed|git|vim?|ex|emacs|gdb")
_CODE = re.compile(r"-[A-Za-z]*[ceEprx]|--(eval|exec|print|run|command|config)|-$")


def rule(argv: Sequence[str], cwd: str) -> str | None:
    """These words in this directory, and no others; None for a program that runs whatever it is told to."""
    program = posixpath.basename(argv[0])
    if _RUNS_ANYTHING.fullmatch(program):
        return None
    if _INTERPRETER.match(program) and any(map(_CODE.match, argv[1:])):
        return None
    return json.dumps([cwd, *argv])
