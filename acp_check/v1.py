"""The v1 schema, and what a message breaks of it, judged by the method that it belongs to.

The schema's own top-level union is no use for that: its extension branch accepts anything. `acp-v1.schema.json` is the
structure of the stable schema, release 1.25 or later, its texts removed.
"""

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend

Json = dict[str, Any]

SCHEMA: Json = json.loads(files("acp_check").joinpath("acp-v1.schema.json").read_bytes())
DEFS: Json = SCHEMA["$defs"]

_RANGES = {
    "uint16": (0, 2**16 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
}


def definitions_by_method() -> dict[str, dict[str, str]]:
    """Method -> `side` (who serves it: agent, client or protocol), `params` and, for a request, `result`: def names."""
    methods: dict[str, dict[str, str]] = {}
    for name, definition in DEFS.items():
        if "x-method" in definition:
            row = methods.setdefault(definition["x-method"], {"side": definition["x-side"]})
            row["result" if name.endswith("Response") else "params"] = name
    return methods


METHODS = definitions_by_method()


def fault(definition: str, value: Any) -> str | None:
    """Why `value` is not as the def has it, with the path to what is wrong; None where it is."""
    error = best_match(_validator(definition).iter_errors(value))
    return None if error is None else f"{error.json_path}: {error.message}"


def accepts(schema: Json, value: Any) -> bool:
    """Whether a part of the schema, such as one property, accepts `value`."""
    return bool(_whole.evolve(schema={**schema, "$defs": DEFS}).is_valid(value))


def unknown_keys(definition: str, value: Any) -> set[str]:
    """The paths of the keys that the schema does not have in `value`; `_meta` is in it everywhere."""
    return _unknown({"$ref": f"#/$defs/{definition}"}, value, "$")


def _one_of(validator: Any, options: list[Json], instance: Any, schema: Json) -> Iterator[ValidationError]:
    # By the discriminator where there is one: faster, and the error is about the variant that was meant.
    if "discriminator" not in schema or not isinstance(instance, dict):
        yield from jsonschema.Draft202012Validator.VALIDATORS["oneOf"](validator, options, instance, schema)
        return
    key = schema["discriminator"]["propertyName"]
    for option in options:
        if option["properties"][key]["const"] == instance.get(key):
            yield from validator.descend(instance, option)
            return
    yield ValidationError(f"{key} {instance.get(key)!r} is not in v1")


def _any_of(validator: Any, options: list[Json], instance: Any, schema: Json) -> Iterator[ValidationError]:
    # Of the alternatives the first that names no other kind of thing: the error is about what was meant.
    found = [list(validator.descend(instance, option)) for option in options]
    if not all(found):
        return
    meant = [errors for errors in found if not any(map(_is_another_kind, errors))]
    if meant:
        yield from meant[0]
    else:
        yield from jsonschema.Draft202012Validator.VALIDATORS["anyOf"](validator, options, instance, schema)


def _is_another_kind(error: ValidationError) -> bool:
    return error.validator == "const" or (error.validator in ("type", "enum") and not error.path)


_formats = jsonschema.FormatChecker(formats=())
for _name, (_low, _high) in _RANGES.items():
    _formats.checks(_name)(lambda it, low=_low, high=_high: not isinstance(it, int) or low <= it <= high)
_Validator = extend(jsonschema.Draft202012Validator, {"oneOf": _one_of, "anyOf": _any_of})
_whole = _Validator(SCHEMA, format_checker=_formats)


@cache
def _validator(definition: str) -> Any:
    return _Validator({"$ref": f"#/$defs/{definition}", "$defs": DEFS}, format_checker=_formats)


def _unknown(schema: Json, value: Any, path: str) -> set[str]:
    if isinstance(value, list):
        items = next((it["items"] for it in _parts(schema, value) if "items" in it), None)
        return set() if items is None else set().union(*(_unknown(items, it, f"{path}[]") for it in value))
    if not isinstance(value, dict):
        return set()
    known: Json = {}
    for part in _parts(schema, value):
        if part.get("additionalProperties"):
            return set()
        known |= part.get("properties", {})
    if not known:
        return set()
    found = {f"{path}.{key}" for key in value if key not in known}
    return found.union(*(_unknown(known[key], it, f"{path}.{key}") for key, it in value.items() if key in known))


def _parts(schema: Json, value: Any) -> list[Json]:
    """The schema and all that it refers to, of alternatives the one that fits."""
    parts = [schema]
    if "$ref" in schema:
        parts += _parts(DEFS[schema["$ref"].removeprefix("#/$defs/")], value)
    for inner in schema.get("allOf", ()):
        parts += _parts(inner, value)
    for word in ("oneOf", "anyOf"):
        fitting = next((it for it in schema.get(word, ()) if accepts(it, value)), None)
        parts += [] if fitting is None else _parts(fitting, value)
    return parts
