"""Paths of the model: what is inside the roots, and that nothing else ever is."""

import os
import posixpath
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ars_acp.hands import Refused
from ars_acp.tools.leash import is_protected, refuse_forbidden
from ars_acp.tools.roots import PathOutsideRoots, Roots

ROOTS = Roots("/ws/app", ["/lib/shared"])

OUTSIDE = (
    """
..|../x|/etc/passwd|/ws/app-evil/x|/ws/app/../app-evil/x|/ws|a/../../x|src/../../../etc/passwd|~|~/x|~root/.ssh/id
//ws/app/x|//etc/passwd|file:///ws/app/x|file:/ws/app/x|FILE:x|http://host/x|vscode://file/x|%2e%2e/x|a/%2E%2e/x
a%2fb|a%5cb|a%00b|%252e%252e/x|..\\x|a\\..\\..\\x|C:\\Windows|\\\\host\\share|.../x|a/.. /x|a/. ./x| /x|. /x
/lib/shared/../x|/lib/shared-evil|/lib/sharedx/y
""".replace("\n", "|")
    .strip("|")
    .split("|")
)


@pytest.mark.parametrize(
    "path",
    [
        *[*OUTSIDE, "", " ", "a\0b", "a\nb", "a\rb", "a\x1bb", "a\x7fb", "a\u2028b", "a\u202eb"],
        pytest.param("a" * 4097, id="too long"),
    ],
)
def test_path_outside_or_written_to_deceive_is_refused(path: str) -> None:
    with pytest.raises(PathOutsideRoots):
        ROOTS.resolve(path)


@pytest.mark.parametrize(
    ("path", "whole", "shown"),
    [
        (".", "/ws/app", "."),
        ("src/a.py", "/ws/app/src/a.py", "src/a.py"),
        ("./src//b/../a.py", "/ws/app/src/a.py", "src/a.py"),
        ("/ws/app/x", "/ws/app/x", "x"),
        ("/lib/shared/y", "/lib/shared/y", "/lib/shared/y"),
        ("../app/x", "/ws/app/x", "x"),
        ("100%.txt", "/ws/app/100%.txt", "100%.txt"),
        ("-rf", "/ws/app/-rf", "-rf"),
        ("имя с пробелом.txt", "/ws/app/имя с пробелом.txt", "имя с пробелом.txt"),
        ("..hidden", "/ws/app/..hidden", "..hidden"),
    ],
)
def test_path_inside_is_absolute_and_normal(path: str, whole: str, shown: str) -> None:
    assert ROOTS.resolve(path) == whole
    assert ROOTS.show(whole) == shown


def test_path_that_was_never_resolved_has_no_root() -> None:
    with pytest.raises(PathOutsideRoots):
        ROOTS.split("/etc/passwd")


def test_nested_root_is_the_one_a_path_belongs_to() -> None:
    assert Roots("/ws", ["/ws/inner"]).split("/ws/inner/a") == ("/ws/inner", "a")


PIECES = st.sampled_from(
    ["..", ".", "a", "app", "app-evil", "ws", "", " ", "~", "%2e%2e", "...", "etc", "\\..", "file:"]
)


@settings(max_examples=20_000 if os.environ.get("FAULTS") == "full" else 1000, deadline=None)
@given(st.lists(PIECES | st.text(max_size=3), max_size=8).map("/".join))
def test_no_path_escapes(path: str) -> None:
    try:
        whole = ROOTS.resolve(path)
    except PathOutsideRoots:
        return
    assert posixpath.normpath(whole) == whole
    assert any(PurePosixPath(whole).is_relative_to(root) for root in ("/ws/app", "/lib/shared"))


@pytest.mark.parametrize(
    "path",
    [".git/config", ".git/hooks/pre-commit", "sub/.git/config", ".GIT/config", ".git", ".g\u200cit/config", ".git./x",
     ".git /x", ".ssh/authorized_keys", ".config/ars/config.toml", ".config/ars-acp/key", "．git/config"],
)  # fmt: skip
def test_git_and_keys_and_own_configuration_are_never_written(path: str) -> None:
    with pytest.raises(Refused, match="never written"):
        refuse_forbidden(ROOTS, ROOTS.resolve(path))


@pytest.mark.parametrize(
    "path",
    [".vscode/tasks.json", ".idea/x.xml", ".zed/settings.json", ".claude/settings.json", ".qwen/x", ".gemini/x",
     ".opencode/x", ".opencode.json", "AGENTS.md", "sub/AGENTS.md", "agents.MD", ".env", ".env.local", "a/.envrc",
     "CLAUDE.md", ".ars/config.toml", ".codex/config.toml", ".cursor/rules", ".mcp.json", ".gitattributes"],
)  # fmt: skip
def test_what_steers_agents_or_holds_secrets_is_protected(path: str) -> None:
    assert is_protected(ROOTS, [ROOTS.resolve("src/a.py"), ROOTS.resolve(path)])


@pytest.mark.parametrize("path", ["src/a.py", ".github/workflows/x.yml", "environment.py", "git/config", "docs/env.md"])
def test_ordinary_files_are_not_protected(path: str) -> None:
    refuse_forbidden(ROOTS, ROOTS.resolve(path))
    assert not is_protected(ROOTS, [ROOTS.resolve(path)])


def test_a_root_that_lies_in_a_protected_directory_is_an_ordinary_project() -> None:
    roots = Roots("/home/u/.claude/worktrees/app")
    assert not is_protected(roots, [roots.resolve("src/a.py")])
