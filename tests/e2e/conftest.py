"""What every end-to-end test starts from: a model server, a git repository, and an environment of nobody's."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ars_acp.models.script import Script
from fixtures.model_server import ModelServer, model_server
from tests.e2e.acpx import Acpx, at_hand

BROKEN = 'def greet(name: str) -> str:\n    return f"Hello, {nme}!"\n'
FIXED = BROKEN.replace("nme", "name")
FAREWELL = """\
def part(name: str) -> str:
    return f"Goodbye, {name}"


def later(name: str) -> str:
    return f"See you, {name}!"


def wave(times: int) -> str:
    return " ".join(["bye"] * (times - 1))
"""
TEST = """\
import unittest

from farewell import part, wave
from greet import greet


class TestGreet(unittest.TestCase):
    def test_greets_by_name(self) -> None:
        self.assertEqual(greet("Ada"), "Hello, Ada!")

    def test_parts_by_name(self) -> None:
        self.assertIn(part("Ada"), ["Goodbye, Ada", "Goodbye, Ada!"])
        self.assertIn(wave(3), ["bye bye", "bye bye bye"])
"""


@pytest.fixture
async def model() -> AsyncIterator[ModelServer]:
    """An OpenAI-compatible endpoint on loopback; a test gives it the script that it plays."""
    async with model_server(Script.parse("=== turn repeat\nsay: hello")) as server:
        yield server


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The variables that a person's shell would have, of a person who has nothing set up."""
    home = tmp_path / "home"
    home.mkdir()
    # The coverage of a child is measured through its variables.
    kept = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.fixture
def endpoint(environment: dict[str, str], model: ModelServer) -> dict[str, str]:
    """The environment with the model server in it."""
    return {**environment, "OPENAI_BASE_URL": model.base_url, "OPENAI_MODEL": "script"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A git repository with one commit, one of whose tests fails for a misspelt name."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "greet.py").write_text(BROKEN)
    (root / "farewell.py").write_text(FAREWELL)
    (root / "test_greet.py").write_text(TEST)
    (root / "AGENTS.md").write_text("Run the tests with `python -m unittest -q`.\n")
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", ".")
    git(root, "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "commit", "--quiet", "--message=First")
    return root


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """Where a tapped agent's messages go."""
    return tmp_path / "wire.jsonl"


@pytest.fixture
async def acpx(project: Path, endpoint: dict[str, str], record: Path) -> AsyncIterator[Acpx]:
    async with at_hand(project, endpoint, record) as it:
        yield it


def git(root: Path, *arguments: str) -> str:
    """What git says about a repository."""
    ran = subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True, timeout=10)
    return ran.stdout
