"""The prompt turn: `session/prompt` and `session/cancel`. What is reported in between is in `session_update`."""

from typing import Annotated, Any, Literal

from acp_wire.schema._base import Lenient, Model, OfSession
from acp_wire.schema.content import ContentBlock

StopReason = Literal["end_turn", "max_tokens", "max_turn_requests", "refusal", "cancelled"]


class PromptRequest(Model):
    session_id: str
    prompt: list[ContentBlock]


class PromptResponse(Model):
    stop_reason: StopReason
    # The tokens of the turn: a draft of the protocol that agents go ahead with, so whatever it is it harms nothing.
    usage: Annotated[dict[str, Any] | None, Lenient()] = None


CancelNotification = OfSession
