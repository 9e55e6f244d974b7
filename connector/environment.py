"""The environment of what we start, built from nothing: a short list of names, and what was named on purpose."""

import os
from collections.abc import Iterable, Mapping

PASSED_ON = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG", "TMPDIR")
PASSED_ON_PREFIXES = ("LC_",)
# What makes a program load or run something else than what it is; an agent must not smuggle it into a command.
LOADS_CODE = ("NODE_OPTIONS", "BASH_ENV", "ENV", "PERL5OPT", "RUBYOPT", "GIT_SSH_COMMAND")
LOADS_CODE_PREFIXES = ("LD_", "DYLD_", "PYTHON")


def inherited(names: Iterable[str] = (), *, source: Mapping[str, str] | None = None) -> dict[str, str]:
    """The allow-listed part of our own environment (or of `source`), and the variables called `names` where set.

    A name that ends with `*` stands for all that begin so.
    """
    ours = os.environ if source is None else source
    wanted = {*PASSED_ON, *names}
    prefixes = (*PASSED_ON_PREFIXES, *(name[:-1] for name in wanted if name.endswith("*")))
    return {name: value for name, value in ours.items() if name in wanted or name.startswith(prefixes)}


def named(name: str) -> bool:
    """Whether our own environment has that variable, with a value."""
    return bool(os.environ.get(name))


def for_command(requested: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command that an agent asked for: what it named is added, less what loads code."""
    kept = {name: value for name, value in requested.items() if not _loads_code(name)}
    return {"TERM": "dumb", **inherited(), **kept}


def _loads_code(name: str) -> bool:
    return name in LOADS_CODE or name.startswith(LOADS_CODE_PREFIXES)
