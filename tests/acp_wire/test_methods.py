"""The rows: one per method, types loaded when first used, errors that name the path and never the value."""

import subprocess
import sys
from importlib import import_module
from typing import Any

import pytest

from acp_wire import methods
from acp_wire.errors import INTERNAL_ERROR, INVALID_PARAMS, RpcError
from acp_wire.methods import (
    AGENT_NOTIFICATIONS,
    AGENT_REQUESTS,
    CLIENT_NOTIFICATIONS,
    CLIENT_REQUESTS,
    Notification,
    Request,
)
from tests.support.samples import model_of, samples
from tests.support.schema import METHODS

ROWS = {row.name: row for row in (*AGENT_REQUESTS, *AGENT_NOTIFICATIONS, *CLIENT_REQUESTS, *CLIENT_NOTIFICATIONS)}
SECRET = "sk-do-not-repeat-this"


def names(rows: tuple[Notification[Any], ...]) -> set[str]:
    return {row.name for row in rows}


def served_by(side: str, *, requests: bool) -> set[str]:
    return {
        name for name, row in METHODS.items() if row["side"] in (side, "protocol") and ("result" in row) == requests
    }


def test_every_method_of_the_schema_has_a_row_on_the_side_that_serves_it() -> None:
    assert names(AGENT_REQUESTS) == served_by("agent", requests=True)
    assert names(CLIENT_REQUESTS) == served_by("client", requests=True)
    assert names(AGENT_NOTIFICATIONS) == served_by("agent", requests=False)
    assert names(CLIENT_NOTIFICATIONS) == served_by("client", requests=False)


def test_every_row_is_a_constant_with_the_name_of_its_method() -> None:
    for row in ROWS.values():
        assert getattr(methods, row.handler.upper()) is row


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_row_names_types_that_exist_and_are_the_schemas(name: str) -> None:
    row = ROWS[name]
    assert row.params_type == METHODS[name]["params"]
    assert getattr(import_module(f"acp_wire.schema.{row.chapter}"), row.params_type) is model_of(row.params_type)
    if isinstance(row, Request):
        assert row.result_type == METHODS[name]["result"]
        module = import_module(f"acp_wire.schema.{row.result_chapter}")
        assert getattr(module, row.result_type) is model_of(row.result_type)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_row_reads_what_the_schema_accepts(name: str) -> None:
    row = ROWS[name]
    for params in samples(row.params_type):
        row.params(params)
    if isinstance(row, Request):
        for result in samples(row.result_type):
            row.result(result)


def test_handlers_are_named_mechanically() -> None:
    assert methods.SESSION_PROMPT.handler == "session_prompt"
    assert methods.FS_READ_TEXT_FILE.handler == "fs_read_text_file"
    assert methods.CANCEL_REQUEST.handler == "cancel_request"
    assert Notification("_ars/session/replay", "", "").handler == "ars_session_replay"


@pytest.mark.parametrize(
    ("row", "params", "message"),
    [
        (
            methods.SESSION_PROMPT,
            {"sessionId": "s", "prompt": [{"type": "text"}]},
            "session/prompt: prompt[0].text: Field required",
        ),
        (
            methods.SESSION_PROMPT,
            {"sessionId": "s", "prompt": [{"type": "text", "text": "a"}, {"type": SECRET}]},
            "session/prompt: prompt[1]: 'type' should be one of 'text', 'image', 'audio', 'resource_link', 'resource'",
        ),
        (
            methods.SESSION_PROMPT,
            {"sessionId": "s", "prompt": [{"type": "resource", "resource": {"uri": "u"}}]},
            "session/prompt: prompt[0].resource.text: Field required; prompt[0].resource.blob: Field required",
        ),
        (
            methods.SESSION_NEW,
            {"cwd": "/w", "mcpServers": [{"name": "n", "command": SECRET, "args": [], "env": [{"name": SECRET}]}]},
            "session/new: mcpServers[0].env[0].value: Field required",
        ),
        (
            methods.INITIALIZE,
            {"protocolVersion": SECRET},
            "initialize: protocolVersion: Input should be a valid integer",
        ),
        (
            methods.INITIALIZE,
            {"protocolVersion": 2**16},
            "initialize: protocolVersion: Input should be between 0 and 65535",
        ),
        (methods.SESSION_NEW, {"mcpServers": []}, "session/new: cwd: Field required"),
        (methods.SESSION_NEW, {"cwd": [SECRET], "mcpServers": []}, "session/new: cwd: Input should be a valid string"),
        (methods.SESSION_NEW, {"cwd": "/w"}, "session/new: mcpServers: Field required"),
        (
            methods.SESSION_NEW,
            {"cwd": "/w", "mcpServers": SECRET},
            "session/new: mcpServers: Input should be a valid list",
        ),
        (
            methods.SESSION_NEW,
            {"cwd": "/w", "mcpServers": [], "additionalDirectories": ["/x", [SECRET]]},
            "session/new: additionalDirectories[1]: Input should be a valid string",
        ),
        (
            methods.SESSION_CANCEL,
            {"session_id": "python names are not wire names"},
            "session/cancel: sessionId: Field required",
        ),
        (
            methods.SESSION_SET_CONFIG_OPTION,
            {"sessionId": "s", "configId": "c", "value": 5},
            "session/set_config_option: value: should be a string, or a boolean where 'type' is 'boolean'",
        ),
        (
            methods.SESSION_FORK,
            {"sessionId": 1, "cwd": 2, "mcpServers": 3, "additionalDirectories": 4},
            (
                "session/fork: sessionId: Input should be a valid string; cwd: Input should be a valid string; "
                "mcpServers: Input should be a valid list; and 1 more"
            ),
        ),
        (
            methods.SESSION_UPDATE,
            {"sessionId": "s", "update": {"sessionUpdate": "notice", "severity": "info", "title": ""}},
            "session/update: update.title: should not be empty",
        ),
        (
            methods.ELICITATION_CREATE,
            {"mode": "form", "message": "m", "requestedSchema": {}},
            "elicitation/create: one of 'sessionId' and 'requestId' is required",
        ),
        (methods.LOGOUT, [], "logout: params should be an object"),
        (methods.LOGOUT, "text", "logout: params should be an object"),
        (methods.LOGOUT, False, "logout: params should be an object"),
    ],
)
def test_invalid_params_are_named_by_wire_path_and_rule(row: Notification[Any], params: Any, message: str) -> None:
    with pytest.raises(RpcError) as caught:
        row.params(params)
    assert caught.value.code == INVALID_PARAMS
    assert caught.value.message == message
    assert caught.value.data is None


