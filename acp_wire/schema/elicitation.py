"""`elicitation/create` and `elicitation/complete`: the agent asks the person, in a form or by a link."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from acp_wire.schema._base import (
    SKIP_INVALID,
    Int64,
    Lenient,
    Model,
    OptionalText,
    Other,
    RequestId,
    Tagged,
    Uint32,
    Uint64,
)


class EnumOption(Model):
    const: str
    title: str
    description: OptionalText = None


class _Property(Model):
    title: OptionalText = None
    description: OptionalText = None


class StringPropertySchema(_Property):
    type: Literal["string"] = "string"
    min_length: Uint32 | None = None
    max_length: Uint32 | None = None
    pattern: str | None = None
    format: Literal["email", "uri", "date", "date-time"] | None = None
    default: OptionalText = None
    enum: list[str] | None = None
    one_of: list[EnumOption] | None = None


class NumberPropertySchema(_Property):
    type: Literal["number"] = "number"
    minimum: float | None = None
    maximum: float | None = None
    default: Annotated[float | None, Lenient()] = None


class IntegerPropertySchema(_Property):
    type: Literal["integer"] = "integer"
    minimum: Int64 | None = None
    maximum: Int64 | None = None
    default: Annotated[Int64 | None, Lenient()] = None


class BooleanPropertySchema(_Property):
    type: Literal["boolean"] = "boolean"
    default: Annotated[bool | None, Lenient()] = None


class StringMultiSelectItems(Model):
    type: Literal["string"] = "string"
    enum: list[str]


class TitledMultiSelectItems(Model):
    any_of: list[EnumOption]


class OtherMultiSelectItems(Other):
    type: str


MultiSelectItems = Annotated[
    StringMultiSelectItems | TitledMultiSelectItems | OtherMultiSelectItems,
    Tagged("type", {"string": StringMultiSelectItems}, other=OtherMultiSelectItems, absent=TitledMultiSelectItems),
]


class MultiSelectPropertySchema(_Property):
    type: Literal["array"] = "array"
    min_items: Uint64 | None = None
    max_items: Uint64 | None = None
    items: MultiSelectItems
    default: Annotated[list[Annotated[str, SKIP_INVALID]] | None, Lenient()] = None


class OtherPropertySchema(Other):
    """A property of a type that v1 does not have, kept whole."""

    type: str


ElicitationPropertySchema = Annotated[
    StringPropertySchema
    | NumberPropertySchema
    | IntegerPropertySchema
    | BooleanPropertySchema
    | MultiSelectPropertySchema
    | OtherPropertySchema,
    Tagged(
        "type",
        {
            "string": StringPropertySchema,
            "number": NumberPropertySchema,
            "integer": IntegerPropertySchema,
            "boolean": BooleanPropertySchema,
            "array": MultiSelectPropertySchema,
        },
        other=OtherPropertySchema,
    ),
]


class ElicitationSchema(Model):
    """A flat object: one property for each question."""

    type: Annotated[Literal["object"], Lenient("object")] = "object"
    title: OptionalText = None
    description: OptionalText = None
    properties: dict[str, ElicitationPropertySchema] = Field(default_factory=dict)
    required: list[str] | None = None


class _Scope(Model):
    session_id: OptionalText = None
    tool_call_id: OptionalText = None
    request_id: RequestId = None

    @model_validator(mode="before")
    @classmethod
    def _has_a_scope(cls, raw: Any) -> Any:
        if isinstance(raw, dict):
            session = raw.get("sessionId", raw.get("session_id"))
            # A requestId may be null and still name a request, so the key decides, not the value.
            if not isinstance(session, str) and raw.keys().isdisjoint(("requestId", "request_id")):
                raise PydanticCustomError("no_scope", "one of 'sessionId' and 'requestId' is required")
        return raw


class ElicitationFormMode(_Scope):
    mode: Literal["form"] = "form"
    message: str
    requested_schema: ElicitationSchema


class ElicitationUrlMode(_Scope):
    mode: Literal["url"] = "url"
    message: str
    elicitation_id: str
    url: str


class ElicitationOtherMode(_Scope, Other):
    """A mode that v1 does not have; a client refuses it."""

    mode: str
    message: str


CreateElicitationRequest = Annotated[
    ElicitationFormMode | ElicitationUrlMode | ElicitationOtherMode,
    Tagged("mode", {"form": ElicitationFormMode, "url": ElicitationUrlMode}, other=ElicitationOtherMode),
]

ElicitationContentValue = str | Int64 | float | bool | list[str]


class ElicitationAccept(Model):
    action: Literal["accept"] = "accept"
    content: dict[str, ElicitationContentValue] | None = None


class ElicitationDecline(Model):
    action: Literal["decline"] = "decline"


class ElicitationCancel(Model):
    action: Literal["cancel"] = "cancel"


class ElicitationOtherAction(Other):
    """An action that v1 does not have; an agent treats it as `cancel`."""

    action: str


CreateElicitationResponse = Annotated[
    ElicitationAccept | ElicitationDecline | ElicitationCancel | ElicitationOtherAction,
    Tagged(
        "action",
        {"accept": ElicitationAccept, "decline": ElicitationDecline, "cancel": ElicitationCancel},
        other=ElicitationOtherAction,
    ),
]


class CompleteElicitationNotification(Model):
    elicitation_id: str
