"""The ways in which a person gives the agent a key, as clients offer them."""

from typing import Any

from acp_wire import build

NO_MODEL = (
    "No model to work with: set OPENAI_API_KEY (and OPENAI_BASE_URL, OPENAI_MODEL for another endpoint than OpenAI's), "
    "or run `ars-acp login`"
)
DESCRIBED = (
    "Set OPENAI_API_KEY in the environment of the agent, with OPENAI_BASE_URL and OPENAI_MODEL for any other "
    "OpenAI-compatible endpoint; an endpoint on this host needs no key"
)
LOGIN = "Asks for endpoint, key and model in a terminal and keeps them in a file that only you can read"


def methods(*, terminal: bool) -> list[dict[str, Any]]:
    """The `authMethods` for a client that can run a command in a terminal, or cannot."""
    offered = [build.auth_method("api-key", "API key", DESCRIBED)]
    if terminal:
        offered.append(build.auth_method_terminal("login", "ars-acp login", description=LOGIN, args=["login"]))
    return offered
