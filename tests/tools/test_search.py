"""list_files and search_in_project, each with the programs that it falls back to."""

import os
import shutil
from pathlib import Path

import pytest

from ars_acp.hands import Refused, Timeout
from ars_acp.tools.glob import matcher
from ars_acp.tools.tool import InvalidArguments, ToolLimits
from tests.tools.conftest import Bench, Git
from tests.tools.test_files import body

SEARCHERS = [
    pytest.param(set(), id="rg", marks=pytest.mark.skipif(shutil.which("rg") is None, reason="rg is not installed")),
    pytest.param({"rg"}, id="git-grep"),
    pytest.param({"rg", "git"}, id="grep"),
]


@pytest.mark.parametrize("missing", [set(), {"git"}], ids=["git", "find"])
async def test_files_are_listed_without_git_s_own(bench: Bench, git: Git, missing: set[str]) -> None:
    bench.write("src/new file.py", "")
    bench.hands.missing_programs = missing
    result = await bench.call("list_files")
    assert body(result.text).split("\n") == [".gitignore", "README.md", "src/calc.py", "src/new file.py"]
    assert result.text.startswith("4 files\n")


async def test_ignored_and_deleted_files_are_not_listed(bench: Bench, git: Git) -> None:
    bench.write("ignored/x", "")
    (bench.root / "README.md").unlink()
    assert body((await bench.call("list_files")).text).split("\n") == [".gitignore", "src/calc.py"]


@pytest.mark.parametrize("missing", [set(), {"git"}], ids=["git", "find"])
async def test_directory_and_glob_narrow_the_list(bench: Bench, git: Git, missing: set[str]) -> None:
    bench.write("src/deep/er/x.py", "")
    bench.write("src/deep/y.js", "")
    bench.hands.missing_programs = missing
    assert body((await bench.call("list_files", path="src")).text).split("\n") == [
        "src/calc.py", "src/deep/er/x.py", "src/deep/y.js"]  # fmt: skip
    assert body((await bench.call("list_files", glob="src/**/*.py")).text).split("\n") == [
        "src/calc.py", "src/deep/er/x.py"]  # fmt: skip
    assert body((await bench.call("list_files", path="src", glob="deep/*")).text) == "src/deep/y.js"
    assert (await bench.call("list_files", glob="*.rs")).text == "no files in . match *.rs"


