"""`session/request_permission`: the agent asks before a tool call, the person chooses."""

from typing import Annotated, Literal

from acp_wire.schema._base import Model, Tagged
from acp_wire.schema.tool_calls import ToolCallUpdate

PermissionOptionKind = Literal["allow_once", "allow_always", "reject_once", "reject_always"]


class PermissionOption(Model):
    option_id: str
    name: str
    kind: PermissionOptionKind


class RequestPermissionRequest(Model):
    session_id: str
    tool_call: ToolCallUpdate
    options: list[PermissionOption]


class SelectedPermissionOutcome(Model):
    outcome: Literal["selected"] = "selected"
    option_id: str


class CancelledPermissionOutcome(Model):
    outcome: Literal["cancelled"] = "cancelled"


RequestPermissionOutcome = Annotated[
    SelectedPermissionOutcome | CancelledPermissionOutcome,
    Tagged("outcome", {"selected": SelectedPermissionOutcome, "cancelled": CancelledPermissionOutcome}),
]


class RequestPermissionResponse(Model):
    outcome: RequestPermissionOutcome
