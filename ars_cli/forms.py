"""Forms that an agent wants filled: asked field by field, or answered without a person."""

import itertools
import re
from typing import TYPE_CHECKING, Any

from ars_cli.keyboard import Keyboard
from ars_cli.plain import clean, visible
from ars_cli.review import Hunk
from ars_cli.screen import Screen

if TYPE_CHECKING:
    from acp_wire.schema.elicitation import ElicitationFormMode, EnumOption, MultiSelectPropertySchema

YES, NO = ("y", "yes", "true", "1"), ("n", "no", "false", "0")


class Skipped(Exception):
    """A field was left empty that need not be filled."""


def hunks_of(form: "ElicitationFormMode") -> tuple[str, list[Hunk]] | None:
    """The name of the form's one field and its hunks, where the form is the review of a patch; None where it is not."""
    fields = form.requested_schema.properties
    if len(fields) != 1:
        return None
    [(name, field)] = fields.items()
    if field.type != "array":
        return None
    options = choices(field)
    shown = _below_titles(form.message, [option.title for option in options])
    hunks = [_hunk(option, shown.get(option.title, [])) for option in options]
    diff = any(line[:1] in ("+", "-") for hunk in hunks for line in hunk.lines)
    return (name, hunks) if diff else None


def lead(form: "ElicitationFormMode") -> str:
    """What a form's message says before it comes to the choices."""
    titles = {option.title for field in form.requested_schema.properties.values() for option in choices(field)}
    return "\n".join(itertools.takewhile(lambda line: line not in titles, form.message.split("\n"))).strip()


def _below_titles(message: str, titles: list[str]) -> dict[str, list[str]]:
    """The lines of `message` that stand below each of `titles`."""
    shown: dict[str, list[str]] = {}
    below: list[str] = []
    for line in message.split("\n"):
        if line in titles:
            below = shown.setdefault(line, [])
        else:
            below.append(line)
    return shown


def _hunk(option: "EnumOption", shown: list[str]) -> Hunk:
    lines = option.description.split("\n") if option.description else shown
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    numbered = re.fullmatch(r"(?:\d+: )?(.*?)(?:(?:, line \d+| @@).*)?", option.title, re.DOTALL)
    return Hunk(option.const, option.title, numbered[1] if numbered else option.title, tuple(lines))


def choices(field: Any) -> "list[EnumOption]":
    """What may be chosen in a field; empty where anything may be typed."""
    from acp_wire.schema.elicitation import EnumOption

    if field.type == "array":
        titled = getattr(field.items, "any_of", None) or []
        plain = getattr(field.items, "enum", None) or []
    elif field.type == "string":
        titled, plain = field.one_of or [], field.enum or []
    else:
        titled, plain = [], []
    return [*titled, *(EnumOption(const=value, title=value) for value in plain)]


def unattended(form: "ElicitationFormMode", *, accept_hunks: bool) -> dict[str, Any] | None:
    """The answer when nobody is there: all hunks if `accept_hunks`, or the defaults; None where there is none."""
    if review := hunks_of(form):
        name, hunks = review
        return {name: [hunk.id for hunk in hunks]} if accept_hunks else None
    content = {}
    for name, field in form.requested_schema.properties.items():
        default = getattr(field, "default", None)
        if default is not None:
            content[name] = default
        elif name in (form.requested_schema.required or ()):
            return None
    return content or None


async def fill(screen: Screen, keyboard: Keyboard, form: "ElicitationFormMode") -> dict[str, Any] | None:
    """Asks for each field; None when the person has ended the input instead."""
    schema = form.requested_schema
    content: dict[str, Any] = {}
    for name, field in schema.properties.items():
        required = name in (schema.required or ())
        _introduce(screen, name, field)
        while True:
            screen.write("› ", "title")
            typed = await keyboard.line()
            if typed is None:
                return None
            screen.entered()
            try:
                content[name] = parse(field, typed.strip(), required)
            except Skipped:
                pass
            except ValueError as why:
                screen.line(f"  {why}", "warning")
                continue
            break
    return content


def _introduce(screen: Screen, name: str, field: Any) -> None:
    default = getattr(field, "default", None)
    kind = {"boolean": " [y/n]", "integer": " (a whole number)", "number": " (a number)"}.get(field.type, "")
    standard = "" if default is None else f" (Enter: {visible(str(default))})"
    screen.line(f"{clean(getattr(field, 'title', None) or name)}{kind}{standard}", "bold")
    if description := getattr(field, "description", None):
        screen.line(clean(description), "dim")
    options = choices(field)
    for number, option in enumerate(options, 1):
        more = f" – {visible(option.description)}" if option.description else ""
        screen.line(f"  {number}. {visible(option.title)}{more}")
    if options and field.type == "array":
        screen.line("  numbers with spaces between, * for all", "dim")


def parse(field: Any, typed: str, required: bool) -> Any:
    """The value of what was typed for a field. Raises `ValueError` with what is wrong, `Skipped` for nothing at all."""
    if not typed:
        if getattr(field, "default", None) is not None:
            return field.default
        if required and field.type != "array":
            raise ValueError("an answer is needed")
        if not required:
            raise Skipped
    options = choices(field)
    if field.type == "array":
        return _several(field, options, typed)
    if options:
        return _one(options, typed)
    if field.type == "boolean":
        if typed.lower() not in YES + NO:
            raise ValueError("y or n")
        return typed.lower() in YES
    if field.type in ("integer", "number"):
        return _number(field, typed)
    least, most = getattr(field, "min_length", None), getattr(field, "max_length", None)
    if least is not None and len(typed) < least:
        raise ValueError(f"at least {least} characters")
    if most is not None and len(typed) > most:
        raise ValueError(f"at most {most} characters")
    return typed


def _number(field: Any, typed: str) -> int | float:
    try:
        value = int(typed) if field.type == "integer" else float(typed)
    except ValueError:
        raise ValueError("a number" if field.type == "number" else "a whole number") from None
    if field.minimum is not None and value < field.minimum:
        raise ValueError(f"at least {field.minimum}")
    if field.maximum is not None and value > field.maximum:
        raise ValueError(f"at most {field.maximum}")
    return value


def _one(options: "list[EnumOption]", typed: str) -> str:
    for number, option in enumerate(options, 1):
        if typed in (str(number), option.const, option.title):
            return option.const
    raise ValueError(f"a number from 1 to {len(options)}")


def _several(field: "MultiSelectPropertySchema", options: "list[EnumOption]", typed: str) -> list[str]:
    if typed == "*":
        chosen = [option.const for option in options]
    else:
        chosen = list(dict.fromkeys(_one(options, word) for word in typed.replace(",", " ").split()))
    if field.min_items is not None and len(chosen) < field.min_items:
        raise ValueError(f"at least {field.min_items}")
    if field.max_items is not None and len(chosen) > field.max_items:
        raise ValueError(f"at most {field.max_items}")
    return chosen
