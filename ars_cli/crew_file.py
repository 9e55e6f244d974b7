"""The file that describes a crew: small TOML, checked to the letter, so that a slip is told and not passed over."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ars_cli.failures import ConfigurationError
from ars_cli.run import ALLOW

if TYPE_CHECKING:
    from connector.crew import Budget, Role, Round

EXAMPLE = '''\
# A crew: several agents in one conversation. Each role is given what the others
# have said since it spoke last, and remembers the rest itself. Run it with
#
#     ars crew crew.toml "How should the cache be invalidated?"

# How they take turns:
#   sequential   one after the other, each knowing what those before have said
#   parallel     all at once, none knowing what the others say
#   pipeline     each is given your words and what the one before it has made
#   debate       all at once, several times, answering each other
round = "sequential"
# rounds = 3                # of a debate, at most
# agreed = "AGREED"         # a debate ends when every reply ends with this word

# What a run may use; a limit that is reached ends it. Leave out what has none.
[budget]
replies = 20                # turns that are answered
seconds = 1800
# tokens = 500000           # as the agents report them
# cost = 2.50               # in the currency in which they report it

[[role]]
name = "Architect"
agent = "ars"               # a name from `ars agents`, or a command line: "my-agent --acp"
prompt = """
You are the architect. Propose the simplest design that solves the task, in at
most ten sentences, and say what you decided against. Change no files."""
remind_every = 5            # after so many replies it is told its prompt again
# reminder = "Be brief."    # told instead of the prompt
seconds = 600               # for one turn; then it is cancelled, and the others go on
allow = "reads"             # nothing, reads (inside the directory), or once: whatever it asks for

[[role]]
name = "Critic"
agent = "ars"
prompt = """
You are the critic. Say what will go wrong with the design, the worst first, in
at most ten sentences; if nothing will, say so. Change no files."""
remind_every = 5
seconds = 600
'''

_NUMBER = (int, float)
_TOP: dict[str, Any] = {"round": str, "rounds": int, "agreed": str, "budget": dict, "role": list}
_BUDGET: dict[str, Any] = {"replies": int, "seconds": _NUMBER, "tokens": int, "cost": _NUMBER}
_ROLE: dict[str, Any] = {
    **dict.fromkeys(("name", "agent", "prompt", "reminder", "allow"), str),
    "remind_every": int,
    "seconds": _NUMBER,
}
_TYPES = {str: "a text", int: "a whole number", _NUMBER: "a number", dict: "a table", list: "a list of tables"}


@dataclass(frozen=True)
class CrewFile:
    """What stands in such a file. `allow` is by role."""

    roles: "tuple[Role, ...]"
    allow: Mapping[str, str]
    round: str
    rounds: int
    agreed: str
    budget: "Budget"

    def turns(self, named: str | None = None) -> "Round":
        """How they take turns: as the file says, or as `named` does."""
        from connector.crew import ROUNDS, all_end_with, debate

        if (named or self.round) == "debate":
            return debate(self.rounds, all_end_with(self.agreed) if self.agreed else None)
        return ROUNDS[named or self.round]


def read(path: str) -> CrewFile:
    """The crew in a file. Raises ConfigurationError."""
    try:
        with open(path, "rb") as file:
            return parse(tomllib.load(file))
    except OSError as why:
        raise ConfigurationError(f"{path}: {why.strerror}") from None
    except (ValueError, ConfigurationError) as why:
        raise ConfigurationError(f"{path}: {why}") from None


def parse(told: dict[str, Any]) -> CrewFile:
    """The crew in a file's values. Raises ConfigurationError."""
    from connector.crew import ROUNDS, Budget
    from connector.crew.role import check

    _check(told, _TOP, "the file")
    budget = told.get("budget", {})
    _check(budget, _BUDGET, "[budget]")
    roles = [_role(role, number) for number, role in enumerate(told.get("role", []), 1)]
    allow = {role.name: row.get("allow", "reads") for role, row in zip(roles, told.get("role", []), strict=True)}
    round = told.get("round", "sequential")
    _one_of("round", round, ROUNDS)
    for name, limit in [("rounds", told.get("rounds", 1)), *budget.items()]:
        if limit <= 0:
            raise ConfigurationError(f"`{name}` is more than nothing, not {limit}")
    try:
        check(roles)
    except ValueError as why:
        raise ConfigurationError(str(why)) from None
    return CrewFile(tuple(roles), allow, round, told.get("rounds", 3), told.get("agreed", "").strip(), Budget(**budget))


def _role(told: Any, number: int) -> "Role":
    from connector.crew import Role

    where = f"[[role]] {number}"
    if not isinstance(told, dict):
        raise ConfigurationError(f"{where} is a table")
    _check(told, _ROLE, where)
    for name in ("name", "agent"):
        if not told.get(name, "").strip():
            raise ConfigurationError(f"{where} has no `{name}`")
    _one_of("allow", told.get("allow", "reads"), ALLOW)
    if told.get("seconds", 1) <= 0:
        raise ConfigurationError(f"{where}: `seconds` is more than nothing, not {told['seconds']}")
    return Role(
        told["name"].strip(),
        told["agent"].strip(),
        told.get("prompt", "").strip(),
        told.get("reminder", "").strip(),
        told.get("remind_every", 0),
        told.get("seconds"),
    )


def _check(told: dict[str, Any], known: dict[str, Any], where: str) -> None:
    for name, value in told.items():
        if name not in known:
            raise ConfigurationError(f"{where} has no `{name}`; there are {', '.join(known)}")
        if not isinstance(value, known[name]) or isinstance(value, bool):
            raise ConfigurationError(f"{where}: `{name}` is {_TYPES[known[name]]}")


def _one_of(name: str, value: str, known: Any) -> None:
    if value not in known:
        raise ConfigurationError(f"`{name}` is one of {', '.join(known)}, not {value!r}")