def spoiled(value: Any) -> Any:
    """`value` with every leaf but discriminators and words of an enumeration replaced by the wrong type of secret."""
    if isinstance(value, dict):
        return {key: it if key in ("type", "sessionUpdate", "mode") else spoiled(it) for key, it in value.items()}
    if isinstance(value, list):
        return [spoiled(it) for it in value]
    return [SECRET] if isinstance(value, str) else SECRET


@pytest.mark.parametrize("name", sorted(METHODS))
def test_no_error_repeats_a_value(name: str) -> None:
    complaints = []
    for params in samples(ROWS[name].params_type):
        for wrong in (spoiled(params), dict.fromkeys(params, SECRET)):
            try:
                ROWS[name].params(wrong)
            except RpcError as error:
                complaints.append(error.message)
    assert complaints or name in ("logout", "session/list")
    assert not [it for it in complaints if SECRET in it]


def test_absent_params_are_an_empty_object() -> None:
    assert methods.SESSION_LIST.params(None).cwd is None
    with pytest.raises(RpcError, match="protocolVersion: Field required"):
        methods.INITIALIZE.params(None)


def test_a_null_result_is_an_empty_object_and_a_bad_one_is_not_the_callers_fault() -> None:
    assert methods.SESSION_LOAD.result(None).modes is None
    assert methods.AUTHENTICATE.result({}).meta is None
    with pytest.raises(RpcError) as caught:
        methods.SESSION_NEW.result(None)
    assert caught.value.code == INTERNAL_ERROR
    assert caught.value.message == "session/new: malformed result: sessionId: Field required"
    with pytest.raises(RpcError, match="malformed result: result should be an object"):
        methods.SESSION_NEW.result([SECRET])


def test_an_extension_row_takes_its_types_from_a_module_of_its_own() -> None:
    row: Request[Any, Any] = Request(
        "_x/y", "acp_wire.schema.session_opening", "ListSessionsRequest", "ResumeSessionRequest"
    )
    assert row.params({"cursor": "c"}).cursor == "c"
    assert row.result({"sessionId": "s", "cwd": "/w"}).cwd == "/w"


def loaded_after(statement: str) -> set[str]:
    code = f"import sys; from acp_wire import methods, build; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def test_the_table_and_the_builders_load_neither_pydantic_nor_a_chapter() -> None:
    modules = loaded_after("methods.SESSION_PROMPT.handler")
    assert "pydantic" not in modules
    assert not [name for name in modules if name.startswith("acp_wire.schema")]


def test_a_chapter_is_loaded_when_a_row_of_it_is_first_used() -> None:
    modules = loaded_after(
        "methods.INITIALIZE.params({'protocolVersion': 1}); methods.SESSION_CLOSE.params({'sessionId': 's'})"
    )
    chapters = {name for name in modules if name.startswith("acp_wire.schema.")}
    assert chapters == {f"acp_wire.schema.{name}" for name in ("_base", "_plain", "initialization", "session")}


@pytest.mark.parametrize(
    ("row", "params"),
    [
        ("SESSION_NEW", {"cwd": "/w", "mcpServers": []}),
        ("SESSION_LOAD", {"sessionId": "s", "cwd": "/w", "mcpServers": []}),
        ("SESSION_RESUME", {"sessionId": "s", "cwd": "/w"}),
        ("SESSION_LIST", {}),
    ],
)
def test_what_comes_first_on_a_connection_loads_no_pydantic(row: str, params: dict[str, Any]) -> None:
    modules = loaded_after(f"methods.INITIALIZE.params({{'protocolVersion': 1}}); methods.{row}.params({params})")
    assert "acp_wire.schema.session_opening" in modules
    assert "pydantic" not in modules
