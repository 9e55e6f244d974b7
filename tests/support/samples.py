"""Schema-valid samples of the v1 definitions, and where each definition lives in `acp_wire.schema`."""

from copy import deepcopy
from functools import cache
from importlib import import_module
from typing import Any

from pydantic import BaseModel, TypeAdapter

from acp_wire.schema._base import wire_name
from acp_wire.schema._plain import Part
from tests.support.schema import DEFS

Json = dict[str, Any]

CHAPTERS = (
    "initialization",
    "agent_capabilities",
    "authentication",
    "session_opening",
    "session",
    "session_state",
    "content",
    "prompt_turn",
    "session_update",
    "tool_calls",
    "permission",
    "file_system",
    "terminals",
    "elicitation",
    "config_options",
    "cancellation",
)

# Definitions that have another name with us: those that are nothing but a shape shared by many, or a part of a union.
RENAMED = {
    "AvailableCommandInput": "session_update.AvailableCommandInput",
    "ElicitationAcceptAction": "elicitation.ElicitationAccept",
    "UnstructuredCommandInput": "session_update.AvailableCommandInput",
    **dict.fromkeys(
        (
            "BooleanConfigOptionCapabilities",
            "CompactionCapabilities",
            "ElicitationFormCapabilities",
            "ElicitationUrlCapabilities",
            "LogoutCapabilities",
            "NoticeCapabilities",
            "SessionAdditionalDirectoriesCapabilities",
            "SessionCloseCapabilities",
            "SessionDeleteCapabilities",
            "SessionListCapabilities",
            "SessionResumeCapabilities",
        ),
        "_plain.Supported",
    ),
}

# Envelopes, which the connection reads by hand, and scopes and plain aliases that have no model of their own.
NOT_MODELLED = {
    *("AgentRequest", "AgentResponse", "AgentNotification", "ClientRequest", "ClientResponse", "ClientNotification"),
    *("Error", "ErrorCode", "RequestId", "ExtRequest", "ExtResponse", "ExtNotification"),
    *("ElicitationSessionScope", "ElicitationRequestScope", "ElicitationSchemaType", "StringFormat"),
}

# A part of a definition that is a model of ours together with its parent's fields.
PARENTS: dict[str, Json] = {
    "SessionConfigSelect": {"id": "o", "name": "n"},
    "SessionConfigBoolean": {"id": "o", "name": "n"},
    "ElicitationFormMode": {"message": "m"},
    "ElicitationUrlMode": {"message": "m"},
    "ContentChunk": {"sessionUpdate": "agent_message_chunk"},
}


def model_of(definition: str) -> Any:
    """The model, or the annotated union, that stands for a definition; LookupError when there is none."""
    if definition in RENAMED:
        chapter, name = RENAMED[definition].split(".")
        return getattr(import_module(f"acp_wire.schema.{chapter}"), name)
    for chapter in CHAPTERS:
        module = import_module(f"acp_wire.schema.{chapter}")
        if hasattr(module, definition):
            return getattr(module, definition)
    raise LookupError(definition)


def objects() -> list[str]:
    """Every definition that is an object, or a union of objects, and that we model."""
    return [name for name in DEFS if name not in NOT_MODELLED and _is_object({"$ref": f"#/$defs/{name}"})]


def _is_object(schema: Json) -> bool:
    if "$ref" in schema:
        return _is_object(DEFS[schema["$ref"].removeprefix("#/$defs/")])
    if schema.get("type") == "object" or "properties" in schema:
        return True
    options = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf") or []
    return any(_is_object(option) for option in options)


def validate(definition: str, value: Any) -> Any:
    """What our model makes of `value`, by its wire names only; raises pydantic.ValidationError."""
    if isinstance(value, dict):
        value = {**PARENTS.get(definition, {}), **value}
    return _adapter(definition).validate_python(value, by_alias=True, by_name=False)


def as_said(value: Any) -> Any:
    """What a value of our types was read from: without what was not said, and in a `Part` without what is empty."""
    if isinstance(value, Part):
        return {wire_name(name): as_said(it) for name, it in vars(value).items() if it not in (None, [])}
    if isinstance(value, BaseModel):
        said = {name: getattr(value, name) for name in value.model_fields_set - (value.model_extra or {}).keys()}
        return {wire_name(name): as_said(it) for name, it in said.items()} | (value.model_extra or {})
    if isinstance(value, dict):
        return {key: as_said(it) for key, it in value.items()}
    return [as_said(it) for it in value] if isinstance(value, list) else value


@cache
def _adapter(definition: str) -> TypeAdapter[Any]:
    return TypeAdapter(model_of(definition))


def samples(definition: str) -> list[Any]:
    """Valid values of a definition: of each variant the smallest, and two with every field."""
    return deepcopy(_samples(definition))


def smallest(definition: str) -> Any:
    """A valid value of a definition's first variant, with what is required and nothing else."""
    return deepcopy(_samples(definition)[0])


@cache
def _samples(definition: str) -> list[Any]:
    return samples_of(DEFS[definition])


def samples_of(schema: Json) -> list[Any]:
    """Valid values of a schema, the plainest first."""
    if "$ref" in schema:
        return samples(schema["$ref"].removeprefix("#/$defs/"))
    if "const" in schema:
        return [schema["const"]]
    options = _options(schema)
    if "properties" in schema or schema.get("type") == "object" or (options and "allOf" in schema):
        return _objects(schema)
    if options:
        return [value for option in options for value in samples_of(option)]
    if "allOf" in schema:
        return samples_of(schema["allOf"][0])
    kind = schema.get("type", "string")
    return [value for one in (kind if isinstance(kind, list) else [kind]) for value in _scalars(one, schema)]


def _options(schema: Json) -> list[Json]:
    return schema.get("oneOf") or schema.get("anyOf") or []


def _scalars(kind: str, schema: Json) -> list[Any]:
    if kind == "array":
        return [samples_of(schema["items"]), []]
    limits = {"uint16": 2**16 - 1, "uint32": 2**32 - 1, "uint64": 2**64 - 1, "int64": 2**63 - 1}
    values: dict[str, list[Any]] = {
        "string": ["text", "\ud800 alone"],
        "integer": [limits.get(schema.get("format", ""), 7)],
        "number": [1.5, 2],
        "boolean": [True, False],
        "null": [None],
        "object": [{"key": 1}, {}],
    }
    return values[kind]


def _objects(schema: Json) -> list[Json]:
    results = []
    for option in _options(schema) or [{}]:
        for which, fullest in ((0, False), (0, True), (-1, True)):
            value = _fields({**schema, "anyOf": [], "oneOf": []}, fullest, which) | _fields(option, fullest, which)
            results.append(value)
    return results


def _fields(schema: Json, fullest: bool, which: int) -> Json:
    if "$ref" in schema:
        return samples_of(schema)[which if fullest else 0]  # type: ignore[no-any-return]
    value: Json = {}
    for part in [*schema.get("allOf", []), *_options(schema)[:1]]:
        value |= _fields(part, fullest, which)
    properties = schema.get("properties", {})
    for key in properties if fullest else schema.get("required", ()):
        if key in properties:
            value[key] = samples_of(properties[key])[which if fullest else 0]
    if fullest and isinstance(schema.get("additionalProperties"), dict):
        value |= {f"key{n}": it for n, it in enumerate(samples_of(schema["additionalProperties"]))}
    return value