async def test_files_of_another_root_are_absolute(bench: Bench, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.py").write_text("needle\n")
    bench.directories = [str(other)]
    assert body((await bench.call("list_files", path=str(other))).text) == f"{other}/a.py"
    assert (
        body((await bench.call("search_in_project", pattern="needle", path=str(other))).text)
        == f"{other}/a.py:1:needle"
    )


async def test_directory_without_git_is_listed_by_find(bench: Bench) -> None:
    bench.write("a", "")
    bench.write("node_modules/x/y", "")
    assert body((await bench.call("list_files")).text) == "a"


async def test_long_list_is_cut_and_says_so(bench: Bench, git: Git) -> None:
    bench.limits = ToolLimits(files_listed=2)
    result = await bench.call("list_files")
    assert result.text.startswith("3 files; the first 2 are shown")
    assert body(result.text) == ".gitignore\nREADME.md"


async def test_list_that_overflows_the_terminal_says_so(bench: Bench, git: Git) -> None:
    bench.limits = ToolLimits(terminal_bytes=20)
    result = await bench.call("list_files")
    assert "more than the terminal could hold" in result.text
    assert body(result.text) == "src/calc.py"


@pytest.mark.parametrize("missing", SEARCHERS)
async def test_matches_have_path_line_and_text(bench: Bench, git: Git, missing: set[str]) -> None:
    bench.hands.missing_programs = missing
    result = await bench.call("search_in_project", pattern=r"return [a-z] .")
    assert result.text.startswith("1 lines in 1 files\n")
    assert body(result.text) == "src/calc.py:2:    return a - b"


@pytest.mark.parametrize("missing", SEARCHERS)
async def test_literal_case_path_and_glob_are_honoured(bench: Bench, git: Git, missing: set[str]) -> None:
    bench.hands.missing_programs = missing
    bench.write("src/a.js", "x.y(Z\n")
    bench.write("docs/a.js", "x.y(z\n")

    async def search(**arguments: object) -> list[str]:
        result = await bench.call("search_in_project", **arguments)
        return body(result.text).split("\n") if "nothing found" not in result.text else []

    assert await search(pattern="x.y(Z", literal=True) == ["src/a.js:1:x.y(Z"]
    assert await search(pattern="X.Y(z", literal=True, ignore_case=True) == ["docs/a.js:1:x.y(z", "src/a.js:1:x.y(Z"]
    assert await search(pattern=r"x\.y", path="docs") == ["docs/a.js:1:x.y(z"]
    assert await search(pattern=r"x\.y", glob="src/*.js") == ["src/a.js:1:x.y(Z"]
    assert await search(pattern=r"x\.y", glob="*.{py,rs}") == []
    assert await search(pattern="^nothing like it$") == []


@pytest.mark.parametrize("missing", SEARCHERS)
async def test_results_are_bounded(bench: Bench, git: Git, missing: set[str]) -> None:
    bench.hands.missing_programs = missing
    bench.write("long.txt", "needle" + "x" * 5000 + "\n" + "needle\n" * 50)
    bench.limits = ToolLimits(matches_listed=3, line_bytes=10)
    result = await bench.call("search_in_project", pattern="needle")
    assert "; the first 3 are shown" in result.text or result.text.startswith("3 lines")
    assert body(result.text) == "long.txt:1:needlexxxx [... line cut]\nlong.txt:2:needle\nlong.txt:3:needle"


async def test_matches_that_overflow_the_terminal_say_so(bench: Bench, git: Git) -> None:
    bench.hands.missing_programs = {"rg"}
    bench.write("many.txt", "needle\n" * 50)
    bench.limits = ToolLimits(terminal_bytes=50)
    result = await bench.call("search_in_project", pattern="needle")
    assert "more than the terminal could hold" in result.text
    assert body(result.text) == "many.txt:49:needle\nmany.txt:50:needle"


async def test_pattern_that_no_program_can_read_is_told(bench: Bench, git: Git) -> None:
    with pytest.raises(Refused, match="did not work"):
        await bench.call("search_in_project", pattern="(unclosed")


async def test_pattern_of_several_lines_is_invalid(bench: Bench) -> None:
    with pytest.raises(InvalidArguments):
        await bench.plan("search_in_project", pattern="a\nb")


async def test_client_without_any_program_is_told(bench: Bench) -> None:
    bench.hands.missing_programs = {"rg", "git", "grep", "find"}
    for name, arguments in (("list_files", {}), ("search_in_project", {"pattern": "x"})):
        with pytest.raises(Refused, match="did not work"):
            await bench.call(name, **arguments)


async def test_search_that_takes_too_long_times_out(bench: Bench) -> None:
    os.mkfifo(bench.root / "pipe")  # reading it would block for ever
    bench.hands.missing_programs = {"rg", "git"}
    bench.limits = ToolLimits(search_seconds=0.3)
    with pytest.raises(Timeout):
        await bench.call("search_in_project", pattern="x", path="pipe")


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.py", "a/b.py", True), ("*.py", "a/b.pyc", False), ("a/*.py", "a/b/c.py", False), ("a/**", "a/b/c", True),
        ("**/b", "b", True), ("./a", "a", True), ("/a", "a", True), ("a/", "a/b", True),
        ("*.{js,ts{,x}}", "a.tsx", True),
        ("**/**/**/**/**/**/x", "/".join("a" * 60), False), ("[ab].c", "b.c", True),
    ],
)  # fmt: skip
def test_glob(pattern: str, path: str, matches: bool) -> None:
    assert matcher(pattern)(path) is matches


@pytest.mark.parametrize("pattern", ["x" * 301, "/".join("a" * 60), "{a,b}" * 12])
def test_glob_that_is_too_much_work_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidArguments):
        matcher(pattern)("a")
