"""The subset of JSON Schema that `params.json` and the OpenAPI document use, compiled to closures; errors read as
ajv's, which clients know.

A check appends what is wrong to a list: `at /limit: must be >= 1`, `at root: unexpected property 'x'`,
`must have required property 'key'`. All errors are told, in ajv's order, each text once.
"""

import json
import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

Check = Callable[[Any, str, list[str]], None]

_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: (
        (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())
    ),
}
# ajv tests these keywords' type with them, so that a wrong type is told once and they are not looked at.
_BY_TYPE = {
    "string": ("minLength", "maxLength", "pattern"),
    "array": ("minItems", "maxItems", "items"),
    "object": ("required", "additionalProperties", "patternProperties", "properties"),
}


def problems(name: str, value: Any) -> str:
    """What is wrong with `value` as the parameters of method `name`, `""` for nothing. No schema: anything goes."""
    check = compiled(name)
    if check is None:
        return ""
    found: list[str] = []
    check(value, "", found)
    return "; ".join(dict.fromkeys(found)) if found else ""


@cache
def compiled(name: str) -> Check | None:
    """The check of one method's parameters, made when it is first used."""
    schema = _schemas().get(name)
    return None if schema is None else compile_schema(schema)


@cache
def _schemas() -> dict[str, Any]:
    text = files(__package__).joinpath("params.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def compile_schema(schema: dict[str, Any]) -> Check:
    """A check for `schema`. Keywords beyond the subset are a `ValueError`, so that none is overlooked."""
    unknown = schema.keys() - _KNOWN
    if unknown:
        raise ValueError(f"keywords that are not compiled: {sorted(unknown)}")
    kind: str | None = schema.get("type")
    grouped = kind in _BY_TYPE and any(word in schema for word in _BY_TYPE[kind])
    parts = [make(schema[word]) for word, make in _SCALARS.items() if word in schema]
    if grouped and kind is not None:
        parts.append(_of_type(kind, [_GROUPS[kind](schema)]))
    elif kind is not None:
        parts.insert(0, _of_type(kind, []))
    return parts[0] if len(parts) == 1 else _all(parts)


def _all(parts: list[Check]) -> Check:
    def check(value: Any, path: str, found: list[str]) -> None:
        for part in parts:
            part(value, path, found)

    return check


def _of_type(kind: str, then: list[Check]) -> Check:
    fits = _TYPES[kind]

    def check(value: Any, path: str, found: list[str]) -> None:
        if not fits(value):
            found.append(_at(path, f"must be {kind}"))
            return
        for part in then:
            part(value, path, found)

    return check


def _const(wanted: Any) -> Check:
    def check(value: Any, path: str, found: list[str]) -> None:
        if type(value) is not type(wanted) or value != wanted:
            found.append(_at(path, "must be equal to constant"))

    return check


def _enum(wanted: list[Any]) -> Check:
    def check(value: Any, path: str, found: list[str]) -> None:
        if not any(type(value) is type(one) and value == one for one in wanted):
            found.append(_at(path, "must be equal to one of the allowed values"))

    return check


def _any_of(schemas: list[dict[str, Any]]) -> Check:
    branches = [compile_schema(schema) for schema in schemas]

    def check(value: Any, path: str, found: list[str]) -> None:
        inner: list[str] = []
        for branch in branches:
            before = len(inner)
            branch(value, path, inner)
            if len(inner) == before:
                return
        found.extend([*inner, _at(path, "must match a schema in anyOf")])

    return check


def _one_of(schemas: list[dict[str, Any]]) -> Check:
    branches = [compile_schema(schema) for schema in schemas]
    named = [schema["required"][0] for schema in schemas if len(schema.get("required", ())) == 1]
    wrong = "must match exactly one schema in oneOf"
    if len(named) == len(schemas):  # no words of ajv's, whose clients know no such parameters
        wrong = f"must have exactly one of {', '.join(map(repr, named))}"

    def fits(branch: Check, value: Any, path: str) -> bool:
        inner: list[str] = []
        branch(value, path, inner)
        return not inner

    def check(value: Any, path: str, found: list[str]) -> None:
        if sum(fits(branch, value, path) for branch in branches) != 1:
            found.append(_at(path, wrong))

    return check


def _bound(minimum: bool) -> Callable[[float], Check]:
    def make(limit: float) -> Check:
        def check(value: Any, path: str, found: list[str]) -> None:
            if _TYPES["number"](value) and (value < limit if minimum else value > limit):
                found.append(_at(path, f"must be {'>=' if minimum else '<='} {limit}"))

        return check

    return make


def _string(schema: dict[str, Any]) -> Check:
    size = _length(schema.get("minLength", 0), schema.get("maxLength"), "characters")
    pattern: str | None = schema.get("pattern")
    if pattern is None:
        return size
    search = re.compile(pattern).search

    def check(value: Any, path: str, found: list[str]) -> None:
        size(value, path, found)
        if search(value) is None:
            found.append(_at(path, f'must match pattern "{pattern}"'))

    return check


def _length(least: int, most: int | None, what: str) -> Check:
    def check(value: Any, path: str, found: list[str]) -> None:
        if len(value) < least:
            found.append(_at(path, f"must NOT have fewer than {least} {what}"))
        if most is not None and len(value) > most:
            found.append(_at(path, f"must NOT have more than {most} {what}"))

    return check


def _array(schema: dict[str, Any]) -> Check:
    size = _length(schema.get("minItems", 0), schema.get("maxItems"), "items")
    item = compile_schema(schema.get("items", {})) if schema.get("items") else None

    def check(value: Any, path: str, found: list[str]) -> None:
        size(value, path, found)
        if item is not None:
            for index, one in enumerate(value):
                item(one, f"{path}/{index}", found)

    return check


def _object(schema: dict[str, Any]) -> Check:
    required: list[str] = schema.get("required", [])
    properties = {key: compile_schema(value) for key, value in schema.get("properties", {}).items()}
    patterns = [(re.compile(key), compile_schema(it)) for key, it in schema.get("patternProperties", {}).items()]
    more = schema.get("additionalProperties", True)
    closed = more is False
    other = compile_schema(more) if isinstance(more, dict) else None

    def check(value: Any, path: str, found: list[str]) -> None:
        found += [_at(path, f"must have required property '{key}'") for key in required if key not in value]
        if closed and not value.keys() <= properties.keys():
            extra = [key for key in value if key not in properties and not any(it.search(key) for it, _ in patterns)]
            found += [f"at {path or 'root'}: unexpected property '{key}'" for key in extra]
        for pattern, part in patterns:
            for key, one in value.items():
                if pattern.search(key):
                    part(one, f"{path}/{key}", found)
        for key, part in properties.items():
            if key in value:
                part(value[key], f"{path}/{key}", found)
        if other is not None:
            for key in value.keys() - properties.keys():
                if not any(it.search(key) for it, _ in patterns):
                    other(value[key], f"{path}/{key}", found)

    return check


def _at(path: str, message: str) -> str:
    return f"at {path}: {message}" if path else message


_SCALARS: dict[str, Callable[[Any], Check]] = {
    "minimum": _bound(True),
    "maximum": _bound(False),
    "const": _const,
    "enum": _enum,
    "anyOf": _any_of,
    "oneOf": _one_of,
}
_GROUPS: dict[str, Callable[[dict[str, Any]], Check]] = {"string": _string, "array": _array, "object": _object}
_KNOWN = {"type", "description", *_SCALARS, *(word for words in _BY_TYPE.values() for word in words)}
