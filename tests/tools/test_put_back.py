"""Files put back to where the changes of one or more calls have found them."""

import stat

import pytest

from ars_acp.tools import put_back
from ars_acp.tools.put_back import PutBack, Undo
from tests.tools.conftest import Bench

PATCH = """*** Begin Patch
*** Update File: a.txt
@@
 one
-two
+zwei
*** Add File: new.txt
+new
*** Delete File: c.txt
*** Update File: d.txt
*** Move to: moved/e.txt
@@
-d
+e
*** End Patch
"""


@pytest.fixture
def project(bench: Bench) -> Bench:
    bench.write("a.txt", "one\ntwo\n")
    bench.write("c.txt", "c\n")
    bench.write("d.txt", "d\n").chmod(0o755)
    return bench


async def undone(bench: Bench) -> dict[str, str]:
    """The outcomes, by the paths below the project."""
    back = PutBack(bench.changed)
    act = await back.tool().plan(bench.context(), Undo())
    await act.do()
    return {path.removeprefix(f"{bench.root}/"): outcome for path, outcome in back.outcome.items()}


async def test_edited_new_deleted_and_moved_files_are_all_put_back_with_what_else_they_are(project: Bench) -> None:
    before = project.files()
    assert (await project.call("apply_patch", patch=PATCH)).ok
    assert project.files() != before
    assert set((await undone(project)).values()) == {"restored"}
    assert project.files() == before
    assert stat.S_IMODE((project.root / "d.txt").stat().st_mode) == 0o755, "it was moved back, not written anew"


async def test_what_was_done_twice_with_a_file_is_undone_to_the_first_state(project: Bench) -> None:
    before = project.files()
    await project.call("apply_patch", patch=PATCH)
    await project.call("write_file", path="moved/e.txt", content="f\n")
    await project.call("write_file", path="a.txt", content="three\n")
    await undone(project)
    assert project.files() == before


async def test_files_that_a_move_binds_are_left_together(project: Bench) -> None:
    await project.call("apply_patch", patch=PATCH)
    project.write("moved/e.txt", "mine\n")
    outcome = await undone(project)
    assert (outcome["d.txt"], outcome["moved/e.txt"]) == ("it was changed since",) * 2
    assert (outcome["a.txt"], outcome["new.txt"], outcome["c.txt"]) == ("restored",) * 3
    assert project.files() == {"a.txt": b"one\ntwo\n", "c.txt": b"c\n", "moved/e.txt": b"mine\n"}


async def test_a_call_that_failed_and_was_put_back_leaves_nothing_to_undo(project: Bench) -> None:
    before = project.files()
    plan = await project.plan("apply_patch", patch=PATCH)
    project.write("c.txt", "changed meanwhile\n")
    assert not (await plan.do()).ok
    outcome = await undone(project)
    assert project.files() == {**before, "c.txt": b"changed meanwhile\n"}
    assert outcome["a.txt"] == "unchanged"


async def test_a_text_that_was_too_long_to_be_kept_cannot_be_put_back(
    project: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(put_back, "KEPT", 3)
    await project.call("write_file", path="a.txt", content="short\n")
    assert await undone(project) == {"a.txt": "what it held before is not known"}


async def test_what_lies_outside_the_roots_by_now_and_what_is_never_written_is_left(project: Bench) -> None:
    project.changed = [
        {"path": "/elsewhere/a.txt", "before": "x", "after": None},
        {"path": f"{project.root}/.git/config", "before": "x", "after": None},
    ]
    assert "outside the project" in (await undone(project))["/elsewhere/a.txt"]
    assert "never written" in (await undone(project))[".git/config"]
