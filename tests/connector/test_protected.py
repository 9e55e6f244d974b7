"""Which paths are protected, by whatever name, and from what."""

import pytest

from connector.protected import Protected, protected

SECRETS = [".env", ".env.local", "a/.ENV", "deploy/key.pem", ".ssh/config", "home/.aws/credentials", "id_ed25519"]
LEASH = [
    ".git/config",
    ".git/hooks/post-commit.sample",
    "sub/.git/HEAD",
    ".GIT/config",
    ".git./config",
    ".g\u200cit/config",
    "git~1/config",
    "\uff0egit/config",
    ".gitmodules",
    ".husky/pre-commit",
    ".vscode/tasks.json",
    ".idea/workspace.xml",
    ".zed/settings.json",
    ".claude/settings.json",
    ".qwen/settings.json",
    ".gemini/settings.json",
    ".opencode/agent/x.md",
    ".opencode.json",
    "opencode.jsonc",
    ".mcp.json",
    ".envrc",
    ".config/zed/settings.json",
    "team.code-workspace",
    "AGENTS.md",
    "docs/CLAUDE.md",
    ".github/copilot-instructions.md",
]
FREE = [
    ".env.example",
    "src/env.py",
    "git/config",
    ".github/workflows/ci.yml",
    "keys.py",
    "config/zed/x",
    ".",
    "",
    "a.md",
]


@pytest.mark.parametrize("path", [*LEASH, *SECRETS])
def test_a_protected_path_tells_why(path: str) -> None:
    """S8."""
    found = protected(path)
    assert found is not None
    assert found.value
    assert found.from_reading == (path in SECRETS)


@pytest.mark.parametrize("path", FREE)
def test_ordinary_files_are_free(path: str) -> None:
    assert protected(path) is None


def test_of_two_reasons_the_outer_one_is_told() -> None:
    assert protected(".git/.env") is Protected.GIT
