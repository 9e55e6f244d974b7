"""acpx, the command, in one directory: where it and a Node for it are, how it is run, what it leaves."""

import contextlib
import hashlib
import os
import shlex
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.e2e.peers import Ran, Running, run, running, tapped

MODULES = Path(__file__).with_name("node") / "node_modules"
OLDEST_NODE = 22


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

    def begun(self, *arguments: str) -> AbstractAsyncContextManager[Running]:
        return running(*self.command, *arguments, cwd=self.cwd, env=self.env)


@contextlib.asynccontextmanager
async def at_hand(project: Path, endpoint: dict[str, str], record: Path) -> AsyncIterator[Acpx]:
    """acpx in `project`, with our agent, whose every message goes to `record`. Skips where there is no Node."""
    node = find_node()
    if shutil.which("node") is None and node is None:
        pytest.skip("*** NO NODE HERE: NOTHING IS TESTED WITH ACPX ***")
    if not (MODULES / "acpx").exists():
        pytest.fail("acpx is not there: run `make node`, or `make test`, which does")
    if node is None:
        too_old = f"*** NO NODE {OLDEST_NODE} OR LATER HERE: NOTHING IS TESTED WITH ACPX ***"
        pytest.fail(too_old) if os.environ.get("CI") else pytest.skip(too_old)
    it = Acpx(node, tapped(record), project, endpoint)
    yield it
    if (Path(endpoint["HOME"]) / ".acpx/sessions").exists():
        await it("sessions", "close")
    # Where acpx has its sockets, whatever TMPDIR says; it leaves the empty directory behind.
    sockets = Path("/tmp", f"acpx-{hashlib.sha256(endpoint['HOME'].encode()).hexdigest()[:10]}")
    if sockets.exists():
        sockets.rmdir()
