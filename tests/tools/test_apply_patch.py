"""apply_patch: everything is understood, resolved and shown before anything is written; then all of it or nothing."""

from pathlib import Path

import pytest

from ars_acp.hands import HandsError, Refused, Timeout, Unsupported
from ars_acp.tools.patch.model import PatchError
from ars_acp.tools.tool import InvalidArguments, ToolLimits
from tests.support.fake_hands import ALL
from tests.tools.conftest import Bench

EVERYTHING = """\
*** Begin Patch
*** Update File: a.txt
@@
 one
-two
+zwei
*** Add File: new/b.txt
+b
*** Delete File: c.txt
*** Update File: d.txt
*** Move to: moved/e.txt
@@
-d
+e
*** End Patch
"""


END = "*** Update File: a.txt\n-two\n+x\n*** End Patch"


def swap(path: str, old: str = "two", new: str = "zwei") -> str:
    return f"--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-{old}\n+{new}\n"


@pytest.fixture
def project(bench: Bench) -> Bench:
    bench.write("a.txt", "one\ntwo\n")
    bench.write("c.txt", "c\n")
    bench.write("d.txt", "d\n")
    return bench


async def test_plan_shows_every_path_and_every_change_and_writes_nothing(project: Bench) -> None:
    before = project.files()
    act = await project.plan("apply_patch", patch=EVERYTHING)
    root = str(project.root)
    assert act.title == "Edit a.txt, Create new/b.txt, Delete c.txt, Move and edit d.txt to moved/e.txt"
    assert (act.kind, act.effects, act.approved, act.protected) == ("edit", "write", False, False)
    assert act.locations == [
        {"path": f"{root}/a.txt", "line": 1},
        {"path": f"{root}/new/b.txt", "line": 1},
        {"path": f"{root}/c.txt", "line": 1},
        {"path": f"{root}/d.txt", "line": 1},
        {"path": f"{root}/moved/e.txt"},
    ]
    assert act.content == [
        {"type": "content", "content": {"type": "text", "text": "Delete c.txt\nMove and edit d.txt to moved/e.txt"}},
        {"type": "diff", "path": f"{root}/a.txt", "oldText": "one\ntwo\n", "newText": "one\nzwei\n"},
        {"type": "diff", "path": f"{root}/new/b.txt", "newText": "b\n"},
        {"type": "diff", "path": f"{root}/c.txt", "oldText": "c\n", "newText": ""},
        {"type": "diff", "path": f"{root}/moved/e.txt", "oldText": "d\n", "newText": "e\n"},
    ]
    assert project.files() == before
    assert project.hands.made("write") == project.hands.made("run") == []


async def test_all_of_it_is_applied(project: Bench) -> None:
    result = await project.call("apply_patch", patch=EVERYTHING)
    assert result.ok, result.text
    assert project.files() == {"a.txt": b"one\nzwei\n", "new/b.txt": b"b\n", "moved/e.txt": b"e\n"}
    root = str(project.root)
    assert project.hands.made("run") == [
        ["rm", "--", f"{root}/c.txt"],
        ["mkdir", "-p", "--", f"{root}/moved"],
        ["mv", "-n", "--", f"{root}/d.txt", f"{root}/moved/e.txt"],
    ]


async def test_files_named_like_options_are_files(bench: Bench) -> None:
    for name in ("-rf", "--help", "--target-directory=x"):
        bench.write(name, "two\n")
    patch = "*** Begin Patch\n*** Delete File: -rf\n*** Update File: --help\n*** Move to: -v\n"
    patch += "*** Delete File: --target-directory=x\n*** End Patch"
    result = await bench.call("apply_patch", patch=patch)
    assert result.ok, result.text
    assert bench.files() == {"-v": b"two\n"}


async def test_kind_and_title_say_what_it_is(project: Bench) -> None:
    deletion = await project.plan("apply_patch", patch="*** Begin Patch\n*** Delete File: c.txt\n*** End Patch")
    assert (deletion.kind, deletion.title) == ("delete", "Delete c.txt")
    move = "*** Begin Patch\n*** Update File: c.txt\n*** Move to: x.txt\n*** End Patch"
    assert (await project.plan("apply_patch", patch=move)).kind == "move"
    many = "".join(f"*** Add File: f{number}\n+x\n" for number in range(9))
    act = await project.plan("apply_patch", patch=f"*** Begin Patch\n{many}*** End Patch")
    assert act.title == "Change 9 files"
    assert act.content[0]["content"]["text"].split("\n") == [f"Create f{number}" for number in range(9)]


