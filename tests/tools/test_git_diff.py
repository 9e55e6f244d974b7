"""git.diff, and that neither a repository's configuration nor a value of the model makes git or others run anything."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ars_acp.hands import HandsError, Refused
from ars_acp.tools.tool import InvalidArguments, ToolLimits
from tests.tools.conftest import Bench, Git


async def test_changes_of_the_working_tree(bench: Bench, git: Git) -> None:
    bench.write("src/calc.py", "def add(a, b):\n    return a + b\n")
    result = await bench.call("git.diff")
    assert "--- a/src/calc.py\n+++ b/src/calc.py\n" in result.text
    assert "-    return a - b\n+    return a + b\n" in result.text
    assert result.content is not None
    assert result.content[0]["content"]["text"].startswith("```diff\n")


async def test_staged_revision_and_paths(bench: Bench, git: Git) -> None:
    bench.write("README.md", "staged\n")
    git("add", "README.md")
    bench.write("src/calc.py", "unstaged\n")
    assert "staged" in (staged := (await bench.call("git.diff", staged=True)).text)
    assert "calc.py" not in staged
    assert "README.md" not in (await bench.call("git.diff")).text
    against = (await bench.call("git.diff", revision="HEAD", paths=["src"])).text
    assert "calc.py" in against
    assert "README.md" not in against
    git("commit", "-q", "-m", "second")
    assert "README.md" in (await bench.call("git.diff", revision="HEAD~1..HEAD")).text
    assert (await bench.call("git.diff", staged=True)).text == "no changes"


async def test_names_are_relative_to_the_project_also_below_the_repository(bench: Bench, git: Git) -> None:
    bench.write("src/calc.py", "x\n")
    bench.write("README.md", "outside of src\n")
    bench.root /= "src"
    text = (await bench.call("git.diff")).text
    assert "--- a/calc.py\n" in text
    assert "README" not in text


async def test_long_diff_is_cut_and_says_so(bench: Bench, git: Git) -> None:
    bench.write("README.md", "x\n" * 1000)
    bench.limits = ToolLimits(output_bytes=500)
    result = await bench.call("git.diff")
    assert result.text.endswith("cut here: name paths to see the rest")
    bench.limits = ToolLimits(terminal_bytes=500)
    assert (await bench.call("git.diff")).text.startswith("the beginning is lost")


async def test_paths_of_two_roots_need_two_calls(bench: Bench, git: Git, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    bench.directories = [str(tmp_path / "other")]
    with pytest.raises(InvalidArguments, match="one call for each"):
        await bench.plan("git.diff", paths=["src", str(tmp_path / "other")])


async def test_no_repository_and_no_such_revision_are_told(bench: Bench) -> None:
    for arguments in ({}, {"revision": "HEAD"}, {"staged": True}):
        with pytest.raises(Refused, match="did not work"):
            await bench.call("git.diff", **arguments)


class Canary:
    """A program that leaves a mark when anything runs it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.mark = directory / "mark"
        self.program = directory / "program"
        self.program.write_text(f"#!/bin/sh\necho ran >> '{self.mark}'\n")
        self.program.chmod(0o755)

    @property
    def ran(self) -> bool:
        return self.mark.exists()


@pytest.fixture
def canary(tmp_path: Path) -> Canary:
    return Canary(tmp_path / "canary")


SETTINGS = ["core.fsmonitor", "core.pager", "pager.diff", "pager.grep", "diff.external", "diff.evil.command",
            "diff.evil.textconv", "core.editor", "core.sshCommand", "core.gitProxy"]  # fmt: skip


async def test_configuration_of_a_repository_runs_nothing(bench: Bench, git: Git, canary: Canary) -> None:
    for setting in SETTINGS:
        git("config", setting, str(canary.program))
    git("config", "core.hooksPath", str(canary.program.parent))
    for hook in ("post-index-change", "pre-commit", "fsmonitor-watchman"):
        shutil.copy2(canary.program, canary.program.parent / hook)
    bench.write(".gitattributes", "*.py diff=evil\n")
    bench.write("src/calc.py", "changed = 1\n")
    for tool, arguments in (
        ("git.diff", {}),
        ("git.diff", {"staged": True}),
        ("git.diff", {"revision": "HEAD"}),
        ("list_files", {}),
        ("search_in_project", {"pattern": "changed"}),
    ):
        assert (await bench.call(tool, **arguments)).ok
        assert not canary.ran, tool
    git("diff")  # the same repository under a git without our options
    assert canary.ran


def on_a_terminal(argv: list[str], cwd: Path) -> None:
    """Runs `argv` with a terminal for its output, as some clients do."""
    master, terminal = os.openpty()
    with subprocess.Popen(
        argv, cwd=cwd, stdout=terminal, stderr=terminal, env={**os.environ, "TERM": "xterm"}
    ) as process:
        os.close(terminal)
        with contextlib.suppress(OSError):  # a terminal without users reads as an error
            while os.read(master, 65536):
                pass
        process.wait(5)
    os.close(master)


