"""The builders: every variant that goes out is valid v1, for the schema, for our models, and for the official SDK."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import acp.schema as sdk
import pydantic
import pytest

from acp_wire import build
from tests.support.samples import as_said, validate
from tests.support.schema import DEFS, check

MARKS = build.annotations(audience=["user"], last_modified="2026-01-01T00:00:00Z", priority=0.5)

BLOCKS = [
    build.content_text("hi"),
    build.content_text("hi", annotations=MARKS),
    build.content_image("AA==", "image/png"),
    build.content_image("AA==", "image/png", uri="file:///a.png", annotations=MARKS),
    build.content_audio("AA==", "audio/wav"),
    build.content_audio("AA==", "audio/wav", annotations=MARKS),
    build.content_resource_link("file:///a", "a"),
    build.content_resource_link(
        "file:///a", "a", title="A", description="d", mime_type="text/plain", size=3, annotations=MARKS
    ),
    build.content_resource_text("file:///a", "text", mime_type="text/plain", annotations=MARKS),
    build.content_resource_blob("file:///a", "AA==", mime_type="text/plain", annotations=MARKS),
]
TOOL_CONTENTS = [
    build.content("out"),
    build.content(build.content_image("AA==", "image/png")),
    build.diff("/w/a", None, "new"),
    build.diff("/w/a", "old", "new"),
    build.terminal("term-1"),
]
TOOL_CALL: dict[str, Any] = {
    "name": "git_diff",
    "kind": "read",
    "status": "completed",
    "content": TOOL_CONTENTS,
    "locations": [build.location("/w/a"), build.location("/w/a", 3)],
    "raw_input": {"a": 1},
    "raw_output": "out",
}
CONFIG = [
    build.config_select("model", "Model", "m1", [build.config_value("m1", "M1", "d")], category="model"),
    build.config_select(
        "mode", "Mode", "m1", [build.config_group("g", "G", [build.config_value("m1", "M1")])], description="d"
    ),
    build.config_boolean("web", "Web", True, description="d", category="_x"),
]
UPDATES = [
    build.user_message_chunk("hi"),
    build.user_message_chunk(BLOCKS[2], "m"),
    build.agent_message_chunk("hi", "m"),
    build.agent_thought_chunk("hmm", "m"),
    build.tool_call("t", "Read"),
    build.tool_call("t", "Read", **TOOL_CALL),
    build.tool_call_update("t"),
    build.tool_call_update("t", title="Read", **TOOL_CALL),
    build.tool_call_update("t", content=[], locations=[]),
    build.plan([]),
    build.plan([build.plan_entry("a"), build.plan_entry("b", priority="high", status="completed")]),
    build.available_commands_update(
        [build.available_command("plan", "Makes a plan"), build.available_command("web", "Searches", hint="query")]
    ),
    build.current_mode_update("ask"),
    build.config_option_update(CONFIG),
    build.session_info_update(title="T"),
    build.session_info_update(title=None, updated_at="2026-01-01T00:00:00Z"),
    build.usage_update(1, 2),
    build.usage_update(1, 2, cost=build.cost(0.5, "USD")),
    build.notice("info", "Retrying"),
    build.notice("error", "Lost", "The provider is away"),
    build.compaction_update("c", "in_progress"),
    build.compaction_update("c", "completed", summary=[build.content_text("s")], error=None),
    build.compaction_update("c", "failed", summary=None, error="full"),
    build.compaction_summary_chunk("c", "s"),
    build.compaction_summary_chunk("c", BLOCKS[2]),
]
PARTS = [
    *(("ContentBlock", block) for block in BLOCKS),
    *(("ToolCallContent", part) for part in TOOL_CONTENTS),
    *(("SessionConfigOption", option) for option in CONFIG),
    ("PermissionOption", build.permission_option("once", "Allow", "allow_once")),
    ("ToolCallUpdate", build.permission_tool_call("t", title="Write", kind="edit")),
    ("RequestPermissionResponse", build.selected("once")),
    ("RequestPermissionResponse", build.cancelled()),
    ("SessionModeState", build.session_modes("ask", [build.session_mode("ask", "Ask", "d")])),
    ("SessionInfo", build.session_info("s", "/w")),
    ("SessionInfo", build.session_info("s", "/w", additional_directories=["/x"], title="T", updated_at="2026-01-01")),
]

# One of each of what is asked and answered; what the SDK calls by the same name, it reads too.
MESSAGES = [
    (
        "InitializeResponse",
        build.initialize_result(
            build.implementation("ars", "1.0", "ARS"),
            build.agent_capabilities(
                load_session=True,
                prompt=["image", "embeddedContext"],
                mcp=["http"],
                session=["list", "delete", "additionalDirectories", "resume", "close"],
                logout=True,
            ),
            auth_methods=[
                build.auth_method("key", "API key", "From the environment"),
                build.auth_method_terminal("login", "Log in", description="d", args=["login"], env={"A": "b"}),
            ],
        ),
    ),
    ("InitializeResponse", build.initialize_result(build.implementation("ars", "1.0"), build.agent_capabilities())),
    (
        "InitializeRequest",
        {
            "protocolVersion": 1,
            "clientCapabilities": build.client_capabilities(
                read_text_file=True,
                write_text_file=True,
                terminal=True,
                terminal_auth=True,
                elicitation=["form", "url"],
                boolean_options=True,
                notices=True,
                compaction=True,
            ),
            "clientInfo": build.implementation("editor", "1.0"),
        },
    ),
    ("InitializeRequest", {"protocolVersion": 1, "clientCapabilities": build.client_capabilities()}),
    ("PromptResponse", build.prompt_result("end_turn")),
    (
        "RequestPermissionRequest",
        build.request_permission(
            "s",
            build.permission_tool_call("t", title="Write", kind="edit", content=TOOL_CONTENTS),
            [build.permission_option("once", "Allow", "allow_once")],
        ),
    ),
    ("RequestPermissionResponse", build.selected("once")),
    ("RequestPermissionResponse", build.cancelled()),
    ("ReadTextFileRequest", build.read_text_file("s", "/w/a")),
    ("ReadTextFileRequest", build.read_text_file("s", "/w/a", line=1, limit=9)),
    ("CreateTerminalRequest", build.create_terminal("s", "ls")),
    (
        "CreateTerminalRequest",
        build.create_terminal("s", "ls", args=["-l"], env={"A": "b"}, cwd="/w", output_byte_limit=9),
    ),
    ("WaitForTerminalExitResponse", build.exit_status(0)),
    ("WaitForTerminalExitResponse", build.exit_status(None, "SIGKILL")),
    ("TerminalOutputResponse", build.terminal_output("out", False)),
    ("TerminalOutputResponse", build.terminal_output("out", True, build.exit_status(1))),
    (
        "NewSessionRequest",
        {
            "cwd": "/w",
            "mcpServers": [
                build.mcp_stdio("files", "files-mcp", args=["-v"], env={"A": "b"}),
                build.mcp_stdio("files", "files-mcp"),
                build.mcp_http("web", "https://mcp.example", {"Authorization": "x"}),
                build.mcp_sse("web", "https://mcp.example"),
            ],
        },
    ),
    (
        "NewSessionResponse",
        {
            "sessionId": "s",
            "modes": build.session_modes("ask", [build.session_mode("ask", "Ask")]),
            "configOptions": CONFIG,
        },
    ),
    ("ListSessionsResponse", {"sessions": [build.session_info("s", "/w", additional_directories=["/x"])]}),
    ("PromptRequest", {"sessionId": "s", "prompt": BLOCKS}),
    ("CreateElicitationRequest", build.elicitation_form("s", "Which?", {"type": "object", "properties": {}}, "t")),
    ("CreateElicitationRequest", build.elicitation_url("s", "Sign in", "e", "https://example.com")),
    ("CreateElicitationResponse", build.elicitation_result("accept", {"a": 1})),
    ("CreateElicitationResponse", build.elicitation_result("decline")),
]


def named(update: dict[str, Any]) -> str:
    return str(update["sessionUpdate"])


def test_there_is_a_builder_for_every_kind_of_update() -> None:
    kinds = {option["properties"]["sessionUpdate"]["const"] for option in DEFS["SessionUpdate"]["oneOf"]}
    assert {named(update) for update in UPDATES} == kinds


@pytest.mark.parametrize("update", UPDATES, ids=named)
def test_an_update_is_valid_and_our_own_client_reads_it_back(update: dict[str, Any]) -> None:
    params = build.session_update("s", update)
    check("SessionNotification", params)
    read = validate("SessionNotification", params)
    assert as_said(read) == params


@pytest.mark.parametrize(("definition", "value"), PARTS, ids=lambda it: it if isinstance(it, str) else "")
def test_a_part_is_valid(definition: str, value: dict[str, Any]) -> None:
    check(definition, value)
    validate(definition, value)


# The SDK's release is behind the schema and does not know these kinds.
NEWER_THAN_THE_SDK = {"notice", "compaction_update", "compaction_summary_chunk"}


@pytest.mark.parametrize("update", [it for it in UPDATES if named(it) not in NEWER_THAN_THE_SDK], ids=named)
def test_the_official_sdk_reads_an_update(update: dict[str, Any]) -> None:
    read = sdk.SessionNotification.model_validate(build.session_update("s", update))
    assert read.update.session_update == named(update)


@pytest.mark.parametrize("kind", sorted(NEWER_THAN_THE_SDK))
def test_the_official_sdk_still_lacks_the_kinds_that_it_is_not_asked_about(kind: str) -> None:
    (update, *_) = [it for it in UPDATES if named(it) == kind]
    with pytest.raises(pydantic.ValidationError):
        sdk.SessionNotification.model_validate(build.session_update("s", update))


@pytest.mark.parametrize(("definition", "value"), MESSAGES, ids=lambda it: it if isinstance(it, str) else "")
def test_params_and_results_are_valid_and_the_other_end_reads_back_what_was_said(
    definition: str, value: dict[str, Any]
) -> None:
    check(definition, value)
    read = validate(definition, value)
    assert as_said(read) == value


@pytest.mark.parametrize(("definition", "value"), MESSAGES, ids=lambda it: it if isinstance(it, str) else "")
def test_the_official_sdk_reads_params_and_results(definition: str, value: dict[str, Any]) -> None:
    pydantic.TypeAdapter(getattr(sdk, definition)).validate_python(value)


def test_every_builder_is_used_in_these_tests() -> None:
    source = Path(__file__).read_text()
    builders = [name for name, it in vars(build).items() if inspect.isfunction(it) and not name.startswith("_")]
    assert not [name for name in builders if f"build.{name}(" not in source]


@pytest.mark.parametrize(
    ("build_it", "expected"),
    [
        (lambda: build.tool_call_update("t", status="failed"), {"toolCallId": "t", "status": "failed"}),
        (lambda: build.session_info_update(title=None), {"title": None}),
        (lambda: build.session_info_update(), {}),
        (lambda: build.compaction_update("c", "x", error=None), {"compactionId": "c", "status": "x", "error": None}),
    ],
)
def test_what_was_not_given_is_left_out_and_what_is_cleared_is_null(
    build_it: Callable[[], dict[str, Any]], expected: dict[str, Any]
) -> None:
    update = build_it()
    del update["sessionUpdate"]
    assert update == expected


def test_meta_is_added_when_there_is_any() -> None:
    assert build.session_update("s", {}, {"ars/seq": 1}) == {"sessionId": "s", "update": {}, "_meta": {"ars/seq": 1}}
    assert "_meta" not in build.session_update("s", {})
    assert build.with_meta({"a": 1}, None) == {"a": 1}


def test_lists_are_copied_so_that_a_sent_message_does_not_change_later() -> None:
    entries = [build.plan_entry("a")]
    update = build.plan(entries)
    entries.append(build.plan_entry("b"))
    assert len(update["entries"]) == 1


@pytest.mark.parametrize("text", ["\ud800", "a\udfff b", "\x00", "\u2028", "🙂", ""])
def test_any_text_passes_lone_surrogates_included(text: str) -> None:
    update = build.session_update("s", build.agent_message_chunk(text))
    assert validate("SessionNotification", update).update.content.text == text
    assert validate("PromptRequest", {"sessionId": "s", "prompt": [build.content_text(text)]}).prompt[0].text == text
    assert validate("ReadTextFileResponse", {"content": text}).content == text
    assert validate("TerminalOutputResponse", {"output": text, "truncated": False}).output == text
    call = build.session_update("s", build.tool_call("t", text, raw_input={text: text}, content=[build.content(text)]))
    assert validate("SessionNotification", call).update.raw_input == {text: text}
