"""What ACP v1 does not have: `_session/steering` as other agents have it, and `session/fork` of the unstable schema."""

from typing import Any, Literal

from pydantic import Field

from acp_wire.schema._base import Empty, Model, OfSession, OptionalText, Strings
from acp_wire.schema.content import ContentBlock
from acp_wire.schema.session import McpServers


class SteeringRequest(Model):
    """A message for the turn that is running. `_meta.steering.idleBehavior` says what to do where none is."""

    session_id: str
    prompt: list[ContentBlock]


class SteeringResponse(Model):
    outcome: Literal["injected", "startedNewTurn", "promptRequired"]
    reason: OptionalText = None


class ForkSessionRequest(Model):
    session_id: str
    cwd: str
    mcp_servers: McpServers = Field(default_factory=list)
    additional_directories: Strings = Field(default_factory=list)
    system_prompt: Any = None


class SetSessionModelRequest(OfSession):
    """`session/set_model` of older clients, from before models were config options."""

    model_id: str


SetSessionModelResponse = Empty
