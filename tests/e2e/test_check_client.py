"""What the kit for clients finds in clients that people use, and in ours: their true faults, and no others."""

import shutil
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from acp_check.client import check_client
from acp_check.report import Finding
from tests.e2e.acpx import MODULES, find_node

pytestmark = pytest.mark.e2e

CLIENTS = Path(__file__).parents[2] / "fixtures" / "clients"
ARS = str(Path(sys.executable).with_name("ars"))
# Given to clients that are known to hang at something, and to those that are not.
HURRIED, PATIENT = 4.0, 10.0

Broken = dict[str, str]

# With acpx 0.19.1, row -> what is behind it.
ACPX: Broken = {
    "CAPS-005": "a form is answered `cancel`, with a note in _meta, not with an error",
    "INIT-005": "goes on with whatever version the agent names",
    "PERM-004": "takes one of two options of the same id",
    "PERM-007": "--approve-all takes allow_always where there is no allow_once",
    "PROC-008": "of an agent that died only the end of the connection is told",
    "PROC-010": "likewise in a turn",
    "TERM-009": "an unknown terminal is -32603",
    "WIRE-006": "an id over 2⁵³ comes back rounded",
}
# With the official Python SDK 0.12.1, used as its quickstart uses it.
PYTHON_SDK: Broken = {
    "CAPS-001": "what the client does not implement is answered with the result null",
    "CAPS-002": "likewise",
    "CAPS-003": "likewise",
    "EXT-001": "likewise",
    "WIRE-002": "likewise: null is no result of v1",
    "INIT-002": "the quickstart names no client",
    "INIT-005": "goes on with whatever version the agent names",
    "LINE-006": "a line `null` ends the connection",
    "PROC-001": "stderr is a pipe that nobody reads",
    "PROC-002": "hangs at its end while the agent ignores it",
    "PROC-006": "nothing of the agent's stderr is told",
    "PROC-008": "likewise",
    "PROC-010": "likewise",
}


async def _found(*client: str, **more: Any) -> list[Finding]:
    return await check_client(client, **{"start_patience": 60, "jobs": 2, **more})


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Finding]]:
    """All of them, side by side: most of it is waiting."""
    home = tmp_path_factory.mktemp("home")
    editor = (sys.executable, str(CLIENTS / "editor.py"), "{prompt}", "{agent}")
    sdk = (sys.executable, str(CLIENTS / "python_sdk.py"), "{prompt}", "{agent_argv}")
    clients: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
        "ars run": ((ARS, "run", "--allow", "once", "{agent}", "{prompt}"), {"patience": PATIENT}),
        "connector": (editor, {"patience": PATIENT, "shows_text": True, "silence": PATIENT}),
        "python sdk": (sdk, {"patience": HURRIED, "shows_text": True, "grace": 1.0}),
    }
    if (node := find_node()) and (MODULES / "acpx").exists():
        acpx = ("env", f"HOME={home}", node, str(MODULES / "acpx/dist/cli.js"), "--agent", "{agent}", "--approve-all")
        clients["acpx"] = ((*acpx, "exec", "{prompt}"), {"patience": HURRIED})
    results: dict[str, list[Finding]] = {}

    async def one(name: str) -> None:
        client, more = clients[name]
        results[name] = await _found(*client, **more)

    async def all_of_them() -> None:
        with anyio.fail_after(110):
            async with anyio.create_task_group() as tasks:
                for name in clients:
                    tasks.start_soon(one, name)

    anyio.run(all_of_them)
    return results


def _with(findings: list[Finding], outcome: str) -> set[str]:
    return {it.id for it in findings if it.outcome == outcome}


def _told(findings: list[Finding]) -> str:
    return "\n".join(f"{it.id} {it.outcome}: {it.why}" for it in findings if it.outcome != "met")


def test_ars_run_meets_all_that_a_command_without_a_person_shows(tried: dict[str, list[Finding]]):
    findings = tried["ars run"]
    assert not _with(findings, "broken"), _told(findings)
    assert _with(findings, "not offered") == {"ELICIT-001"}
    assert _with(findings, "not seen") == {"PERM-005", "INIT-006", "CANCEL-003"}


def test_the_connector_meets_every_requirement(tried: dict[str, list[Finding]]):
    findings = tried["connector"]
    assert not _with(findings, "broken") | _with(findings, "not seen"), _told(findings)
    assert _with(findings, "not offered") == {"CAPS-004", "CAPS-005"}  # it offers all there is


def test_acpx_has_the_faults_that_it_has(tried: dict[str, list[Finding]]):
    if "acpx" not in tried:
        pytest.skip(f"*** NO ACPX, OR NO NODE FOR IT ({shutil.which('node')}): THE KIT IS NOT TRIED ON IT ***")
    assert _with(tried["acpx"], "broken") == set(ACPX), _told(tried["acpx"])


def test_the_python_sdk_has_the_faults_that_it_has(tried: dict[str, list[Finding]]):
    assert _with(tried["python sdk"], "broken") == set(PYTHON_SDK), _told(tried["python sdk"])
