"""Forms, field by field, and without anybody to fill them."""

from typing import Any

import pytest

from acp_wire import build, methods
from acp_wire.schema.permission import PermissionOption
from ars_cli import forms
from ars_cli.forms import Skipped, hunks_of, parse, unattended
from ars_cli.person import option_keys


def form(properties: dict[str, Any], required: list[str] | None = None) -> Any:
    schema = {"type": "object", "properties": properties, "required": required or []}
    return methods.ELICITATION_CREATE.params(build.elicitation_form("s", "message", schema))


def field(**schema: Any) -> Any:
    return form({"x": schema}).requested_schema.properties["x"]


PICK = {"type": "string", "oneOf": [{"const": "a", "title": "Apple"}, {"const": "b", "title": "Bear"}]}
MANY = {"type": "array", "items": {"anyOf": PICK["oneOf"]}}


@pytest.mark.parametrize(
    ("schema", "typed", "value"),
    [
        ({"type": "string"}, "free text", "free text"),
        ({"type": "string", "default": "d"}, "", "d"),
        (PICK, "2", "b"),
        (PICK, "Apple", "a"),
        ({"type": "string", "enum": ["x", "y"]}, "y", "y"),
        ({"type": "boolean"}, "Yes", True),
        ({"type": "boolean"}, "n", False),
        ({"type": "integer", "minimum": 0}, "12", 12),
        ({"type": "number"}, "1.5", 1.5),
        (MANY, "2 1 2", ["b", "a"]),
        (MANY, "1,2", ["a", "b"]),
        (MANY, "*", ["a", "b"]),
        ({**MANY, "minItems": 0}, "", []),
        ({"type": "array", "items": {"type": "string", "enum": ["x", "y"]}}, "y", ["y"]),
    ],
)
def test_what_is_typed_becomes_the_fields_value(schema: dict[str, Any], typed: str, value: Any) -> None:
    assert parse(field(**schema), typed, required=True) == value


@pytest.mark.parametrize(
    ("schema", "typed", "why"),
    [
        ({"type": "string"}, "", "needed"),
        ({"type": "string", "minLength": 3}, "ab", "at least 3 characters"),
        ({"type": "string", "maxLength": 3}, "abcd", "at most 3 characters"),
        (PICK, "3", "from 1 to 2"),
        ({"type": "boolean"}, "perhaps", "y or n"),
        ({"type": "integer"}, "1.5", "whole number"),
        ({"type": "number"}, "x", "a number"),
        ({"type": "integer", "minimum": 3}, "2", "at least 3"),
        ({"type": "number", "maximum": 3}, "4", "at most 3"),
        ({**MANY, "minItems": 1}, "", "at least 1"),
        ({**MANY, "maxItems": 1}, "*", "at most 1"),
        (MANY, "1 x", "from 1 to 2"),
    ],
)
def test_what_does_not_fit_is_told(schema: dict[str, Any], typed: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(field(**schema), typed, required=True)


def test_a_field_that_need_not_be_filled_can_be_skipped() -> None:
    with pytest.raises(Skipped):
        parse(field(type="string"), "", required=False)


HUNK = {"const": "h1", "title": "a.py @@ -1 +1 @@", "description": "@@ -1 +1 @@\n-a\n+b"}


def test_a_choice_of_hunks_is_known_by_what_it_shows() -> None:
    review = form({"hunks": {"type": "array", "items": {"anyOf": [HUNK]}}})

    name, [hunk] = hunks_of(review) or ("", [])
    assert (name, hunk.id, hunk.file, hunk.lines) == ("hunks", "h1", "a.py", ("@@ -1 +1 @@", "-a", "+b"))
    assert hunks_of(form({"x": MANY})) is None
    assert hunks_of(form({"x": PICK})) is None
    assert hunks_of(form({})) is None


def test_without_a_person_hunks_are_taken_only_where_that_is_allowed() -> None:
    review = form({"hunks": {"type": "array", "items": {"anyOf": [HUNK]}}}, ["hunks"])

    assert unattended(review, accept_hunks=True) == {"hunks": ["h1"]}
    assert unattended(review, accept_hunks=False) is None


def test_without_a_person_a_form_has_its_defaults_or_no_answer() -> None:
    with_default = {"type": "string", "default": "d"}

    assert unattended(form({"x": with_default, "y": PICK}, ["x"]), accept_hunks=True) == {"x": "d"}
    assert unattended(form({"x": with_default, "y": PICK}, ["y"]), accept_hunks=True) is None
    assert unattended(form({"y": PICK}), accept_hunks=True) is None


def test_a_property_of_an_unknown_type_is_asked_for_as_text() -> None:
    assert forms.parse(field(type="colour"), "red", required=True) == "red"


def options(*kinds: str) -> tuple[PermissionOption, ...]:
    return tuple(
        PermissionOption.model_validate({"optionId": str(number), "name": kind, "kind": kind})
        for number, kind in enumerate(kinds)
    )


def test_each_option_has_a_key_and_equal_kinds_are_told_apart() -> None:
    usual = option_keys(options("allow_always", "allow_once", "reject_once", "reject_always"))
    answers = option_keys(options("allow_once", "allow_once", "reject_once"))

    assert {key: option.kind for key, option in usual.items()} == {
        "a": "allow_always",
        "y": "allow_once",
        "n": "reject_once",
        "d": "reject_always",
    }
    assert [(key, option.option_id) for key, option in answers.items()] == [("1", "0"), ("2", "1"), ("n", "2")]
