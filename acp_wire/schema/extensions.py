"""What ACP v1 does not have: `_session/steering` as other agents have it, unstable `session/fork`, and what is ours."""

from typing import Annotated, Any, Literal

from pydantic import Field

from acp_wire.schema._base import Empty, Model, OfSession, OptionalText, Strings, Uint64
from acp_wire.schema.content import ContentBlock
from acp_wire.schema.session import McpServers
from acp_wire.schema.session_update import SessionNotification


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


class ReplayRequest(OfSession):
    """`after` is the last number that the client has; without it, the last one that it acknowledged."""

    after: Uint64 | None = None


class TakenBack(Model):
    """Updates with numbers above `after`, up to `through`, that a rewind has taken back."""

    after: Uint64
    through: Uint64


class ReplayResponse(Model):
    """The updates up to the number `last`, in order. With `more`, ask again after `last`."""

    updates: list[SessionNotification]
    last: Uint64
    more: bool
    taken_back: list[TakenBack] = Field(default_factory=list)


class AckRequest(OfSession):
    """The client has all updates up to the number `seq`."""

    seq: Uint64


AckResponse = Empty


class RewindRequest(OfSession):
    """Takes back the last `turns` turns (1 if nothing is said), or every turn that began after the number `to_seq`."""

    turns: Annotated[int, Field(ge=1)] | None = None
    to_seq: Uint64 | None = None


class RetoolRequest(OfSession):
    """From the next turn on the client carries out `tools` itself, and no others, whatever it named before."""

    tools: list[str]


RetoolResponse = Empty


class CallToolRequest(OfSession):
    """A call of the model's that the client is to carry out whole: a tool that it has named for the session."""

    tool_call_id: str
    name: str
    arguments: dict[str, Any]


class CallToolResponse(Model):
    """`content` is what the model reads, `code` why the call failed, in a word; `raw` is for whoever shows it.

    `approved`, of the review of a patch: a person who may decide it accepts `content`, a patch, as it stands.
    """

    ok: bool
    content: str
    raw: Any = None
    code: OptionalText = None
    approved: bool = False


HealthRequest = Empty


class HealthResponse(Model):
    """Whether the model's `endpoint` (scheme, host and port; none for a model without) answers, and in what time.

    `why` says why not, or what is wrong with the answer.
    """

    model: str
    reachable: bool
    ms: float
    endpoint: OptionalText = None
    why: OptionalText = None


class RewoundFile(Model):
    path: str
    outcome: Literal["restored", "unchanged", "left"]
    reason: OptionalText = None


class RewindResponse(Model):
    """The conversation stands where it stood after the number `to`. What `commands` commands did stays."""

    to: Uint64
    turns: Uint64
    files: list[RewoundFile]
    commands: Uint64
