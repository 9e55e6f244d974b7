"""A small git project, hands over it, and a bench on which one call of a tool is made."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ars_acp.tools import find, put_back
from ars_acp.tools.roots import Roots
from ars_acp.tools.tool import Act, ToolContext, ToolLimits, ToolResult
from tests.support.fake_hands import MemoryHands

Git = Callable[..., str]


class Bench:
    """Makes calls as a turn does: arguments checked, planned, then done."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.hands = MemoryHands()
        self.limits = ToolLimits()
        self.directories: list[str] = []
        self.approved: set[str] = set()
        self.changed: list[dict[str, Any]] = []
        self.sent: list[dict[str, Any]] = []
        self.shown: list[dict[str, Any]] = []

    async def plan(self, name: str, **arguments: Any) -> Act:
        tool = find(name)
        assert tool is not None
        return await tool.plan(self.context(), tool.check(arguments))

    def context(self) -> ToolContext:
        """What a call may use; the changes of files that it records are kept."""
        return ToolContext(
            hands=self.hands,
            roots=Roots(str(self.root), self.directories),
            call_id="call-1",
            limits=self.limits,
            send=self.sent.append,
            show=lambda **fields: self.shown.append(fields),
            approved_patches=self.approved,
            changing=lambda changes, known=True: self.changed.extend(
                put_back.entry("call-1", changes, known=known)["changes"]
            ),
        )

    async def call(self, name: str, **arguments: Any) -> ToolResult:
        return await (await self.plan(name, **arguments)).do()

    def write(self, path: str, text: str) -> Path:
        whole = self.root / path
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_bytes(text.encode())
        return whole

    def read(self, path: str) -> str:
        return (self.root / path).read_bytes().decode()

    def files(self) -> dict[str, bytes]:
        """Every file below the root but git's own."""
        found = (it for it in self.root.rglob("*") if ".git" not in it.relative_to(self.root).parts and it.is_file())
        return {str(it.relative_to(self.root)): it.read_bytes() for it in found}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    root = tmp_path / "project"
    root.mkdir()
    return Bench(root)


@pytest.fixture
def git(bench: Bench) -> Git:
    """Runs git in the project, which it has made a repository with one commit."""

    def run(*argv: str) -> str:
        identity = ("-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", *identity, *argv], cwd=bench.root, check=True, capture_output=True, text=True)
        return done.stdout

    run("init", "-q", "-b", "main")
    bench.write(".gitignore", "ignored/\n")
    bench.write("src/calc.py", "def add(a, b):\n    return a - b\n")
    bench.write("README.md", "A calculator.\n")
    run("add", "-A")
    run("commit", "-q", "-m", "first")
    return run
