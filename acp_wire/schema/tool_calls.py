"""Tool calls, as session updates and permission requests show them."""

from typing import Annotated, Any, Literal

from pydantic import Field

from acp_wire.schema._base import SKIP_INVALID, Lenient, Model, OptionalText, Tagged, Uint32
from acp_wire.schema.content import ContentBlock

ToolKind = Literal["read", "edit", "delete", "move", "search", "execute", "think", "fetch", "switch_mode", "other"]
ToolCallStatus = Literal["pending", "in_progress", "completed", "failed"]


class Content(Model):
    type: Literal["content"] = "content"
    content: ContentBlock


class Diff(Model):
    """`old_text` is None for a new file."""

    type: Literal["diff"] = "diff"
    path: str
    old_text: OptionalText = None
    new_text: str


class Terminal(Model):
    type: Literal["terminal"] = "terminal"
    terminal_id: str


ToolCallContent = Annotated[
    Content | Diff | Terminal, Tagged("type", {"content": Content, "diff": Diff, "terminal": Terminal})
]


class ToolCallLocation(Model):
    """`line` is counted from 1."""

    path: str
    line: Annotated[Uint32 | None, Lenient()] = None


class ToolCall(Model):
    session_update: Literal["tool_call"] = "tool_call"
    tool_call_id: str
    title: str
    name: OptionalText = None
    kind: Annotated[ToolKind, Lenient("other")] = "other"
    status: Annotated[ToolCallStatus, Lenient("pending")] = "pending"
    content: Annotated[list[Annotated[ToolCallContent, SKIP_INVALID]], Lenient(list)] = Field(default_factory=list)
    locations: Annotated[list[Annotated[ToolCallLocation, SKIP_INVALID]], Lenient(list)] = Field(default_factory=list)
    raw_input: Any = None
    raw_output: Any = None


class ToolCallUpdate(Model):
    """Only what changed: None means unchanged; `content` and `locations` replace the whole list."""

    session_update: Literal["tool_call_update"] = "tool_call_update"
    tool_call_id: str
    title: OptionalText = None
    name: OptionalText = None
    kind: Annotated[ToolKind | None, Lenient()] = None
    status: Annotated[ToolCallStatus | None, Lenient()] = None
    content: Annotated[list[Annotated[ToolCallContent, SKIP_INVALID]] | None, Lenient()] = None
    locations: Annotated[list[Annotated[ToolCallLocation, SKIP_INVALID]] | None, Lenient()] = None
    raw_input: Any = None
    raw_output: Any = None
