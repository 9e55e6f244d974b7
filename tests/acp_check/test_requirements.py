"""Every requirement can fail: an agent with one thing wrong is found to have exactly that wrong."""

import os
import sys
from importlib import import_module
from pathlib import Path

import anyio
import pytest

from acp_check.peer import Limits
from acp_check.report import Finding
from acp_check.run import check, chosen
from acp_check.table import REQUIREMENTS, Requirement
from acp_check.trial import Subject
from connector.environment import inherited
from tests.e2e.conformance.requirements import AGENT_RULES, WIRE_RULES
from tests.e2e.conformance.requirements import REQUIREMENTS as LISTED

AGENTS = Path(__file__).parents[2] / "fixtures/agents"
LIMITS = Limits(start=20, session=5, answer=2, turn=2.5, end=1.2, quiet=0.03, row=30, total=120)
FULL = os.environ.get("FAULTS") == "full"
AT_ONCE = 4
LEVELS = {"M": "mandatory", "C": "conditional", "A": "advisory", "I": "info"}

# What cannot be wrong without the other being wrong too.
TOGETHER = {
    "INIT-001": {"INIT-002", "SCHEMA-001"},
    "INFO-PARSE": {"FRAME-08"},
    "SESSION-002": {"RULE-04"},
    "LOAD-003": {"RULE-11"},
    "PROMPT-001": {"SCHEMA-001"},
    "CANCEL-001": {"PERM-CANCEL", "RULE-07"},
    "RULE-01": {"LOAD-001"},
    "RULE-05": {"CLOSE-002", "RULE-36"},
    "JSONRPC-001": {"FRAME-09"},
    "JSONRPC-003": {"FRAME-10"},
    "TRANSPORT-001": {"STDERR"},
    "LIST-001": {"DELETE-001"},
    "PERM-CANCEL": {"RULE-07"},
    "children": {"SHUTDOWN-001", "END-TURN", "END-TERM", "END-TERM-TURN", "END-UNREAD"},
}

# Rows that share one process and see most of what an agent does.
SAMPLE = (
    *("INIT-002", "JSONRPC-001", "FRAME-10", "SESSION-002", "DELETE-002", "MODES-002", "PROMPT-001", "CANCEL-001"),
    *("TRANSPORT-001", "JSONRPC-002", "SCHEMA-001", "SCHEMA-002", "CANCEL-002", "RULE-12"),
)


def faults() -> list[str]:
    """The names in the table of `unsound.py`."""
    sys.path.insert(0, str(AGENTS))
    try:
        return list(import_module("unsound").FAULTS)
    finally:
        sys.path.remove(str(AGENTS))


def subject(directory: Path, *words: str, endless_mib: float = 0) -> Subject:
    """One of the agents, keeping its sessions in `directory`."""
    directory.mkdir()
    argv = [sys.executable, "-S", *words, str(directory)]
    return Subject(argv, inherited(), sign_in="key", line_mib=1, endless_mib=endless_mib, limits=LIMITS)


def rows_for(fault: str) -> list[Requirement]:
    """All of them; in a sample what should break, and a few that should not."""
    wanted = {fault, *TOGETHER.get(fault, ()), *SAMPLE}
    return [it for it in chosen() if FULL or it.id in wanted]


@pytest.fixture(scope="module")
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Finding]]:
    """What the kit says of each broken agent that is asked for here, a few at a time."""
    params = [getattr(it, "callspec", None) for it in request.session.items]
    wanted = [it.params["fault"] for it in params if it is not None and "fault" in it.params]
    directory = tmp_path_factory.mktemp("broken")
    results: dict[str, list[Finding]] = {}

    async def one(fault: str, slots: anyio.CapacityLimiter) -> None:
        async with slots:
            endless = 40 if fault == "FRAME-07" else 0
            agent = subject(directory / fault, str(AGENTS / "unsound.py"), fault, endless_mib=endless)
            results[fault] = await check(agent, rows_for(fault))

    async def all_of_them() -> None:
        slots = anyio.CapacityLimiter(AT_ONCE)
        async with anyio.create_task_group() as tasks:
            for fault in wanted:
                tasks.start_soon(one, fault, slots)

    anyio.run(all_of_them)
    return results


@pytest.mark.parametrize("fault", faults())
def test_a_fault_breaks_its_requirement_and_no_other(fault: str, found: dict[str, list[Finding]]):
    tried = {it.id for it in found[fault]}
    expected = ({fault} | TOGETHER.get(fault, set())) & tried
    broken = {it.id: it.why for it in found[fault] if it.outcome == "broken"}
    assert broken.keys() == expected, broken
    assert all(broken.values()), "each says why"


def test_every_requirement_has_an_agent_that_breaks_it():
    assert sorted(REQUIREMENTS.keys() - {"STDERR"} - set(faults())) == []
    assert "STDERR" in TOGETHER["TRANSPORT-001"]


async def test_nothing_is_found_in_a_sound_agent(tmp_path: Path):
    agent = subject(tmp_path / "kept", str(AGENTS / "sound.py"), endless_mib=40)
    findings = await check(agent, chosen())
    others = {it.id: it.outcome for it in findings if it.outcome != "met"}
    assert others == {"PROMPTCAP-002": "not offered"}, findings
    assert [it.id for it in findings] == list(REQUIREMENTS)


def test_every_id_of_the_official_kit_is_tried_at_its_level():
    assert {name: LEVELS[level] for name, (level, _) in LISTED.items()}.items() <= {
        name: it.level for name, it in REQUIREMENTS.items()
    }.items()


def test_every_rule_for_agents_and_the_wire_is_shown_by_a_row():
    shown = {f"rule {rule}" for it in REQUIREMENTS.values() for rule in it.rules}
    assert sorted({*AGENT_RULES, *WIRE_RULES} - shown) == []
    assert sorted(shown - {*AGENT_RULES, *WIRE_RULES}) == []
