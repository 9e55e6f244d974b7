"""Session config options: what `session/set_config_option` sets and session responses and updates list."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from acp_wire.schema._base import SKIP_INVALID, Lenient, Model, OptionalText, Tagged


class SessionConfigSelectOption(Model):
    value: str
    name: str
    description: OptionalText = None


class SessionConfigSelectGroup(Model):
    group: str
    name: str
    options: Annotated[list[Annotated[SessionConfigSelectOption, SKIP_INVALID]], Lenient(list, required=True)]


class _FlatOrGrouped:
    __slots__ = ()

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        flat = core_schema.list_schema(handler.generate_schema(SessionConfigSelectOption))
        grouped = core_schema.list_schema(handler.generate_schema(SessionConfigSelectGroup))
        return core_schema.union_schema([(flat, "<flat>"), (grouped, "<grouped>")], mode="left_to_right")


SessionConfigSelectOptions = Annotated[
    list[SessionConfigSelectOption] | list[SessionConfigSelectGroup], _FlatOrGrouped()
]


class _Option(Model):
    id: str
    name: str
    description: OptionalText = None
    category: OptionalText = None


class SessionConfigSelect(_Option):
    """One of several values; `category` is for presentation only."""

    type: Literal["select"] = "select"
    current_value: str
    options: SessionConfigSelectOptions


class SessionConfigBoolean(_Option):
    """On or off. Sent only to a client that has `session.configOptions.boolean`."""

    type: Literal["boolean"] = "boolean"
    current_value: bool


SessionConfigOption = Annotated[
    SessionConfigSelect | SessionConfigBoolean,
    Tagged("type", {"select": SessionConfigSelect, "boolean": SessionConfigBoolean}),
]
ConfigOptions = list[Annotated[SessionConfigOption, SKIP_INVALID]]


def _fits_type(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, bool if info.data.get("type") == "boolean" else str):
        raise PydanticCustomError("value_type", "should be a string, or a boolean where 'type' is 'boolean'")
    return value


class SetSessionConfigOptionRequest(Model):
    """`value` is a value id, or a bool when `type` is `boolean`; any other `type` is taken as absent."""

    session_id: str
    config_id: str
    type: Any = None
    value: Annotated[str | bool, BeforeValidator(_fits_type)]


class SetSessionConfigOptionResponse(Model):
    """The complete list of options, with their values as they are now."""

    config_options: Annotated[ConfigOptions, Lenient(list, required=True)]
