"""The choices that the v1 schema leaves between variants, one by one."""

from typing import Any

import pytest
from pydantic import ValidationError

from acp_wire.schema.elicitation import (
    ElicitationAccept,
    ElicitationOtherAction,
    ElicitationOtherMode,
    OtherMultiSelectItems,
    OtherPropertySchema,
    TitledMultiSelectItems,
)
from acp_wire.schema.session import McpServerHttp, McpServerStdio
from acp_wire.schema.session_update import CompactionUpdate, SessionInfoUpdate, SessionNotification, UnknownUpdate
from tests.support.samples import validate

STDIO = {"name": "files", "command": "files-mcp", "args": [], "env": []}


def new_session(server: Any) -> Any:
    return validate("NewSessionRequest", {"cwd": "/w", "mcpServers": [server]}).mcp_servers[0]


def update(**fields: Any) -> Any:
    return SessionNotification.model_validate({"sessionId": "s", "update": fields}).update


@pytest.mark.parametrize("extra", [{}, {"type": "stdio"}, {"type": None}, {"type": "some_new_kind"}])
def test_an_mcp_server_without_a_type_we_know_is_stdio(extra: dict[str, Any]) -> None:
    assert isinstance(new_session(STDIO | extra), McpServerStdio)


def test_an_http_server_is_never_taken_for_stdio() -> None:
    assert isinstance(new_session({"type": "http", "name": "n", "url": "u", "headers": None}), McpServerHttp)
    with pytest.raises(ValidationError):
        new_session(STDIO | {"type": "http"})


def test_one_bad_mcp_server_fails_the_request_instead_of_vanishing() -> None:
    with pytest.raises(ValidationError):
        validate("NewSessionRequest", {"cwd": "/w", "mcpServers": [STDIO, {"name": "n"}]})


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ({"value": "fast"}, "fast"),
        ({"type": "boolean", "value": False}, False),
        ({"type": "some_new_kind", "value": "fast"}, "fast"),
        ({"type": 5, "value": "fast"}, "fast"),
    ],
)
def test_a_config_value_is_a_string_or_a_declared_bool(fields: dict[str, Any], value: Any) -> None:
    request = validate("SetSessionConfigOptionRequest", {"sessionId": "s", "configId": "c", **fields})
    assert request.value == value
    assert type(request.value) is type(value)


@pytest.mark.parametrize(
    "fields",
    [
        {"value": True},
        {"value": 1},
        {"value": None},
        {"type": "boolean"},
        {"type": "boolean", "value": "true"},
        {"type": "boolean", "value": 1},
        {"type": "some_new_kind", "value": True},
    ],
)
def test_any_other_config_value_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        validate("SetSessionConfigOptionRequest", {"sessionId": "s", "configId": "c", **fields})


def test_an_update_of_an_unknown_kind_is_kept_raw_so_that_a_client_can_drop_it() -> None:
    unknown = update(sessionUpdate="state_update", state="idle", moreWords=[1])
    assert isinstance(unknown, UnknownUpdate)
    assert unknown.session_update == "state_update"
    assert unknown.model_extra == {"state": "idle", "moreWords": [1]}


