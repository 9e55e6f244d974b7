"""acpx keeps sessions: new, ensure, history, and going on where it was after the agent has died or was left."""

import os
import signal
from pathlib import Path

import pytest

from ars_acp.models.script import Script
from fixtures.model_server import ModelServer
from tests.e2e.acpx import Acpx
from tests.e2e.peers import answers, checked, methods

pytestmark = pytest.mark.e2e

TALK = "=== turn\nsay: One.\n=== turn\nsay: Two.\n=== turn repeat\nsay: More.\n"


async def said(acpx: Acpx, prompt: str) -> str:
    ran = await acpx("--format", "quiet", prompt)
    assert ran.code == 0, ran.err
    return ran.out.strip()


async def test_new_makes_a_session_and_ensure_finds_it(acpx: Acpx, model: ModelServer, record: Path):
    model.script = Script.parse(TALK)

    ensured = await acpx("sessions", "ensure")
    again = await acpx("sessions", "ensure")
    new = await acpx("sessions", "new")
    listed = await acpx("sessions", "list")

    made = [answer["sessionId"] for answer in answers(checked(record), "session/new")]
    assert len(set(made)) == 2
    assert ensured.out.split()[0] == again.out.split()[0] == made[0]
    assert new.out.split()[0] == made[1]
    assert [line.split()[0] for line in listed.out.splitlines()] == made[::-1]


async def test_history_tells_what_was_said(acpx: Acpx, model: ModelServer, record: Path):
    model.script = Script.parse(TALK)
    await acpx("sessions", "new")
    assert [await said(acpx, "First?"), await said(acpx, "Second?")] == ["One.", "Two."]

    history = await acpx("sessions", "history")

    lines = [line.split("\t")[1:] for line in history.out.splitlines() if "\t" in line]
    assert lines == [["user", "First?"], ["assistant", "One."], ["user", "Second?"], ["assistant", "Two."]]
    checked(record)


async def test_an_agent_that_was_killed_between_prompts_is_attached_again(acpx: Acpx, model: ModelServer, record: Path):
    model.script = Script.parse(TALK)
    await acpx("sessions", "new")
    assert await said(acpx, "First?") == "One."
    killed = int(Path(f"{record}.pid").read_text())
    os.kill(killed, signal.SIGKILL)

    assert await said(acpx, "Second?") == "Two."

    assert int(Path(f"{record}.pid").read_text()) != killed
    assert [it["content"] for it in model.chats()[-1].body["messages"][1:]] == ["First?", "One.", "Second?"]
    called = methods(checked(record), "client")
    assert called.count("session/new") == 1
    assert called.count("session/resume") + called.count("session/load") >= 1


async def test_cancel_without_a_turn_is_no_error(acpx: Acpx, model: ModelServer, record: Path):
    model.script = Script.parse(TALK)
    await acpx("sessions", "new")

    cancelled = await acpx("cancel")

    assert cancelled.code == 0
    assert await said(acpx, "First?") == "One."
    checked(record)


async def test_the_mode_and_an_option_are_set(acpx: Acpx, model: ModelServer, record: Path):
    model.script = Script.parse('=== turn\ncall write_file {"path": "a.txt", "content": "x"}\n--- step\nsay: Done.')
    await acpx("sessions", "new")

    mode = await acpx("set-mode", "read-only")
    option = await acpx("set", "mode", "full")

    assert (mode.code, option.code) == (0, 0), mode.err + option.err
    # What acpx itself would deny it is told to let through; the agent asks for nothing any more.
    ran = await acpx("--approve-all", "--format", "quiet", "Write")
    assert (ran.code, ran.out.strip()) == (0, "Done."), ran.err
    assert (acpx.cwd / "a.txt").read_text() == "x"
    said_on_the_wire = checked(record)
    assert {"session/set_mode", "session/set_config_option"} <= set(methods(said_on_the_wire, "client"))
    assert "session/request_permission" not in methods(said_on_the_wire, "agent")
