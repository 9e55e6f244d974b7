"""The models against the v1 schema: every definition, every property, every leniency annotation."""

from collections.abc import Iterator
from typing import Any, get_args

import jsonschema
import pytest
from pydantic import BaseModel, ValidationError

from acp_wire.schema._base import python_name
from tests.support.samples import (
    NOT_MODELLED,
    RENAMED,
    as_said,
    model_of,
    objects,
    samples,
    samples_of,
    smallest,
    validate,
)
from tests.support.schema import DEFS, check, schema_accepts

ANNOTATIONS = ("x-deserialize-default-on-error", "x-deserialize-skip-invalid-items", "x-deserialize-default-on-null")
ON_ERROR, SKIP_INVALID, ON_NULL = ANNOTATIONS

# One of each kind of value, and what lies just beyond each range.
VALUES: list[Any] = [
    *("", "text", "1", "\ud800", None, True, False, 0, 1, -1, 1.5, [], {}, [None], [1], ["text"], {"key": 1}),
    *(2**16, 2**31, 2**32, 2**63, 2**64, -(2**63) - 1),
]
# Nothing is malformed for these.
ANY_VALUE = {"rawInput", "rawOutput"}


def properties() -> Iterator[tuple[str, str]]:
    for name in objects():
        for key in DEFS[name].get("properties", {}):
            yield name, key


PROPERTIES = list(properties())


def having(annotation: str) -> list[tuple[str, str]]:
    return [(name, key) for name, key in PROPERTIES if DEFS[name]["properties"][key].get(annotation)]


def value_of(message: Any, key: str) -> Any:
    """A field's value by its wire name."""
    return getattr(message, "meta" if key == "_meta" else python_name(key))


def plain(value: Any) -> Any:
    return value.model_dump(by_alias=True, exclude_none=True) if isinstance(value, BaseModel) else as_said(value)


def wrong_items(key_schema: dict[str, Any]) -> list[Any]:
    return [value for value in VALUES if not schema_accepts(key_schema["items"], value)]


@pytest.mark.parametrize("definition", objects())
def test_every_definition_has_a_model(definition: str) -> None:
    assert model_of(definition) is not None


def test_the_lists_of_exceptions_name_only_what_the_schema_has() -> None:
    assert (set(RENAMED) | NOT_MODELLED) <= set(DEFS)


@pytest.mark.parametrize("definition", objects())
def test_what_the_schema_accepts_validates(definition: str) -> None:
    for value in samples(definition):
        check(definition, value)
        validate(definition, value)


@pytest.mark.parametrize("definition", objects())
def test_unknown_keys_are_ignored(definition: str) -> None:
    for value in samples(definition):
        validate(definition, {**value, "some_new_key": 1, "vendor.key": {"a": 1}})


@pytest.mark.parametrize("definition", objects())
def test_what_is_not_an_object_is_refused(definition: str) -> None:
    for value in (None, [], "text", 1, True):
        with pytest.raises(ValidationError):
            validate(definition, value)


@pytest.mark.parametrize(
    ("definition", "key"), [(name, key) for name in objects() for key in DEFS[name].get("required", ())]
)
def test_a_missing_required_property_is_refused(definition: str, key: str) -> None:
    for value in samples(definition):
        del value[key]
        with pytest.raises(ValidationError):
            validate(definition, value)


@pytest.mark.parametrize(("definition", "key"), PROPERTIES)
def test_a_property_takes_what_the_schema_takes_and_refuses_or_mends_the_rest(definition: str, key: str) -> None:
    schema = DEFS[definition]["properties"][key]
    for value in VALUES:
        message = {**smallest(definition), key: value}
        mended = schema.get(ON_ERROR) or (schema.get(ON_NULL) and value is None)
        if mended or schema_accepts(schema, value):
            validate(definition, message)
        else:
            with pytest.raises(ValidationError):
                validate(definition, message)


