"""What a person does when an agent wants to be signed in: told by the agent itself, and by what we know of its kind."""

import shlex
from typing import TYPE_CHECKING, Any

from connector.process import Command

if TYPE_CHECKING:
    from acp_wire.schema.agent_capabilities import InitializeResponse


def is_missing(command: Command, message: str, data: Any) -> bool:
    """Whether an error that is not `Authentication required` means just that, for this kind of agent."""
    return False


def hint(command: Command, agent: "InitializeResponse | None") -> str:
    """What to do, a line for each way."""
    ways = [] if agent is None else [_way(command, method) for method in agent.auth_methods]
    return "\n".join(["Sign in first:", *ways]) if ways else "Sign in first, as its own documentation says."


def _way(command: Command, method: Any) -> str:
    about = f"  # {method.description}" if method.description else ""
    if getattr(method, "type", "agent") == "terminal":
        env = [f"{name}={value}" for name, value in method.env.items()]
        return f"  {method.name}: run `{shlex.join([*env, *command.argv, *method.args])}`{about}"
    return f"  {method.name}: authenticate with the method `{method.id}`{about}"
