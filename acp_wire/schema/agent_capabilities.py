"""What `initialize` is answered with: the agent's capabilities and its ways to sign in.

Apart from `initialization`, because only a client reads it.
"""

from typing import Annotated, Literal

from pydantic import Field

from acp_wire.schema._base import (
    DEFAULTS,
    NULL_IS_EMPTY,
    SKIP_INVALID,
    Flag,
    Lenient,
    Model,
    OptionalText,
    Strings,
    Tagged,
    Uint16,
)
from acp_wire.schema._plain import Supported
from acp_wire.schema.initialization import Implementation

OptionalMarker = Annotated[Supported | None, Lenient()]


class PromptCapabilities(Model):
    image: Flag = False
    audio: Flag = False
    embedded_context: Flag = False


class McpCapabilities(Model):
    http: Flag = False
    sse: Flag = False


class SessionCapabilities(Model):
    list: OptionalMarker = None
    delete: OptionalMarker = None
    additional_directories: OptionalMarker = None
    resume: OptionalMarker = None
    close: OptionalMarker = None


class AgentAuthCapabilities(Model):
    logout: OptionalMarker = None


class AgentCapabilities(Model):
    load_session: Flag = False
    prompt_capabilities: Annotated[PromptCapabilities, Lenient(dict)] = DEFAULTS
    mcp_capabilities: Annotated[McpCapabilities, Lenient(dict)] = DEFAULTS
    session_capabilities: Annotated[SessionCapabilities, Lenient(dict)] = DEFAULTS
    auth: Annotated[AgentAuthCapabilities, Lenient(dict)] = DEFAULTS


class AuthMethodAgent(Model):
    """A sign-in that the agent carries out itself, on `authenticate`. Its `type` is absent or `agent`."""

    id: str
    name: str
    description: OptionalText = None


class AuthMethodTerminal(Model):
    """A sign-in for which the client runs the agent's command again, in a terminal, with `args` and `env` added."""

    type: Literal["terminal"] = "terminal"
    id: str
    name: str
    description: OptionalText = None
    args: Strings = Field(default_factory=list)
    env: Annotated[dict[str, str], NULL_IS_EMPTY] = Field(default_factory=dict)


AuthMethod = Annotated[
    AuthMethodTerminal | AuthMethodAgent, Tagged("type", {"terminal": AuthMethodTerminal}, other=AuthMethodAgent)
]


class InitializeResponse(Model):
    protocol_version: Uint16
    agent_capabilities: Annotated[AgentCapabilities, Lenient(dict)] = DEFAULTS
    auth_methods: Annotated[list[Annotated[AuthMethod, SKIP_INVALID]], Lenient(list)] = Field(default_factory=list)
    agent_info: Annotated[Implementation | None, Lenient()] = None