async def test_several_parts_of_one_file_are_one_change(project: Bench) -> None:
    parts = "*** Update File: a.txt\n@@\n-one\n+eins\n*** Update File: a.txt\n@@\n-two\n+zwei\n"
    assert (await project.call("apply_patch", patch=f"*** Begin Patch\n{parts}*** End Patch")).ok
    assert project.read("a.txt") == "eins\nzwei\n"


@pytest.mark.parametrize(
    "parts",
    [
        "*** Update File: a.txt\n-one\n+x\n*** Delete File: a.txt\n",
        "*** Add File: x\n+x\n*** Add File: ./x\n+y\n",
        "*** Update File: a.txt\n*** Move to: x\n*** Update File: c.txt\n*** Move to: y/../x\n",
        "*** Update File: a.txt\n*** Move to: c.txt\n*** Delete File: c.txt\n",
        "*** Update File: a.txt\n*** Move to: x\n*** Add File: x\n+y\n",
    ],
)
async def test_patch_that_does_two_things_with_a_file_is_refused(project: Bench, parts: str) -> None:
    with pytest.raises(PatchError, match="two different things"):
        await project.plan("apply_patch", patch=f"*** Begin Patch\n{parts}*** End Patch")


async def test_move_onto_a_file_is_refused(project: Bench) -> None:
    with pytest.raises(PatchError, match="which exists"):
        await project.plan(
            "apply_patch", patch="*** Begin Patch\n*** Update File: a.txt\n*** Move to: c.txt\n*** End Patch"
        )


async def test_client_without_terminal_gets_no_deletions_and_moves(project: Bench) -> None:
    project.hands.can = ALL - {"run"}
    for part in ("*** Delete File: c.txt\n", "*** Update File: c.txt\n*** Move to: x\n"):
        with pytest.raises(Unsupported, match="neither deleted nor moved"):
            await project.plan("apply_patch", patch=f"*** Begin Patch\n{part}*** End Patch")
    assert (await project.call("apply_patch", patch=swap("a.txt"))).ok


async def test_file_that_changed_after_it_was_shown_is_not_touched_nor_any_other(project: Bench) -> None:
    act = await project.plan("apply_patch", patch=EVERYTHING)
    project.write("c.txt", "the person typed\n")
    before = project.files()
    result = await act.do()
    assert (result.ok, result.code) == (False, "REFUSED")
    assert result.text.endswith("read it again; nothing was changed")
    assert project.files() == before


async def test_file_that_appeared_meanwhile_is_not_overwritten(project: Bench) -> None:
    for path in ("new/b.txt", "moved/e.txt"):
        act = await project.plan("apply_patch", patch=EVERYTHING)
        project.write(path, "mine\n")
        before = project.files()
        assert not (await act.do()).ok
        assert project.files() == before
        (project.root / path).unlink()


@pytest.mark.parametrize("path", ["a.txt", "new/b.txt", "moved/e.txt"])
async def test_failed_write_puts_back_what_was_written(project: Bench, path: str) -> None:
    before = project.files()
    act = await project.plan("apply_patch", patch=EVERYTHING)
    project.hands.faults["write", str(project.root / path)] = Refused("disk full")
    result = await act.do()
    assert (result.ok, result.code) == (False, "REFUSED")
    assert result.text == "disk full; nothing was changed"
    assert project.files() == before


@pytest.mark.parametrize("program", ["rm", "mv", "mkdir"])
async def test_failed_command_puts_back_what_was_written(project: Bench, program: str) -> None:
    before = project.files()
    act = await project.plan("apply_patch", patch=EVERYTHING.replace("new/b.txt", "b.txt"))
    project.hands.faults["run", program] = Refused("no such program")
    result = await act.do()
    assert not result.ok
    if program == "rm":  # which is also what would put the new file back
        assert "NOT put back, look at them: b.txt" in result.text
        assert project.files() == before | {"b.txt": b"b\n"}
    else:
        assert project.files() == before