async def test_no_pager_runs_where_the_client_s_commands_have_a_terminal(
    bench: Bench, git: Git, canary: Canary
) -> None:
    git("config", "core.pager", str(canary.program))
    bench.write("README.md", "changed\n")
    for tool, arguments in (("git.diff", {}), ("list_files", {}), ("search_in_project", {"pattern": "changed"})):
        await bench.call(tool, **arguments)
    for argv in bench.hands.made("run"):
        if argv[0] == "git":
            on_a_terminal(argv, bench.root)
    assert not canary.ran
    on_a_terminal(["git", "diff"], bench.root)
    assert canary.ran


async def test_submodule_s_configuration_runs_nothing(bench: Bench, git: Git, canary: Canary, tmp_path: Path) -> None:
    git("clone", "-q", str(bench.root), str(tmp_path / "inner"))
    git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(tmp_path / "inner"), "sub")
    git("commit", "-q", "-m", "with sub")
    git("-C", "sub", "config", "core.fsmonitor", str(canary.program))
    bench.write("sub/README.md", "changed\n")
    for tool, arguments in (("git.diff", {}), ("list_files", {}), ("search_in_project", {"pattern": "changed"})):
        await bench.call(tool, **arguments)
        assert not canary.ran, tool
    git("diff")
    assert canary.ran


def option_shaped(canary: Path) -> Iterator[str]:
    program = str(canary)
    yield from (
        "-O" + program,
        "-c",
        "-p",
        "--",
        "-",
        "-e",
        "--help",
        "--no-index",
        "-z",
        "-f" + program,
        "--stdin",
        "-R",
    )
    yield from (f"--ext-diff={program}", "--ext-diff", "--textconv", f"--output={program}.out", f"-o{program}.out")
    yield from (f"--open-files-in-pager={program}", f"-O{program}", f"--pre={program}", f"--pre-glob={program}")
    yield from (
        f"--exec={program}",
        "-exec",
        f"-exec {program} ;",
        f"--upload-pack={program}",
        f"--config=core.pager={program}",
    )
    yield from (
        f"--search-zip={program}",
        f"--hostname-bin={program}",
        f"--ignore-file={program}",
        f"-fprint {program}.out",
    )
    yield from (
        f"-c core.pager={program}",
        f"--exec-path={program}",
        f"--git-dir={program}",
        f"--work-tree={program}",
        "-P",
    )
    yield from (
        f"$({program})",
        f"`{program}`",
        f"; {program}",
        f"| {program}",
        f"\n{program}",
        f"&& {program}",
        "-delete",
    )
    yield from (
        f"-fls {program}.out",
        f"--files-from={program}",
        f"--exclude-from={program}",
        f":!{program}",
        ":(attr:x)src",
    )


async def test_values_shaped_like_options_execute_nothing(bench: Bench, git: Git, canary: Canary) -> None:
    bench.write("src/calc.py", "changed = 1\n")
    before = bench.files()
    values = list(option_shaped(canary.program))
    assert len(values) >= 40
    for missing in (set(), {"rg"}, {"rg", "git"}):
        bench.hands.missing_programs = missing
        for value in values:
            for tool, arguments in (
                ("git.diff", {"paths": [value]}),
                ("git.diff", {"revision": value}),
                ("git.diff", {"revision": "HEAD", "paths": [value, value]}),
                ("list_files", {"path": value}),
                ("list_files", {"glob": value}),
                ("search_in_project", {"pattern": value}),
                ("search_in_project", {"pattern": "changed", "path": value}),
                ("search_in_project", {"pattern": "changed", "glob": value, "literal": True}),
            ):
                try:
                    await bench.call(tool, **arguments)
                except HandsError:
                    continue
    assert not canary.ran
    assert bench.files() == before
    assert sorted(it.name for it in canary.program.parent.iterdir()) == ["program"]


@pytest.mark.parametrize(
    "revision", ["--output=x", "-p", "", " ", "HEAD x", "a\nb", "HEAD:x;y", "$(x)", ":/x", "^HEAD"]
)
async def test_revision_that_is_no_name_is_invalid(bench: Bench, revision: str) -> None:
    with pytest.raises(InvalidArguments, match="revision"):
        await bench.plan("git.diff", revision=revision)
    assert bench.hands.calls == []


async def test_files_named_like_options_are_found(bench: Bench, git: Git) -> None:
    bench.write("--help", "needle\n")
    bench.write("-rf/x", "needle\n")
    git("add", "-A")
    bench.write("--help", "needles\n")
    assert "+needles" in (await bench.call("git.diff", paths=["--help"])).text
    for missing in (set(), {"rg"}, {"rg", "git"}):
        bench.hands.missing_programs = missing
        assert "\n-rf/x\n" in (await bench.call("list_files", path="-rf")).text
        assert "-rf/x:1:needle" in (await bench.call("search_in_project", pattern="needle", path="-rf")).text
        assert "--help:1:needles" in (await bench.call("search_in_project", pattern="needles")).text
