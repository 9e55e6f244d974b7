"""What a person does when an agent wants to be signed in, and what we can do for them."""

import shlex
from typing import TYPE_CHECKING, Any

from connector import environment
from connector.process import Command
from connector.vendors import SignIn, Vendor

if TYPE_CHECKING:
    from acp_wire.schema.agent_capabilities import InitializeResponse


UNKNOWN = Vendor("", "", ()).sign_in


def hint(command: Command, sign_in: SignIn, agent: "InitializeResponse | None") -> str:
    """What to do: by its row, or, of an agent that we do not know, a line for each way that it offers itself."""
    if sign_in != UNKNOWN or agent is None or not agent.auth_methods:
        return f"Sign in first: {sign_in.run}."
    return "\n".join(["Sign in first:", *(_way(command, method) for method in agent.auth_methods)])


def without_a_person(sign_in: SignIn) -> list[str]:
    """The sign-in methods that need nobody, as one of their variables is set."""
    return [method for method, names in sign_in.methods.items() if any(environment.named(name) for name in names)]


def _way(command: Command, method: Any) -> str:
    about = f"  # {method.description}" if method.description else ""
    if getattr(method, "type", "agent") == "terminal":
        env = [f"{name}={value}" for name, value in method.env.items()]
        return f"  {method.name}: run `{shlex.join([*env, *command.argv, *method.args])}`{about}"
    return f"  {method.name}: authenticate with the method `{method.id}`{about}"
