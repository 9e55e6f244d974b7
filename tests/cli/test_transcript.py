"""The transcript of a session, as a person reads it."""

import io
from typing import Any

import pytest

from acp_wire import build, methods
from ars_cli.screen import Screen
from ars_cli.transcript import Transcript, command_line


class Out(io.StringIO):
    encoding = "utf-8"


class Page:
    """A transcript and what it has printed so far."""

    def __init__(self) -> None:
        self.out = Out()
        self.transcript = Transcript(Screen(self.out), "/ws")

    def update(self, *updates: dict[str, Any]) -> "Page":
        for update in updates:
            self.transcript.update(methods.SESSION_UPDATE.params({"sessionId": "s", "update": update}).update)
        return self

    @property
    def text(self) -> str:
        return self.out.getvalue()


@pytest.fixture
def page() -> Page:
    return Page()


def test_chunks_run_on_and_thoughts_stand_apart(page: Page) -> None:
    page.update(
        build.agent_thought_chunk("\nI th"),
        build.agent_thought_chunk("ink"),
        build.agent_message_chunk("Hel"),
        build.agent_message_chunk("lo\x1b[2J"),
        build.agent_message_chunk(build.content_image("aGk=", "image/png")),
    )

    assert page.text == "I think\n\nHello[image]"


def test_a_plan_is_printed_whole_and_then_what_has_changed(page: Page) -> None:
    one, two = build.plan_entry("look", status="in_progress"), build.plan_entry("fix")
    page.update(build.plan([one, two]), build.plan([one, two]), build.plan([{**one, "status": "completed"}, two]))

    assert page.text == "Plan\n  ▸ look\n  ○ fix\n\nPlan\n  ✓ look\n\n"


def test_a_tool_call_is_one_line_when_it_is_done(page: Page) -> None:
    page.update(
        build.agent_message_chunk("I look."),
        build.tool_call("t", "read_file", kind="read", status="pending"),
        build.tool_call_update("t", title="Read /ws/a\x1b[31m.py", status="in_progress"),
        build.tool_call_update("t", status="completed", content=[build.content("the whole file")]),
        build.tool_call_update("t", status="completed"),
    )

    assert page.text == "I look.\n\n✓ read     Read a\\x1b[31m.py\n"


def test_a_failure_tells_its_reason(page: Page) -> None:
    page.update(
        build.tool_call("t", "Read x", kind="read"),
        build.tool_call_update("t", status="failed", content=[build.content("not found\n" * 20)]),
    )

    assert page.text == "✗ read     Read x\n" + "  not found\n" * 12 + "  … 8 more lines\n"


def test_a_command_shows_what_it_writes_as_it_comes(page: Page) -> None:
    page.transcript.terminal_output("term", "early\n")
    page.update(
        build.tool_call("t", "make test", kind="execute", raw_input={"argv": ["make", "test"]}),
        build.tool_call_update("t", content=[build.terminal("term")]),
    )
    page.transcript.terminal_output("term", "10%\r100%\nhalf")
    page.transcript.terminal_output("other", "never shown\n")
    page.update(build.tool_call_update("t", status="failed", raw_output={"exitCode": 2, "signal": None}))

    assert page.text == "▸ execute  make test\n  │ early\n  │ 100%\n  │ half\n  └ ✗ exit code 2\n"


def test_a_flood_of_output_is_cut_for_the_reader(page: Page) -> None:
    page.update(build.tool_call("t", "yes", kind="execute", content=[build.terminal("term")]))
    page.transcript.terminal_output("term", "y\n" * 1000)
    page.update(build.tool_call_update("t", status="completed"))

    assert page.text.count("│ y") == 200
    assert page.text.endswith("  │ … 800 more lines\n  └ ✓ done\n")


def test_an_edit_shows_its_diff_once(page: Page) -> None:
    diff = build.diff("/ws/a.py", "one\ntwo\n", "one\n2\n")
    page.update(
        build.tool_call("t", "Edit", kind="edit"), build.tool_call_update("t", status="completed", content=[diff])
    )
    page.update(
        build.tool_call("u", "Edit", kind="edit"), build.tool_call_update("u", status="completed", content=[diff])
    )

    assert page.text == (
        "✓ edit     Edit (+1 -1)\n  --- a.py\n  +++ a.py\n  @@ -1,2 +1,2 @@\n   one\n  -two\n  +2\n"
        "✓ edit     Edit (+1 -1)\n"
    )


def test_a_diff_that_comes_as_text_is_shown(page: Page) -> None:
    text = "```diff\ndiff --git a/x b/x\n-a\n+b\n```"
    page.update(
        build.tool_call("t", "git diff", kind="read"),
        build.tool_call_update("t", status="completed", content=[build.content(text)]),
    )

    assert page.text == "✓ read     git diff\n  diff --git a/x b/x\n  -a\n  +b\n"


def test_what_is_not_the_models_is_marked(page: Page) -> None:
    page.update(
        build.agent_message_chunk("text"),
        build.notice("warning", "busy\x07", "trying again"),
        build.current_mode_update("ask"),
        build.compaction_update("c", "completed"),
        build.session_info_update(title="ignored"),
    )

    assert page.text == "text\n\n! busy – trying again\nmode: ask\nthe conversation was compacted: completed\n"


@pytest.mark.parametrize(
    ("raw", "ended"),
    [
        ({"exitCode": 3}, "exit code 3"),
        ({"exitCode": None, "signal": "SIGKILL"}, "ended by SIGKILL"),
        ({"timedOut": True, "exitCode": None}, "stopped: it took too long"),
        ({"else": 1}, "failed"),
        ("text", "failed"),
    ],
)
def test_how_a_command_ended_comes_from_the_raw_output(page: Page, raw: Any, ended: str) -> None:
    page.update(
        build.tool_call("t", "x", kind="execute", content=[build.terminal("term")]),
        build.tool_call_update("t", status="failed", raw_output=raw),
    )

    assert page.text == f"▸ execute  x\n  └ ✗ {ended}\n"


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        ({"argv": ["rm", "-rf", "a b"]}, "rm -rf 'a b'"),
        ({"command": "ls; rm x"}, "ls; rm x"),
        ({"command": "ls", "args": ["-l\x1b[K", "x"]}, "ls '-l\\x1b[K' x"),
        ({"cmd": ["a"]}, "a"),
        ({"argv": [1]}, ""),
        ({"path": "x"}, ""),
        ("rm", ""),
        (None, ""),
    ],
)
def test_the_command_comes_from_the_raw_input(raw: Any, line: str) -> None:
    assert command_line(raw) == line


def test_a_harmless_title_does_not_hide_the_command(page: Page) -> None:
    page.update(
        build.tool_call("t", "Read a file", kind="execute", raw_input={"argv": ["rm", "-rf", "/"]}),
        build.tool_call_update("t", status="completed"),
    )

    assert page.text == "✓ execute  Read a file: rm -rf /\n"
