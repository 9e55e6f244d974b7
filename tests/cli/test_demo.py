"""The demonstration, as a newcomer runs it: at a terminal, key by key, and without one."""

import os
import subprocess
from pathlib import Path

import pytest

from ars_cli import sample
from tests.cli.terminal import argv, ars, environment, terminal

pytestmark = pytest.mark.e2e


def test_without_a_terminal_it_carries_out_the_whole_turn_by_itself(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    ran = ars(tmp_path, "chat", "--demo", TMPDIR=str(tmp_path / "tmp"))

    assert (ran.returncode, ran.stderr) == (0, "")
    assert "\x1b" not in ran.stdout
    milestones = [
        "a script plays the model's part",
        "Plan\n  ▸ Look at the project",
        "✓ search   List .",
        "✓ search   Search",
        "✓ read     Read tally/money.py",
        "FAILED (failures=3)",
        "└ ✗ exit code 1",
        "(1/4) Apply this hunk? y",
        "(4/4) Apply this hunk? y",
        "✓ edit     Edit tally/money.py, Edit tally/bill.py, Edit CHANGELOG.md (+9 -6)",
        "  │ OK",
        "  diff --git a/CHANGELOG.md b/CHANGELOG.md",
        "All tests pass.",
        "─ done",
    ]
    places = [ran.stdout.find(words) for words in milestones]
    assert -1 not in places, milestones[places.index(-1)]
    assert places == sorted(places)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not (tmp_path / ".local").exists()


def test_without_a_terminal_nothing_is_allowed_that_was_denied(tmp_path: Path) -> None:
    ran = ars(tmp_path, "chat", "--demo", "--permissions", "deny")

    assert ran.returncode == 0
    assert "refused; nobody is there to ask" in ran.stdout
    assert "nothing was changed" in ran.stdout
    assert "│" not in ran.stdout


async def test_at_a_terminal_each_hunk_is_reviewed_and_all_tests_pass(tmp_path: Path) -> None:
    async with terminal("chat", "--demo", env=environment(tmp_path)) as person:
        await person.sees("Permission: execute  python3 -m unittest")
        await person.sees("[q] neither › ")
        person.press("y")
        await person.sees("FAILED (failures=3)")
        await person.sees("(1/4) Apply this hunk [y,n,a,d,q,?]? ")
        person.press("x?")
        await person.sees("? - print this help")
        await person.sees("(1/4) Apply this hunk")
        person.press("y")
        for number in (2, 3):
            await person.sees(f"({number}/4) Apply this hunk")
            person.press("y")
        await person.sees("CHANGELOG.md")
        await person.sees("(4/4) Apply this hunk")
        person.press("n")
        await person.sees("3 of 4 hunks accepted")
        await person.sees("✓ edit     Edit tally/money.py, Edit tally/bill.py (+8 -6)")
        await person.sees("[q] neither › ")
        person.press("y")
        await person.sees("All tests pass.")
        assert await person.ends() == 0
    assert "\x1b[32m+    share, left = divmod(total, count)\x1b[0m" in person.raw
    assert "\x1b[31m-    return [total // count] * count\x1b[0m" in person.raw


async def test_keys_for_the_rest_of_a_file_and_a_fix_that_stays_partial(tmp_path: Path) -> None:
    async with terminal("chat", "--demo", "--permissions", "allow-once", env=environment(tmp_path)) as person:
        await person.sees("(1/4) Apply this hunk")
        person.press("a")
        await person.sees("(2/4) Apply this hunk [y,n,a,d,q,?]? y")
        await person.sees("(3/4) Apply this hunk")
        person.press("q")
        await person.sees("2 of 4 hunks accepted")
        await person.sees("FAILED (failures=1)")
        await person.sees("Some tests still fail")
        assert await person.ends() == 0


async def test_a_patch_of_which_nothing_is_accepted_changes_nothing(tmp_path: Path) -> None:
    async with terminal("chat", "--demo", "--permissions", "allow-once", env=environment(tmp_path)) as person:
        await person.sees("(1/4) Apply this hunk")
        person.press("d")
        await person.sees("(2/4) Apply this hunk [y,n,a,d,q,?]? n")
        await person.sees("(3/4) Apply this hunk")
        person.press("n")
        await person.sees("(4/4) Apply this hunk")
        person.press("n")
        await person.sees("0 of 4 hunks accepted")
        await person.sees("nothing was changed")
        assert await person.ends() == 0


async def test_ctrl_c_at_a_question_cancels_the_turn(tmp_path: Path) -> None:
    async with terminal("chat", "--demo", env=environment(tmp_path)) as person:
        await person.sees("[q] neither › ")
        person.press("\x03")
        await person.sees("cancelling; Ctrl-C again quits")
        await person.sees("─ cancelled")
        assert await person.ends() == 130


async def test_no_color_is_honoured(tmp_path: Path) -> None:
    async with terminal("chat", "--demo", env=environment(tmp_path, NO_COLOR="1")) as person:
        await person.sees("[q] neither › ")
        person.press("q")
        await person.sees("(1/4) Apply this hunk")
        person.press("q")
        assert await person.ends() == 0
    assert "\x1b[3" not in person.raw
    assert "\x1b[1m" not in person.raw


def test_the_project_is_a_fresh_repository_with_failing_tests_and_gone_afterwards() -> None:
    with sample.throw_away_project() as path:
        log = subprocess.run(["git", "log", "--format=%s"], cwd=path, capture_output=True, text=True, check=True)
        status = subprocess.run(["git", "status", "--short"], cwd=path, capture_output=True, text=True, check=True)
        tests = subprocess.run(["python3", "-m", "unittest"], cwd=path, capture_output=True, text=True, check=False)
        assert (log.stdout, status.stdout) == ("tally as it is\n", "")
        assert "FAILED (failures=3)" in tests.stderr
    assert not os.path.exists(path)


def test_without_git_the_demonstration_says_so(tmp_path: Path) -> None:
    ran = subprocess.run(
        argv("chat", "--demo"),
        capture_output=True,
        text=True,
        env={**environment(tmp_path), "PATH": str(tmp_path)},
        timeout=30,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == "ars: the demonstration needs git, and there is none on the PATH\n"
