"""The prompt turn: `session/prompt` and `session/cancel`. What is reported in between is in `session_update`."""

from typing import Literal

from acp_wire.schema._base import Model, OfSession
from acp_wire.schema.content import ContentBlock

StopReason = Literal["end_turn", "max_tokens", "max_turn_requests", "refusal", "cancelled"]


class PromptRequest(Model):
    session_id: str
    prompt: list[ContentBlock]


class PromptResponse(Model):
    stop_reason: StopReason


CancelNotification = OfSession
