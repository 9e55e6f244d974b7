"""What keeps a tree from being a configuration, in words: at which key, what may stand there, and what does instead.

No value is ever told: a secret may stand at a wrong place.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Json = dict[str, Any]

# In the `ctx` of an error: the member that it is about, below where it was found.
BELOW = "below"
# What the one pattern that there is means.
_NAME = "a name of small letters, digits, _ and -, which begins with a letter or digit and has 64 of them at most"
_JSON = {
    bool: "true or false",
    int: "a whole number",
    float: "a number with a fraction",
    str: "text",
    list: "a list",
    dict: "an object",
    NoneType: "null",
}
_BEYOND = {
    "greater_than_equal": "less",
    "less_than_equal": "more",
    "string_too_short": "shorter",
    "string_too_long": "longer",
}


def issues_of(error: ValidationError, model: type[BaseModel], most: int) -> list[Json]:
    """The first `most` faults of a tree that is no `model`: the dotted path, and a predicate of what stands there."""
    return [_issue(it, model) for it in error.errors(include_url=False)[:most]]


def _issue(it: ErrorDetails, model: type[BaseModel]) -> Json:
    loc = tuple(step for step in it["loc"] if step != "[key]")
    below = it.get("ctx", {}).get(BELOW)
    path = ".".join(map(str, loc if below is None else (*loc, below)))
    return {"path": path, "message": _message(it, model, loc)}


def _message(it: ErrorDetails, model: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    if it["type"] == "extra_forbidden":
        return _unknown(str(loc[-1]), _names(_at(model, loc[:-1])[0]))
    if "[key]" in it["loc"]:
        return f"must be called by {_NAME}"
    if it["type"] == "value_error" or BELOW in it.get("ctx", {}):
        return it["msg"].removeprefix("Value error, ")
    wanted = f"must be {_what(*_at(model, loc))}"
    if (beyond := _BEYOND.get(it["type"])) is not None:
        return f"{wanted}: this is {beyond}"
    return f"{wanted}, is {_JSON[type(it['input'])]}" if it["type"].endswith("_type") else wanted


def _unknown(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"is unknown: {near[0]} may be meant" if near else f"is unknown: there are {listed(known)}"


def listed(names: Iterable[str], last: str = "and") -> str:
    """`a, b and c`."""
    *rest, end = names
    return f"{', '.join(rest)} {last} {end}" if rest else end


# ── what may stand where ──────────────────────────────────────────────────────────────────────────────────────────────


def _at(model: type[BaseModel], loc: tuple[int | str, ...]) -> tuple[Any, list[Any]]:
    """The type of what stands at a place, and its bounds."""
    kind, bounds = _plain(model, [])
    for step in loc:
        if not _is_model(kind):
            kind, bounds = _plain(get_args(kind)[-1], [])
            continue
        field = next(it for name, it in kind.model_fields.items() if step in (name, it.alias))
        kind, bounds = _plain(field.annotation, field.metadata)
    return kind, bounds


def _plain(kind: Any, bounds: list[Any]) -> tuple[Any, list[Any]]:
    """A type without `None` and annotations, and all its bounds."""
    if get_origin(kind) is Annotated:
        inner, *more = get_args(kind)
        return _plain(inner, [*bounds, *more])
    if NoneType in get_args(kind):
        return _plain(next(it for it in get_args(kind) if it is not NoneType), bounds)
    return kind, bounds


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _names(model: type[BaseModel]) -> list[str]:
    return [it.alias or name for name, it in model.model_fields.items()]


def _what(kind: Any, bounds: list[Any]) -> str:
    def bound(name: str) -> Any:
        return next((found for it in bounds if (found := getattr(it, name, None)) is not None), None)

    if get_origin(kind) is Literal:
        return listed(get_args(kind), "or")
    if _is_model(kind):
        return f"an object with {listed(_names(kind))}"
    if (holds := get_origin(kind)) in (list, dict):
        return f"{_JSON[holds]} whose members are each {_what(*_plain(get_args(kind)[-1], []))}"
    if kind is not str:
        return f"{'a whole number' if kind is int else 'a number'} from {bound('ge')} to {bound('le')}"
    if bound("pattern"):
        return _NAME
    if bound("max_length"):
        return f"text of {bound('min_length')} to {bound('max_length')} characters"
    return "text that is not empty" if bound("min_length") else "text"
