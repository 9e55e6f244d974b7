"""acpx, an ACP client in use, drives the real executable on a real git repository; the model is a server on loopback."""

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from ars_acp.models.script import Script
from fixtures.model_server import ModelServer
from tests.e2e.conftest import BROKEN, FIXED, git
from tests.e2e.peers import Ran, checked, methods, results, run, tapped, text_of, updates

pytestmark = pytest.mark.e2e

MODULES = Path(__file__).with_name("node") / "node_modules"
OLDEST_NODE = 22

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


def find_node() -> str | None:
    """A Node that acpx runs on: the one from npm, else the machine's own; None where there is none."""
    for node in (MODULES / ".bin" / "node", shutil.which("node")):
        if node is not None and Path(node).exists():
            said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
            if said.startswith("v") and int(said[1:].partition(".")[0]) >= OLDEST_NODE:
                return str(node)
    return None


class Acpx:
    """acpx in one directory, as one person uses it."""

    def __init__(self, node: str, agent: list[str], cwd: Path, env: dict[str, str]) -> None:
        self.command = (node, str(MODULES / "acpx/dist/cli.js"), "--agent", shlex.join(agent))
        self.cwd = cwd
        self.env = env

    async def __call__(self, *arguments: str) -> Ran:
        return await run(*self.command, *arguments, cwd=self.cwd, env=self.env)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "wire.jsonl"


@pytest.fixture
async def acpx(project: Path, endpoint: dict[str, str], record: Path) -> AsyncIterator[Acpx]:
    node = find_node()
    if node is None:
        if shutil.which("node") is None or not os.environ.get("CI"):
            pytest.skip(f"*** NO NODE {OLDEST_NODE} OR LATER HERE: NOTHING IS TESTED WITH ACPX ***")
        pytest.fail("there is a node, but none that acpx runs on: run `make node`")
    if not (MODULES / "acpx").exists():
        pytest.fail("acpx is not there: run `make node`, or `make test`, which does")
    it = Acpx(node, tapped(record), project, endpoint)
    yield it
    if (Path(endpoint["HOME"]) / ".acpx/sessions").exists():
        await it("sessions", "close")


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
