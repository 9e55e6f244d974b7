"""What every chapter's models share: the base model, the number ranges, and the rules of leniency of ACP v1.

The rules are the schema's `x-deserialize-*` annotations: `Lenient` is default-on-error, `SKIP_INVALID` is
skip-invalid-items, `NULL_IS_EMPTY` is default-on-null. They build core schemas directly, without Python validators,
because a first prompt waits for these models.
"""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema

from acp_wire.errors import Malformed

_SHOWN_ERRORS = 3


def wire_name(name: str) -> str:
    """`session_id` -> `sessionId`, `meta` -> `_meta`."""
    if name == "meta":
        return "_meta"
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)


def python_name(name: str) -> str:
    """`sessionUpdate` -> `session_update`."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


class Lenient:
    """Default-on-error: a malformed value becomes the default.

    `default` is a value, or `list` or `dict` for an empty one; an empty dict is then read as the field's own model. A
    missing key is the field's own matter: with `required=True` it is an error, although a malformed value is not.
    """

    __slots__ = ("default", "required")

    def __init__(self, default: Any = None, *, required: bool = False) -> None:
        self.default = default
        self.required = required

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = handler(source)
        schema: CoreSchema
        if isinstance(self.default, type):
            schema = core_schema.with_default_schema(
                inner, default_factory=self.default, on_error="default", validate_default=True
            )
        else:
            schema = core_schema.with_default_schema(inner, default=self.default, on_error="default")
        # A chain hides the inner default from the model, which would take it for a missing key too.
        return core_schema.chain_schema([core_schema.any_schema(), schema]) if self.required else schema


class _SkipInvalid:
    __slots__ = ()

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_default_schema(handler(source), on_error="omit")


class _NullIsEmpty:
    __slots__ = ()

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = handler(source)
        empty: Callable[[], Any] = dict if inner["type"] == "dict" else list
        return core_schema.no_info_before_validator_function(lambda it: empty() if it is None else it, inner)


class _Within:
    __slots__ = ("high", "low")

    def __init__(self, low: int, high: int) -> None:
        self.low = low
        self.high = high

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.int_schema(ge=self.low, le=self.high, strict=True)


class Tagged:
    """A union told apart by the string under `key`: a known string with a bad payload fails, and never falls through.

    `other` takes a value whose string is not known, where the union is open, and one that has no such string, unless
    `absent` takes that. What nobody takes is an error. The tags stand in angle brackets so that an error's path can
    leave them out.
    """

    __slots__ = ("absent", "choices", "key", "other", "tags")

    def __init__(
        self,
        key: str,
        choices: dict[str, type[BaseModel]],
        other: type[BaseModel] | None = None,
        absent: type[BaseModel] | None = None,
    ) -> None:
        self.key = key
        self.choices = choices
        self.other = other
        self.absent = absent or other
        self.tags = {kind: f"<{kind}>" for kind in choices}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        models: dict[Any, type[BaseModel]] = {self.tags[kind]: model for kind, model in self.choices.items()}
        if self.other:
            models["<other>"] = self.other
        if self.absent:
            models["<absent>"] = self.absent
        schemas = {model: handler.generate_schema(model) for model in dict.fromkeys(models.values())}
        expected = ", ".join(repr(kind) for kind in self.choices)
        return core_schema.tagged_union_schema(
            {tag: schemas[model] for tag, model in models.items()},
            self._tag,
            custom_error_type="unknown_kind",
            custom_error_message=f"'{self.key}' should be one of {expected}",
        )

    def _tag(self, value: Any) -> str:
        kind = value.get(self.key) if isinstance(value, dict) else getattr(value, python_name(self.key), None)
        if not isinstance(kind, str):
            return "<absent>"
        return self.tags.get(kind, "<other>")


SKIP_INVALID = _SkipInvalid()
NULL_IS_EMPTY = _NullIsEmpty()

Uint16 = Annotated[int, _Within(0, 2**16 - 1)]
Uint32 = Annotated[int, _Within(0, 2**32 - 1)]
Uint64 = Annotated[int, _Within(0, 2**64 - 1)]
Int64 = Annotated[int, _Within(-(2**63), 2**63 - 1)]
RequestId = Int64 | str | None

Flag = Annotated[bool, Lenient(False)]
OptionalText = Annotated[str | None, Lenient()]
Strings = Annotated[list[str], NULL_IS_EMPTY]
# The default of a field that is an object: `{}`, read as its model. Cheaper than a call of the class, which would have
# to be built apart from the model that it is a part of.
DEFAULTS: Any = Field(default_factory=dict, validate_default=True)


class Model(BaseModel):
    """A message or a part of one: snake_case here, camelCase on the wire; unknown keys are ignored."""

    model_config = ConfigDict(
        alias_generator=wire_name,
        populate_by_name=True,
        extra="ignore",
        strict=True,
        defer_build=True,
        hide_input_in_errors=True,
    )

    meta: Annotated[dict[str, Any] | None, Lenient()] = None


class Empty(Model):
    """Params or a result without a field of its own."""


class OfSession(Model):
    """Params that name a session and nothing else."""

    session_id: str


class Other(Model):
    """The raw fallback of an open union; `model_extra` holds what came, under its wire names."""

    model_config = ConfigDict(extra="allow")


def reader(kind: Any) -> Callable[[Any], Any]:
    """What reads a value by its wire names as `kind`, a model or an annotated type. It raises `Malformed`."""
    is_model = isinstance(kind, type) and issubclass(kind, BaseModel)
    validate = kind.model_validate if is_model else TypeAdapter(kind).validate_python

    def read(raw: Any) -> Any:
        try:
            return validate(raw, by_alias=True, by_name=False)
        except ValidationError as error:
            raise Malformed(_describe(error.errors(include_url=False, include_input=False))) from None

    return read


def _describe(errors: list[Any]) -> str:
    shown = []
    for error in errors[:_SHOWN_ERRORS]:
        path = ""
        for step in error["loc"]:
            if isinstance(step, int):
                path += f"[{step}]"
            elif not (step.startswith("<") and step.endswith(">")):  # the name of a union's choice, not a key
                path += f".{step}" if path else step
        shown.append(f"{path}: {error['msg']}" if path else error["msg"])
    more = len(errors) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")
