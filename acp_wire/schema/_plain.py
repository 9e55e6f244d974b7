"""What comes before the first session is there, read without pydantic: loading it would nearly double an agent's start.

A `Part` reads itself from the JSON object that it came as, a field a line, and keeps the rules that the models of
`_base` keep: unknown keys are ignored, and what is malformed is an error where it is required, else the default.
"""

from typing import Any, Self, TypeVar

from acp_wire.errors import Malformed

Json = dict[str, Any]
P = TypeVar("P", bound="Part")


class Part:
    """A message or a part of one. Raises `Malformed`."""

    def __init__(self, raw: Json) -> None:
        meta = raw.get("_meta")
        self.meta: Json | None = meta if isinstance(meta, dict) else None

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({vars(self)})"

    @classmethod
    def _read(cls, raw: Any) -> Self:
        if not isinstance(raw, dict):
            raise Malformed("Input should be an object")
        return cls(raw)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """How a pydantic model reads a field of this type."""
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(cls._read)


class Supported(Part):
    """A capability marker: present and not null means yes, `{}` included."""


def flag(raw: Json, key: str) -> bool:
    """False unless it is true."""
    return raw.get(key) is True


def optional_text(raw: Json, key: str) -> str | None:
    """None unless it is text."""
    value = raw.get(key)
    return value if isinstance(value, str) else None


def optional(raw: Json, key: str, kind: type[P]) -> P | None:
    """None unless it is such an object."""
    try:
        return kind._read(raw.get(key))
    except Malformed:
        return None


def part(raw: Json, key: str, kind: type[P]) -> P:
    """With every default unless it is such an object."""
    return optional(raw, key, kind) or kind({})


def required(raw: Json, key: str) -> Any:
    """Whatever it is."""
    if key not in raw:
        raise Malformed(f"{key}: Field required")
    return raw[key]


def text(raw: Json, key: str) -> str:
    """Required."""
    return _text(required(raw, key), key)


def nullable_text(raw: Json, key: str) -> str | None:
    """None unless it is there; null is None."""
    return None if raw.get(key) is None else text(raw, key)


def texts(raw: Json, key: str) -> list[str]:
    """Empty unless it is there; null is empty."""
    value = raw.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise Malformed(f"{key}: Input should be a valid list")
    return [_text(item, f"{key}[{at}]") for at, item in enumerate(value)]


def uint16(raw: Json, key: str) -> int:
    """Required."""
    value = required(raw, key)
    if type(value) is not int:
        raise Malformed(f"{key}: Input should be a valid integer")
    if not 0 <= value < 2**16:
        raise Malformed(f"{key}: Input should be between 0 and {2**16 - 1}")
    return value


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise Malformed(f"{path}: Input should be a valid string")
    return value
