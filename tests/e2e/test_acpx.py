"""acpx, a client in use, drives the real executable on a real git repository; the model is a server on loopback."""

import signal
from pathlib import Path

import pytest

from ars_acp.models.script import Script
from fixtures.model_server import SCRIPTS, ModelServer
from tests.e2e.acpx import Acpx
from tests.e2e.conftest import BROKEN, FIXED, git
from tests.e2e.peers import answers, checked, methods, results, text_of, updates

pytestmark = pytest.mark.e2e

PERMISSION_DENIED = 5

FIX = """\
=== turn
think: Look first.
say: I look around.
call list_files
call search_in_project {"pattern": "nme"}
--- step
call read_file {"path": "greet.py"}
--- step
call write_file
  path: greet.py
  content:
    def greet(name: str) -> str:
        return f"Hello, {name}!"
--- step
call run_command {"argv": ["python3", "-m", "unittest", "-q"]}
--- step
call git_diff
--- step
say: The name was misspelt; the tests pass now.
"""


async def test_approved_it_reads_edits_tests_and_shows_the_difference(
    acpx: Acpx, model: ModelServer, project: Path, record: Path
):
    model.script = Script.parse(FIX)

    ran = await acpx("--approve-all", "exec", "Fix the greeting")

    assert ran.code == 0, ran.err
    assert "The name was misspelt; the tests pass now." in ran.out
    assert "[done] end_turn" in ran.out
    assert (project / "greet.py").read_text() == FIXED
    assert git(project, "status", "--short") == " M greet.py\n"
    listed, found, read, written, tested, shown = results(model)
    assert "test_greet.py" in listed
    assert "greet.py:2:" in found
    assert BROKEN in read
    assert "Replaced greet.py" in written
    assert tested.startswith("exit code 0")
    assert '+    return f"Hello, {name}!"' in shown
    said = checked(record)
    assert text_of(said) == "I look around.The name was misspelt; the tests pass now."
    assert methods(said, "agent").count("session/request_permission") == 2
    statuses = {it["toolCallId"]: it["status"] for it in updates(said) if "status" in it}
    assert list(statuses.values()) == ["completed"] * 6


async def test_it_reviews_a_patch_by_one_permission_for_each_hunk(
    acpx: Acpx, model: ModelServer, project: Path, record: Path
):
    model.script = Script.load(SCRIPTS / "main_job.script")

    ran = await acpx("--approve-all", "--format", "quiet", "exec", "Mend the greeting")

    assert ran.code == 0, ran.err
    assert git(project, "diff", "--shortstat").strip() == "2 files changed, 4 insertions(+), 4 deletions(-)"
    said = checked(record)
    asked = [it["params"]["toolCall"]["title"] for _, it in said if it.get("method") == "session/request_permission"]
    assert [title.partition(":")[0] for title in asked] == [
        *(f"Hunk {number} of 4" for number in (1, 2, 3, 4)),
        "python3 -m unittest -q",
    ]


@pytest.mark.parametrize(
    ("policy", "was_read"),
    [(["--approve-reads", "--non-interactive-permissions", "deny"], True), (["--deny-all"], False)],
    ids=["writes denied", "everything denied"],
)
async def test_denied_it_changes_nothing_and_the_model_is_told(
    policy: list[str], was_read: bool, acpx: Acpx, model: ModelServer, project: Path, record: Path
):
    model.script = Script.parse(FIX.replace("The name was misspelt; the tests pass now.", "I was not let."))

    ran = await acpx(*policy, "exec", "Fix the greeting")

    assert ran.code == PERMISSION_DENIED
    assert "I was not let." in ran.out
    assert git(project, "status", "--short") == ""
    _, _, read, written, tested, _ = results(model)
    assert (BROKEN in read) == was_read
    assert ("Refused by the person" if was_read else "Permission denied for fs/read_text_file") in written
    assert "Refused by the person" in tested
    said = checked(record)
    assert said[-1][1]["result"] == {"stopReason": "end_turn"}
    assert "fs/write_text_file" not in methods(said, "agent")


async def test_a_session_keeps_its_context_from_one_command_to_the_next(acpx: Acpx, model: ModelServer, record: Path):
    model.script = Script.parse(
        '=== turn\ncall read_file {"path": "greet.py"}\n--- step\nsay: Ada.\n=== turn\nsay: Bob.'
    )

    await acpx("sessions", "new")
    first = await acpx("--approve-all", "--format", "quiet", "Who is greeted?")
    second = await acpx("--approve-all", "--format", "quiet", "And who else?")

    assert (first.out.strip(), second.out.strip()) == ("Ada.", "Bob.")
    seen = model.chats()[-1].body["messages"]
    assert [it["role"] for it in seen] == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert [seen[1]["content"], seen[4]["content"], seen[5]["content"]] == ["Who is greeted?", "Ada.", "And who else?"]
    said = checked(record)
    assert methods(said, "client").count("session/prompt") == 2


async def test_cancel_from_another_command_ends_the_turn(acpx: Acpx, model: ModelServer, record: Path):
    model.script = Script.parse("=== turn\nsay: I begin.\nwait 60\nsay: I end.\n=== turn\nsay: Here I am.")
    await acpx("sessions", "new")

    async with acpx.begun("--approve-all", "Take your time") as begun:
        await begun.shows("I begin.")
        cancelled = await acpx("cancel")
        await begun.wait()

    assert cancelled.code == 0, cancelled.err
    assert "I end." not in begun.out
    after = await acpx("--format", "quiet", "Are you there?")
    assert after.out.strip() == "Here I am."
    said = checked(record)
    assert answers(said, "session/prompt") == [{"stopReason": "cancelled"}, {"stopReason": "end_turn"}]


async def test_ctrl_c_cancels_the_turn_and_ends_the_command(acpx: Acpx, model: ModelServer, record: Path):
    model.script = Script.parse("=== turn\nsay: I begin.\nwait 60\nsay: I end.")

    async with acpx.begun("--approve-all", "exec", "Take your time") as begun:
        await begun.shows("I begin.")
        begun.child.send_signal(signal.SIGINT)
        await begun.wait()

    assert "[done] cancelled" in begun.out
    said = checked(record)
    assert "session/cancel" in methods(said, "client")
    assert answers(said, "session/prompt") == [{"stopReason": "cancelled"}]