async def test_what_somebody_changed_meanwhile_is_told_and_left_alone(project: Bench) -> None:
    act = await project.plan("apply_patch", patch=EVERYTHING)

    def meanwhile(kind: str, subject: str) -> None:
        if (kind, subject) == ("run", "mv"):
            project.write("a.txt", "the person typed\n")
            raise Refused("disk full")

    project.hands.meanwhile = meanwhile
    result = await act.do()
    assert "NOT put back, look at them: a.txt (somebody else changed it meanwhile)" in result.text
    assert project.read("a.txt") == "the person typed\n"
    assert project.read("c.txt") == "c\n"


async def test_client_that_answers_no_more_is_not_waited_for_again(project: Bench) -> None:
    act = await project.plan("apply_patch", patch=EVERYTHING)
    deaf = False

    def meanwhile(kind: str, subject: str) -> None:
        nonlocal deaf
        deaf = deaf or (kind, subject) == ("run", "rm")
        if deaf:
            raise Timeout("no answer")

    project.hands.meanwhile = meanwhile
    result = await act.do()
    assert result.code == "TOOL_TIMEOUT"
    left = "c.txt (no answer); new/b.txt (no answer); a.txt (no answer)"
    assert result.text == f"no answer. NOT put back, look at them: {left}"
    # The first request of the putting back was the last one of all.
    assert [it[:2] for it in project.hands.calls[-2:]] == [("run", "rm"), ("read", str(project.root / "c.txt"))]


async def test_client_that_stops_running_commands_keeps_a_new_file_and_says_so(project: Bench) -> None:
    act = await project.plan("apply_patch", patch=f"{added('b.txt').removesuffix('*** End Patch')}{END}")

    def meanwhile(kind: str, subject: str) -> None:
        if (kind, subject) == ("write", str(project.root / "a.txt")):
            project.hands.can = ALL - {"run"}
            raise Refused("disk full")

    project.hands.meanwhile = meanwhile
    assert "NOT put back, look at them: b.txt (this client cannot delete it)" in (await act.do()).text


async def test_move_that_only_seemed_to_work_is_not_believed(project: Bench) -> None:
    act = await project.plan("apply_patch", patch=moved("x.txt").replace("t.txt", "c.txt", 1))
    (project.root / "bin").mkdir()
    project.write("bin/mv", "#!/bin/sh\n").chmod(0o755)
    project.hands.environment["PATH"] = f"{project.root}/bin:{project.hands.environment['PATH']}"
    result = await act.do()
    assert result.text == "c.txt was not moved: something else may stand there; nothing was changed"
    assert project.read("c.txt") == "c\n"


async def test_moved_file_that_somebody_changed_is_not_moved_back(project: Bench) -> None:
    parts = "*** Update File: d.txt\n*** Move to: e.txt\n*** Delete File: c.txt\n"
    act = await project.plan("apply_patch", patch=f"*** Begin Patch\n{parts}*** End Patch")

    def meanwhile(kind: str, subject: str) -> None:
        if (kind, subject) == ("run", "rm"):
            project.write("e.txt", "the person typed\n")
            raise Refused("no such program")

    project.hands.meanwhile = meanwhile
    assert "NOT put back, look at them: e.txt (somebody else changed it meanwhile)" in (await act.do()).text
    assert project.read("e.txt") == "the person typed\n"


async def test_command_that_hangs_is_a_time_out(project: Bench) -> None:
    (project.root / "bin").mkdir()
    project.write("bin/rm", "#!/bin/sh\nexec sleep 60\n").chmod(0o755)
    project.hands.environment["PATH"] = f"{project.root}/bin:{project.hands.environment['PATH']}"
    project.limits = ToolLimits(search_seconds=0.3)
    act = await project.plan("apply_patch", patch="*** Begin Patch\n*** Delete File: c.txt\n*** End Patch")
    result = await act.do()
    assert (result.code, result.text) == ("TOOL_TIMEOUT", "rm did not end in time; nothing was changed")


