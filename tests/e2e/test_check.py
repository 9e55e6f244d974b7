"""What the kit for agents finds in agents that people use, and in ours: their true faults, and no others."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from acp_check.peer import Limits
from acp_check.report import ALL_MET, Finding, verdict
from acp_check.run import check, chosen
from acp_check.trial import Subject
from connector.environment import inherited
from fixtures.model_server import model_server
from tests.connector.programs import MEASURED, PROGRAMS, Numbered, missing

pytestmark = pytest.mark.e2e

FULL = os.environ.get("FAULTS") == "full"
ARS_ACP = str(Path(sys.executable).with_name("ars-acp"))
ECHO = Path(__file__).parents[2] / "fixtures/agents/python_sdk_echo.py"
QUICK = Limits(start=30, answer=5, session=10, turn=10, quiet=0.05)
SLOW = Limits(start=90, answer=10, session=45, turn=45, end=8, quiet=0.25, row=180, total=1500)

# A turn for each kind of prompt, in any order, as often as a session of the kit has one.
SCRIPT = """\
=== turn if "word done"
call write_file {"path": "out.txt", "content": "done\\n"}
--- step
say: done.
=== turn if "terminal"
call read_file {"path": "notes.txt"}
call write_file {"path": "copy.txt", "content": "The word is heron.\\n"}
call run_command {"argv": ["true"]}
--- step
say: done.
=== turn if "Count from"
say: one
wait 60
say: two
=== turn if "Say hello"
say: Hello there.
"""

# With the official Python SDK 0.12.1, row -> what is behind it.
PYTHON_SDK = {
    "INIT-003": "the example gives back whatever version it is sent",
    "INIT-004": "it names no agent",
    "INIT-EARLY": "a session is opened before initialize",
    "EXT-001": "a method of no agent's is answered with null",
    "INFO-PARSE": "what cannot be read is dropped silently",
    "INFO-INVALIDREQ": "likewise",
    "INFO-UNKNOWNSESSION": "the example knows no session",
    "FRAME-02": "a line that is no object ends the process",
    "FRAME-08": "what is nested a thousand deep is dropped silently",
    "RULE-16": "relative directories are taken",
    "PROMPTCAP-OTHER": "the example takes every kind of block",
}
SAMPLE = ("INIT-002", "JSONRPC", "SESSION", "PROMPT-0", "SCHEMA", "TRANSPORT", "SHUTDOWN")
# With each program as `tests/e2e/node/package-lock.json` has it; the sample starts the program once.
OF_VENDORS = ("INIT-002", "INIT-004", "JSONRPC-001", "EXT", "SESSION", "PROMPT-001", "CANCEL-001", "SCHEMA-002")
VENDORS: Mapping[str, Sequence[str]] = {
    "opencode": (
        *("INIT-EARLY", "RULE-32", "INFO-PARSE", "INFO-INVALIDREQ", "INFO-UNKNOWNSESSION", "FRAME-08", "FRAME-09"),
        *("RULE-16", "PROMPTCAP-OTHER", "RULE-07", "PERM-LATE", "CLIENTCAP-002", "SCHEMA-002", "ERROR-001"),
    ),
    "qwen": (
        *("INIT-EARLY", "RULE-32", "INFO-PARSE", "INFO-INVALIDREQ", "INFO-UNKNOWNSESSION", "FRAME-09", "FRAME-11"),
        *("RULE-16", "CONFIG-002", "RULE-07", "END-TERM", "END-TERM-TURN", "SCHEMA-001", "SCHEMA-002", "ERROR-001"),
    ),
    "gemini": (
        *("INIT-EARLY", "INFO-PARSE", "INFO-INVALIDREQ", "INFO-UNKNOWNSESSION", "FRAME-09", "FRAME-11", "LOAD-001"),
        *("LOAD-002", "LOAD-003", "RULE-16", "MODES-001", "MODES-002", "RULE-07", "PERM-LATE", "END-TURN", "END-TERM"),
        *("END-TERM-TURN", "END-UNREAD", "SCHEMA-002", "ERROR-001"),
    ),
    "claude": ("FRAME-09", "SCHEMA-002", "ERROR-001"),
    "codex": ("FRAME-09", "FRAME-12", "SCHEMA-002", "ERROR-001"),
}

# What shows in some runs and not in others: what was deleted a moment ago is listed, an answer overtakes its update.
WAVERING = {"claude": {"DELETE-001"}, "opencode": {"RULE-01"}}


def broken(findings: Sequence[Finding]) -> dict[str, str]:
    """Why, by the id."""
    return {it.id: it.why for it in findings if it.outcome == "broken"}


async def test_ars_acp_meets_every_requirement(tmp_path: Path):
    script = tmp_path / "script"
    script.write_text(SCRIPT * 8)
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": f"{tmp_path}/config", "XDG_STATE_HOME": f"{tmp_path}/state"}
    environment = {**inherited(), **MEASURED, **home, "OPENAI_API_KEY": "sk-conformance-not-a-key"}
    agent = Subject((ARS_ACP, "--script", str(script)), environment, sign_in="api-key", line_mib=33, limits=QUICK)
    findings = await check(agent, chosen())
    assert broken(findings) == {}
    # It calls no extension of its client, takes every kind of block; no line without an end was tried.
    others = {it.id: it.outcome for it in findings if it.outcome != "met"}
    assert others == {"RULE-16B": "not seen", "FRAME-07": "not seen", "PROMPTCAP-OTHER": "not offered"}
    assert verdict(findings) == ALL_MET


async def test_the_official_sdk_s_echo_agent_has_its_true_faults():
    rows = [it for it in chosen() if FULL or it.id in PYTHON_SDK or it.id.startswith(SAMPLE)]
    findings = await check(Subject((sys.executable, str(ECHO)), {**inherited(), **MEASURED}, limits=QUICK), rows)
    assert broken(findings).keys() == PYTHON_SDK.keys(), broken(findings)
    why = broken(findings)
    assert "version 999 was sent, the answer was" in why["INIT-003"]
    assert "[] ended it (exit status 1)" in why["FRAME-02"]


@pytest.mark.parametrize("name", VENDORS)
async def test_a_vendor_s_program_has_its_true_faults(name: str, tmp_path: Path):
    program = PROGRAMS[name]
    if why := missing(program):
        pytest.skip(why)
    if not FULL and name != "opencode":
        pytest.skip("FAULTS=full tries this one")
    rows = [it for it in chosen() if FULL or it.id.startswith(OF_VENDORS)]
    findings = await check_vendor(name, tmp_path, rows)
    found = broken(findings).keys() - WAVERING.get(name, set())
    assert found == {it.id for it in rows} & set(VENDORS[name]), broken(findings)
    assert "met" in {it.outcome for it in findings if it.id == "PROMPT-001"}


async def check_vendor(name: str, directory: Path, rows: Any) -> list[Finding]:
    """Its program, with a model that writes a file where the prompt is the second or the third."""
    program = PROGRAMS[name]
    home, project = directory / "home", directory / "project"
    home.mkdir()
    project.mkdir()
    for file in ("out.txt", "copy.txt") if name == "gemini" else ():
        (project / file).write_text("old\n")  # a file that is not there is a failure to it
    writes = [program.writing(str(project / file)) for file in ("out.txt", "copy.txt")]
    script = (
        '=== turn if "[turn 1]"\nsay: Hello.\n'
        f'=== turn if "[turn 2]"\nsay: I write.\n{writes[0]}\n--- step\nsay: done.\n'
        f'=== turn if "[turn 3]"\nsay: I work.\n{writes[1]}\n--- step\nsay: done.\n'
        '=== turn if "[turn 4]"\nsay: I begin.\nwait 60\nsay: I end.\n'
    )
    prompts = {
        "say": "[turn 1] Say hello.",
        "write": "[turn 2] Write the file.",
        "tools": "[turn 3] Use your tools.",
        "long": "[turn 4] Take your time.",
    }
    async with model_server(Numbered.parse(script)) as server:
        row = program.vendor(server.port, home)
        command = row.command()
        agent = Subject(
            command.argv,
            {**inherited(command.passed_on), **command.env},
            cwd=str(project),
            prompts=prompts,
            sign_in=next(iter(row.sign_in.methods), None),
            limits=SLOW,
        )
        return await check(agent, rows)
