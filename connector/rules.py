"""Policies made of rules: by kind, by path, by exact command, the first one that fits decides."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from connector.permissions import Act, Answer, Policy, Said, deny_all

# What a permission for paths can be given for: the rest says nothing of what else happens.
ABOUT_PATHS = ("read", "edit", "delete", "move", "search")


@dataclass(frozen=True)
class Rule:
    """What to answer to acts of these `kinds`, on these `paths`, with this very `argv`; what is not given fits all.

    Paths are globs on whole absolute paths: `*` stays in a directory, `**` does not. To refuse, one path that fits is
    enough; to allow, all have to. An `argv` fits the same words in `cwd` (without it, in the session's own directory)
    with no variable of its own, and nothing else: not a longer command, not a shell that runs it.
    """

    answer: Answer
    kinds: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()
    cwd: str = ""

    def fits(self, act: Act) -> bool:
        """Whether it says something about `act`."""
        if self.kinds and act.kind not in self.kinds:
            return False
        if self.argv and not self._fits_argv(act):
            return False
        if not self.paths:
            return True
        fitting = [any(_glob(glob).fullmatch(path) for glob in self.paths) for path in act.paths]
        if self.answer is not Answer.ALLOW:
            return any(fitting)
        return act.kind in ABOUT_PATHS and bool(fitting) and all(fitting) and not any(map(_climbs, act.paths))

    def _fits_argv(self, act: Act) -> bool:
        if self.answer is not Answer.ALLOW:
            return act.argv == self.argv
        return act.kind == "execute" and act.argv == self.argv and not act.env and act.cwd == (self.cwd or act.root)


def by_rules(rules: Sequence[Rule], otherwise: Policy = deny_all) -> Policy:
    """The answer of the first rule that fits. What is protected is never allowed by a rule, but left to `otherwise`."""

    async def decided(act: Act) -> Answer | str | Said | None:
        for rule in rules:
            if rule.fits(act) and not (act.protected and rule.answer is Answer.ALLOW):
                return rule.answer
        return await otherwise(act)

    return decided


def in_order(*policies: Policy) -> Policy:
    """The answer of the first policy that has one; none is a no."""

    async def decided(act: Act) -> Answer | str | Said | None:
        for policy in policies:
            if (answer := await policy(act)) is not None:
                return answer
        return None

    return decided


async def no_opinion(act: Act) -> None:
    """Leaves it to the next policy: the `otherwise` of one that stands in `in_order`."""


def _climbs(path: str) -> bool:
    return ".." in path.split("/")


@lru_cache
def _glob(pattern: str) -> re.Pattern[str]:
    parts = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile(
        "".join(parts.get(part, re.escape(part)) for part in re.split(r"(\*\*|\*|\?)", pattern)), re.DOTALL
    )