async def test_missing_directory_is_made_where_the_client_does_not(project: Bench) -> None:
    def meanwhile(kind: str, subject: str) -> None:
        if kind == "write" and not Path(subject).parent.is_dir():
            raise Refused("no such directory")

    project.hands.meanwhile = meanwhile
    assert (await project.call("apply_patch", patch="*** Begin Patch\n*** Add File: x/y/z\n+z\n*** End Patch")).ok
    assert project.read("x/y/z") == "z\n"


async def test_executable_bit_is_told_not_to_be_set(project: Bench) -> None:
    patch = "diff --git a/run b/run\nnew file mode 100755\n--- /dev/null\n+++ b/run\n@@ -0,0 +1 @@\n+x\n"
    assert "File modes were not changed (run)" in (await project.call("apply_patch", patch=patch)).text


async def test_file_that_is_not_text_is_not_patched(project: Bench) -> None:
    project.write("a.txt", "two\n\0")
    with pytest.raises(Refused, match="binary"):
        await project.plan("apply_patch", patch=swap("a.txt"))
    project.write("a.txt", "two\n\ufffd\n")
    with pytest.raises(Refused, match="not to be UTF-8"):
        await project.plan("apply_patch", patch=swap("a.txt"))
    project.write("a.txt", "two\n" * 100)
    project.limits = ToolLimits(file_bytes=100)
    with pytest.raises(Refused, match="too large"):
        await project.plan("apply_patch", patch=swap("a.txt"))


async def test_patch_that_is_too_large_or_holds_nul_is_invalid(project: Bench) -> None:
    with pytest.raises(InvalidArguments, match="NUL"):
        await project.plan("apply_patch", patch=swap("a.txt", new="\0"))
    project.limits = ToolLimits(patch_bytes=10)
    with pytest.raises(InvalidArguments, match="too large"):
        await project.plan("apply_patch", patch=swap("a.txt"))


@pytest.mark.parametrize("path", ["AGENTS.md", ".vscode/tasks.json", ".env", "sub/CLAUDE.md", ".opencode.json"])
async def test_protected_path_is_marked_as_target_and_as_source(project: Bench, path: str) -> None:
    act = await project.plan("apply_patch", patch=f"*** Begin Patch\n*** Add File: {path}\n+x\n*** End Patch")
    assert act.protected
    act = await project.plan(
        "apply_patch", patch=f"*** Begin Patch\n*** Update File: c.txt\n*** Move to: {path}\n*** End Patch"
    )
    assert act.protected
    project.write(path, "x\n")
    act = await project.plan(
        "apply_patch", patch=f"*** Begin Patch\n*** Update File: {path}\n*** Move to: x\n*** End Patch"
    )
    assert act.protected


def unified(path: str) -> str:
    return f"--- {path}\n+++ {path}\n@@ -1 +1 @@\n-two\n+x\n"


def added(path: str) -> str:
    return f"*** Begin Patch\n*** Add File: {path}\n+x\n*** End Patch"


def moved(path: str) -> str:
    return f"*** Begin Patch\n*** Update File: t.txt\n*** Move to: {path}\n*** End Patch"


