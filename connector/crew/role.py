"""Who takes part in a crew, and how much all of it may use."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_NAME = 64


@dataclass(frozen=True)
class Role:
    """One voice of a conversation, on an agent of its own.

    `agent` names the agent that speaks for it: what whoever gives the sessions makes of that name. `prompt` is what the
    role is told once, before anything else. Every `remind_every` replies `reminder` (without one, `prompt`) is said to
    it again; 0 is never. `seconds` is how long one turn of its may take once its agent is there, None is no limit of
    the crew's.
    """

    name: str
    agent: str
    prompt: str = ""
    reminder: str = ""
    remind_every: int = 0
    seconds: float | None = None


@dataclass(frozen=True)
class Budget:
    """How much may be used until a round ends; None is no limit.

    `replies` are answered turns of roles. `seconds` are those during which a round ran. `tokens` and `cost` are as the
    agents report them (`usage_update`): for each reply the size of the context that it was made from, and what the
    agent's session has cost more than before it. Of costs in several currencies none may reach `cost`.
    """

    replies: int | None = None
    seconds: float | None = None
    tokens: int | None = None
    cost: float | None = None


def check(roles: Sequence[Role]) -> None:
    """Raises ValueError for roles that nobody could tell apart, or whose names are no single line."""
    if not roles:
        raise ValueError("a crew has at least one role")
    for role in roles:
        printable = all(unicodedata.category(letter)[0] not in "CZ" or letter == " " for letter in role.name)
        if not role.name.strip() or len(role.name) > LONGEST_NAME or not printable:
            raise ValueError(f"the name of a role is a line of 1 to {LONGEST_NAME} characters, not {role.name!r}")
        if role.remind_every < 0:
            raise ValueError(f"{role.name} cannot be reminded every {role.remind_every} replies")
    names = [role.name for role in roles]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two roles have the same name: {', '.join(twice)}")
