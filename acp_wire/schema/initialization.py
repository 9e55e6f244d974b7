"""Initialization and authentication: `initialize`, `authenticate`, `logout`, and the capabilities of both ends."""

from typing import Annotated, Literal

from pydantic import Field

from acp_wire.schema._base import (
    NULL_IS_EMPTY,
    SKIP_INVALID,
    Empty,
    Flag,
    Lenient,
    Model,
    OptionalText,
    Strings,
    Supported,
    Tagged,
    Uint16,
)

OptionalMarker = Annotated[Supported | None, Lenient()]


class Implementation(Model):
    name: str
    version: str
    title: OptionalText = None


class FileSystemCapabilities(Model):
    read_text_file: Flag = False
    write_text_file: Flag = False


class SessionConfigOptionsCapabilities(Model):
    boolean: OptionalMarker = None


class ClientSessionCapabilities(Model):
    config_options: Annotated[SessionConfigOptionsCapabilities | None, Lenient()] = None
    notices: OptionalMarker = None
    compaction: OptionalMarker = None


class AuthCapabilities(Model):
    terminal: Flag = False


class ElicitationCapabilities(Model):
    form: OptionalMarker = None
    url: OptionalMarker = None


class ClientCapabilities(Model):
    fs: Annotated[FileSystemCapabilities, Lenient(FileSystemCapabilities)] = Field(
        default_factory=FileSystemCapabilities
    )
    terminal: Flag = False
    session: Annotated[ClientSessionCapabilities | None, Lenient()] = None
    auth: Annotated[AuthCapabilities, Lenient(AuthCapabilities)] = Field(default_factory=AuthCapabilities)
    elicitation: Annotated[ElicitationCapabilities | None, Lenient()] = None


class InitializeRequest(Model):
    protocol_version: Uint16
    client_capabilities: Annotated[ClientCapabilities, Lenient(ClientCapabilities)] = Field(
        default_factory=ClientCapabilities
    )
    client_info: Annotated[Implementation | None, Lenient()] = None


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
    prompt_capabilities: Annotated[PromptCapabilities, Lenient(PromptCapabilities)] = Field(
        default_factory=PromptCapabilities
    )
    mcp_capabilities: Annotated[McpCapabilities, Lenient(McpCapabilities)] = Field(default_factory=McpCapabilities)
    session_capabilities: Annotated[SessionCapabilities, Lenient(SessionCapabilities)] = Field(
        default_factory=SessionCapabilities
    )
    auth: Annotated[AgentAuthCapabilities, Lenient(AgentAuthCapabilities)] = Field(
        default_factory=AgentAuthCapabilities
    )


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
    agent_capabilities: Annotated[AgentCapabilities, Lenient(AgentCapabilities)] = Field(
        default_factory=AgentCapabilities
    )
    auth_methods: Annotated[list[Annotated[AuthMethod, SKIP_INVALID]], Lenient(list)] = Field(default_factory=list)
    agent_info: Annotated[Implementation | None, Lenient()] = None


class AuthenticateRequest(Model):
    method_id: str


AuthenticateResponse = Empty
LogoutRequest = Empty
LogoutResponse = Empty