@pytest.mark.parametrize(("definition", "key"), having(ON_ERROR))
def test_a_malformed_value_becomes_the_default(definition: str, key: str) -> None:
    schema = DEFS[definition]["properties"][key]
    malformed = [value for value in VALUES if not schema_accepts(schema, value)]
    if schema.get(SKIP_INVALID):
        malformed = [value for value in malformed if not isinstance(value, list)]
    assert malformed or key in ANY_VALUE
    required = key in DEFS[definition].get("required", ())
    default = [] if required else value_of(validate(definition, smallest(definition)), key)
    if "default" in schema:
        assert plain(default) == schema["default"]
    for value in malformed:
        assert value_of(validate(definition, {**smallest(definition), key: value}), key) == default


@pytest.mark.parametrize(("definition", "key"), having(SKIP_INVALID))
def test_invalid_items_are_dropped_and_the_others_kept(definition: str, key: str) -> None:
    schema = DEFS[definition]["properties"][key]
    good = samples_of(schema["items"])[0]
    alone = value_of(validate(definition, {**smallest(definition), key: [good]}), key)
    assert len(alone) == 1
    bad = wrong_items(schema)
    assert bad
    for value in bad:
        mixed = {**smallest(definition), key: [value, good, value, good]}
        assert value_of(validate(definition, mixed), key) == alone * 2


@pytest.mark.parametrize(("definition", "key"), having(ON_NULL))
def test_null_is_empty_and_a_bad_item_is_refused(definition: str, key: str) -> None:
    schema = DEFS[definition]["properties"][key]
    message = smallest(definition)
    assert not value_of(validate(definition, {**message, key: None}), key)
    for value in wrong_items(schema) if "items" in schema else ():
        with pytest.raises(ValidationError):
            validate(definition, {**message, key: [value]})
    if "additionalProperties" in schema:
        with pytest.raises(ValidationError):
            validate(definition, {**message, key: {"key": 1}})


def test_no_annotation_is_out_of_reach_of_these_tests() -> None:
    def annotated(schema: Any) -> int:
        if isinstance(schema, dict):
            return sum(a in schema for a in ANNOTATIONS) + sum(annotated(value) for value in schema.values())
        return sum(annotated(value) for value in schema) if isinstance(schema, list) else 0

    reached = sum(len(having(annotation)) for annotation in ANNOTATIONS)
    assert annotated(DEFS) == reached + annotated(DEFS["Error"]) + annotated(DEFS["ElicitationSessionScope"])


def test_a_closed_union_refuses_an_unknown_and_an_absent_kind() -> None:
    closed = [name for name in objects() if "discriminator" in DEFS[name] and name != "SessionUpdate"]
    assert closed == ["ToolCallContent", "ContentBlock", "SessionConfigOption", "RequestPermissionOutcome"]
    for name in closed:
        key = DEFS[name]["discriminator"]["propertyName"]
        for value in samples(name):
            for kind in ({}, {key: "some_new_kind"}, {key: 1}, {key: []}, {key: None}):
                message = {field: it for field, it in value.items() if field != key} | kind
                with pytest.raises(ValidationError):
                    validate(name, message)


CLOSED_WORDS = [name for name, it in DEFS.items() if "oneOf" in it and all("const" in option for option in it["oneOf"])]


@pytest.mark.parametrize("name", [name for name in CLOSED_WORDS if name not in NOT_MODELLED])
def test_a_closed_enumeration_has_the_schemas_words_and_no_others(name: str) -> None:
    assert set(get_args(model_of(name))) == {option["const"] for option in DEFS[name]["oneOf"]}


def test_python_names_build_a_model_too() -> None:
    model = model_of("PromptRequest")(session_id="s", prompt=[model_of("TextContent")(text="hi")])
    assert model.model_dump(by_alias=True, exclude_none=True) == {
        "sessionId": "s",
        "prompt": [{"type": "text", "text": "hi"}],
    }


def test_the_fixture_is_a_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema({"$defs": DEFS})