LINK = "diff --git a/l b/l\n{}--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc/passwd\n\\ No newline at end of file\n"
HOSTILE = {
    "absolute": unified("/etc/x"),
    "absolute with prefixes": "--- a//etc/x\n+++ b//etc/x\n@@ -1 +1 @@\n-two\n+x\n",
    "dots": unified("../t.txt"),
    "dots within": "--- a/a/../../t.txt\n+++ b/a/../../t.txt\n@@ -1 +1 @@\n-two\n+x\n",
    "dots after the prefix only": "--- a/../t.txt\n+++ b/../t.txt\n@@ -1 +1 @@\n-two\n+x\n",
    "prefix sibling": added("../project-evil/x"),
    "home": added("~/.ssh/authorized_keys"),
    "home of another": added("~root/.bashrc"),
    "file URL": added("file:///etc/x"),
    "percent": added("%2e%2e/x"),
    "backslash": added("..\\x"),
    "dots and blank": added(".. /x"),
    "empty name": added(" "),
    "git config": added(".git/config"),
    "git hook": added(".git/hooks/pre-commit"),
    "git hook of a submodule": added("sub/.git/hooks/pre-commit"),
    "git config in capitals": added(".GIT/config"),
    "git config with an invisible letter": added(".g\u200dit/config"),
    "ssh": added(".ssh/authorized_keys"),
    "own configuration": added(".config/ars-acp/config.toml"),
    "move out": moved("../x"),
    "move to absolute": moved("/tmp/x"),
    "move into git": moved(".git/hooks/post-checkout"),
    "rename out": "diff --git a/t.txt b/../x\nrename from t.txt\nrename to ../x\n",
    "rename in": "diff --git a/../x b/t2.txt\nrename from ../x\nrename to t2.txt\n",
    "rename into git": "diff --git a/t.txt b/.git/hooks/x\nrename from t.txt\nrename to .git/hooks/x\n",
    "rename that the git line hides": "diff --git a/t.txt b/t.txt\nrename from t.txt\nrename to AGENTS.md\n",
    "rename that the +++ line hides": "diff --git a/t.txt b/u\nrename from t.txt\nrename to u\n--- a/t.txt\n+++ b/.env\n@@ -1 +1 @@\n-two\n+x\n",  # noqa: E501
    "copy": "diff --git a/t.txt b/.env\ncopy from t.txt\ncopy to .env\n",
    "names that differ": "--- a/t.txt\n+++ b/.env\n@@ -1 +1 @@\n-two\n+x\n",
    "git line that differs": "diff --git a/README b/README\n--- a/t.txt\n+++ b/t.txt\n@@ -1 +1 @@\n-two\n+x\n",
    "new symbolic link": LINK.format("new file mode 120000\n"),
    "symbolic link by index": LINK.format("new file mode 100644\nindex 000..111 120000\n"),
    "file becomes a link": "diff --git a/t.txt b/t.txt\nold mode 100644\nnew mode 120000\n--- a/t.txt\n+++ b/t.txt\n@@ -1 +1 @@\n-two\n+/etc/passwd\n",  # noqa: E501
    "submodule": LINK.format("new file mode 160000\n"),
    "device": LINK.format("new file mode 020666\n"),
    "setuid": LINK.format("new file mode 104755\n"),
    "binary": "diff --git a/t.txt b/t.txt\nindex 1..2 100644\nGIT binary patch\nliteral 3\nKcmZ\n",
    "CR in a name": added("t.txt\r.git/config"),
    "newline by escape in a name": '--- "a/t\\n.txt"\n+++ "b/t\\n.txt"\n@@ -1 +1 @@\n-two\n+x\n',
    "dots by escape in a name": '--- "a/\\056\\056/x"\n+++ "b/\\056\\056/x"\n@@ -1 +1 @@\n-two\n+x\n',
    "NUL by escape in a name": '--- "a/t\\000"\n+++ "b/t\\000"\n@@ -1 +1 @@\n-two\n+x\n',
    "letters that turn round": added("\u202etxt.cod"),
    "line separator in a name": added("t\u2028.git"),
    "good file first": swap("t.txt") + "--- /dev/null\n+++ b/../x\n@@ -0,0 +1 @@\n+x\n",
    "bad file last": "*** Begin Patch\n*** Update File: t.txt\n-two\n+x\n*** Add File: .git/x\n+x\n*** End Patch",
    "second patch behind the first": added("ok") + "\n*** Begin Patch\n*** Add File: ../x\n+x\n*** End Patch",
    "second form behind the first": swap("t.txt") + added("../x"),
    "cut short": "*** Begin Patch\n*** Update File: t.txt\n-two\n+x\n*** Delete File: README",
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_patch_is_refused_before_anything_is_written(bench: Bench, name: str) -> None:
    bench.write("t.txt", "two\n")
    (bench.root.parent / "t.txt").write_text("two\n")
    (bench.root.parent / "x").write_text("two\n")
    everything = {path: path.read_bytes() for path in bench.root.parent.rglob("*") if path.is_file()}
    for tool in ("apply_patch", "apply_patch_review"):
        with pytest.raises(HandsError):
            await bench.plan(tool, patch=HOSTILE[name])
    assert bench.hands.made("write") == bench.hands.made("run") == []
    assert all(Path(path).is_relative_to(bench.root) for path in bench.hands.made("read"))
    assert {path: path.read_bytes() for path in bench.root.parent.rglob("*") if path.is_file()} == everything