@pytest.mark.parametrize(
    "fields",
    [
        {"sessionUpdate": "plan"},
        {"sessionUpdate": "tool_call", "toolCallId": "t"},
        {"sessionUpdate": "current_mode_update", "modeId": "m"},
        {"sessionUpdate": "agent_message_chunk", "content": {"type": "some_new_kind"}},
        {"sessionUpdate": 5},
        {},
    ],
)
def test_a_known_update_with_a_bad_payload_fails(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        update(**fields)


def test_in_a_session_info_patch_null_clears_and_absent_or_malformed_is_unchanged() -> None:
    assert update(sessionUpdate="session_info_update", title=None).model_fields_set >= {"title"}
    patch = update(sessionUpdate="session_info_update", title=5, updatedAt="2026-01-01T00:00:00Z")
    assert isinstance(patch, SessionInfoUpdate)
    assert "title" not in patch.model_fields_set
    assert patch.updated_at == "2026-01-01T00:00:00Z"


def test_in_a_compaction_patch_a_malformed_summary_is_unchanged_and_bad_blocks_are_dropped() -> None:
    fields = {"sessionUpdate": "compaction_update", "compactionId": "c", "status": "completed"}
    patch = update(**fields, summary="text")
    assert isinstance(patch, CompactionUpdate)
    assert "summary" not in patch.model_fields_set
    (block,) = update(**fields, summary=[{"type": "text"}, {"type": "text", "text": "kept"}]).summary
    assert block.text == "kept"
    assert "summary" in update(**fields, summary=None).model_fields_set


def test_a_resource_is_text_or_a_blob() -> None:
    text = validate("EmbeddedResource", {"resource": {"uri": "file:///a", "text": "t", "blob": 5}})
    assert text.resource.text == "t"
    blob = validate("EmbeddedResource", {"resource": {"uri": "file:///a", "blob": "AA==", "text": 5}})
    assert blob.resource.blob == "AA=="
    with pytest.raises(ValidationError):
        validate("EmbeddedResource", {"resource": {"uri": "file:///a"}})


def test_select_options_are_flat_or_grouped() -> None:
    def options(*rows: dict[str, Any]) -> Any:
        option = {"id": "o", "name": "n", "type": "select", "currentValue": "a", "options": list(rows)}
        return validate("SessionConfigOption", option).options

    value = {"value": "a", "name": "A"}
    group = {"group": "g", "name": "G", "options": [value, {"value": 5}]}
    assert [row.value for row in options(value, value)] == ["a", "a"]
    (grouped,) = options(group)
    assert [row.value for row in grouped.options] == ["a"]
    assert options() == []
    with pytest.raises(ValidationError):
        options(value, group)


def elicitation(**fields: Any) -> Any:
    return validate("CreateElicitationRequest", {"message": "m", **fields})


FORM = {"mode": "form", "requestedSchema": {}}


@pytest.mark.parametrize("scope", [{"sessionId": "s"}, {"requestId": 0}, {"requestId": "r"}, {"requestId": None}])
def test_an_elicitation_belongs_to_a_session_or_to_a_request(scope: dict[str, Any]) -> None:
    assert elicitation(**FORM, **scope).requested_schema.properties == {}


@pytest.mark.parametrize("fields", [{}, {"toolCallId": "t"}, {"sessionId": 5}, {"sessionId": None}, {"requestId": 1.5}])
def test_an_elicitation_without_a_scope_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        elicitation(**FORM, **fields)


def test_an_elicitation_of_an_unknown_mode_is_kept_raw_and_one_without_a_mode_is_refused() -> None:
    other = elicitation(mode="some_new_mode", sessionId="s", phone="1")
    assert isinstance(other, ElicitationOtherMode)
    assert other.model_extra == {"phone": "1"}
    with pytest.raises(ValidationError):
        elicitation(sessionId="s")
    with pytest.raises(ValidationError):
        elicitation(mode="url", sessionId="s")


def test_a_form_keeps_properties_of_an_unknown_type_and_refuses_bad_ones_of_a_known_type() -> None:
    schema = validate("ElicitationSchema", {"properties": {"a": {"type": "color", "palette": 3}}})
    assert isinstance(schema.properties["a"], OtherPropertySchema)
    assert schema.properties["a"].model_extra == {"palette": 3}
    for bad in ({"type": "string", "minLength": -1}, {"type": "array"}, {"title": "t"}, {"type": 5}):
        with pytest.raises(ValidationError):
            validate("ElicitationSchema", {"properties": {"a": bad}})


def test_multi_select_items_are_plain_titled_or_of_an_unknown_type() -> None:
    def items(**fields: Any) -> Any:
        return validate("MultiSelectPropertySchema", {"items": fields}).items

    assert items(type="string", enum=["a"]).enum == ["a"]
    assert isinstance(items(anyOf=[{"const": "a", "title": "A"}]), TitledMultiSelectItems)
    assert isinstance(items(type="color"), OtherMultiSelectItems)
    with pytest.raises(ValidationError):
        items(type="string")


def test_an_elicitation_answer_accepts_declines_cancels_or_is_kept_raw() -> None:
    accepted = validate("CreateElicitationResponse", {"action": "accept", "content": {"a": "x", "b": 1, "c": True}})
    assert isinstance(accepted, ElicitationAccept)
    assert accepted.content == {"a": "x", "b": 1, "c": True}
    assert type(accepted.content["c"]) is bool
    other = validate("CreateElicitationResponse", {"action": "later"})
    assert isinstance(other, ElicitationOtherAction)
    for bad in ({}, {"action": None}, {"action": "accept", "content": {"a": {}}}, {"action": "accept", "content": 5}):
        with pytest.raises(ValidationError):
            validate("CreateElicitationResponse", bad)


def test_an_unknown_permission_outcome_is_an_error_and_never_an_approval() -> None:
    for bad in ({"outcome": "approved", "optionId": "a"}, {"optionId": "a"}, {"outcome": "selected"}):
        with pytest.raises(ValidationError):
            validate("RequestPermissionResponse", {"outcome": bad})
