"""`session/update`: what the agent reports while it works, and between turns."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, model_validator
from pydantic_core import PydanticCustomError

from acp_wire.schema._base import SKIP_INVALID, Lenient, Model, OptionalText, Other, Tagged, Uint64
from acp_wire.schema.config_options import ConfigOptions
from acp_wire.schema.content import ContentBlock
from acp_wire.schema.tool_calls import ToolCall, ToolCallUpdate

PlanEntryPriority = Literal["high", "medium", "low"]
PlanEntryStatus = Literal["pending", "in_progress", "completed"]


class ContentChunk(Model):
    """One block of a message; chunks with the same `message_id` are one message."""

    session_update: Literal["user_message_chunk", "agent_message_chunk", "agent_thought_chunk"]
    content: ContentBlock
    message_id: OptionalText = None


class PlanEntry(Model):
    content: str
    priority: PlanEntryPriority
    status: PlanEntryStatus


class Plan(Model):
    """Always the complete list."""

    session_update: Literal["plan"] = "plan"
    entries: Annotated[list[Annotated[PlanEntry, SKIP_INVALID]], Lenient(list, required=True)]


class AvailableCommandInput(Model):
    hint: str


class AvailableCommand(Model):
    """`name` has no slash; the command is run by a prompt that begins with `/name`."""

    name: str
    description: str
    input: Annotated[AvailableCommandInput | None, Lenient()] = None


class AvailableCommandsUpdate(Model):
    session_update: Literal["available_commands_update"] = "available_commands_update"
    available_commands: Annotated[list[Annotated[AvailableCommand, SKIP_INVALID]], Lenient(list, required=True)]


class CurrentModeUpdate(Model):
    session_update: Literal["current_mode_update"] = "current_mode_update"
    current_mode_id: str


class ConfigOptionUpdate(Model):
    """Always the complete list."""

    session_update: Literal["config_option_update"] = "config_option_update"
    config_options: Annotated[ConfigOptions, Lenient(list, required=True)]


def _patch(raw: Any, **kinds: type) -> Any:
    """`raw` without its malformed values: in a patch null clears, so a malformed value must count as not sent."""
    if not isinstance(raw, dict):
        return raw
    return {key: it for key, it in raw.items() if key not in kinds or it is None or isinstance(it, kinds[key])}


class SessionInfoUpdate(Model):
    """A patch: a field not in `model_fields_set` is unchanged, None in it is cleared. `updated_at` is ISO 8601."""

    session_update: Literal["session_info_update"] = "session_info_update"
    title: OptionalText = None
    updated_at: OptionalText = None

    @model_validator(mode="before")
    @classmethod
    def _malformed_is_not_sent(cls, raw: Any) -> Any:
        return _patch(raw, title=str, updatedAt=str)


class Cost(Model):
    """`currency` is an ISO 4217 code, or a word such as `credits`."""

    amount: float
    currency: str


class UsageUpdate(Model):
    """Tokens in the context now, and the size of the window."""

    session_update: Literal["usage_update"] = "usage_update"
    used: Uint64
    size: Uint64
    cost: Annotated[Cost | None, Lenient()] = None


def _not_empty(text: str) -> str:
    if not text:
        raise PydanticCustomError("empty", "should not be empty")
    return text


class Notice(Model):
    """A live event, never replayed. `severity` is info, warning, error, or a word that is not known yet."""

    session_update: Literal["notice"] = "notice"
    severity: str
    title: Annotated[str, AfterValidator(_not_empty)]
    description: OptionalText = None


class CompactionUpdate(Model):
    """A patch, as `SessionInfoUpdate` is. `status` is in_progress, completed, failed, cancelled, or a new word."""

    session_update: Literal["compaction_update"] = "compaction_update"
    compaction_id: str
    status: str
    summary: Annotated[list[Annotated[ContentBlock, SKIP_INVALID]] | None, Lenient()] = None
    error: OptionalText = None

    @model_validator(mode="before")
    @classmethod
    def _malformed_is_not_sent(cls, raw: Any) -> Any:
        return _patch(raw, summary=list, error=str)


class CompactionSummaryChunk(Model):
    session_update: Literal["compaction_summary_chunk"] = "compaction_summary_chunk"
    compaction_id: str
    content: ContentBlock


class UnknownUpdate(Other):
    """An update of a kind that v1 does not have. A client drops the notification and keeps the session."""

    session_update: str


SessionUpdate = Annotated[
    ContentChunk
    | ToolCall
    | ToolCallUpdate
    | Plan
    | AvailableCommandsUpdate
    | CurrentModeUpdate
    | ConfigOptionUpdate
    | SessionInfoUpdate
    | UsageUpdate
    | Notice
    | CompactionUpdate
    | CompactionSummaryChunk
    | UnknownUpdate,
    Tagged(
        "sessionUpdate",
        {
            "user_message_chunk": ContentChunk,
            "agent_message_chunk": ContentChunk,
            "agent_thought_chunk": ContentChunk,
            "tool_call": ToolCall,
            "tool_call_update": ToolCallUpdate,
            "plan": Plan,
            "available_commands_update": AvailableCommandsUpdate,
            "current_mode_update": CurrentModeUpdate,
            "config_option_update": ConfigOptionUpdate,
            "session_info_update": SessionInfoUpdate,
            "usage_update": UsageUpdate,
            "notice": Notice,
            "compaction_update": CompactionUpdate,
            "compaction_summary_chunk": CompactionSummaryChunk,
        },
        other=UnknownUpdate,
    ),
]


class SessionNotification(Model):
    session_id: str
    update: SessionUpdate
