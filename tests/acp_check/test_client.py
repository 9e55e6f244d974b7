"""The kit for clients: a plain client meets all, and each mistake that clients make breaks exactly its rows."""

import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from acp_check.client import check_client, requirements
from acp_check.report import Finding

pytestmark = pytest.mark.e2e

CLIENTS = Path(__file__).parents[2] / "fixtures" / "clients"
RAW = (sys.executable, "-S", str(CLIENTS / "raw.py"))
DEATH = ("PROC-005", "PROC-006", "PROC-007", "PROC-008", "PROC-009", "PROC-010", "PROC-013", "PROC-014")

# What is wrong with the client -> what is tried, and of that exactly the rows that break.
WRONG: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "blank-lines,printed,odd-json,unasked,deep,64k": (
        ("LINE",),
        ("LINE-001", "LINE-003", "LINE-004", "LINE-005", "LINE-006", "LINE-007", "LINE-008", "LINE-009"),
    ),
    "decodes-pieces": (("LINE-002",), ("LINE-002",)),
    "known-updates,known-calls,text-only,strict-updates,strict-values,malformed,surrogates,strange-sessions": (
        ("UPDATE-00", "SESSION-004"),
        (*(f"UPDATE-00{number}" for number in (2, 3, 4, 5, 6, 7, 8)), "SESSION-004"),
    ),
    "news,completed,null-ids,falsy-ids": (
        ("EXT-003", "ELICIT-003", "WIRE-005", "WIRE-006"),
        ("EXT-003", "ELICIT-003", "WIRE-005", "WIRE-006"),
    ),
    "silent": (("EXT-001",), ("EXT-001",)),
    "deaf": (("EXT", "CAPS", "TURN"), ("EXT-001",)),
    "internal,malformed-accepted,own-option,made-up": (
        ("EXT", "PERM-001", "PERM-003"),
        ("EXT-002", "EXT-004", "EXT-005", "PERM-001", "PERM-003"),
    ),
    "first-option": (("PERM",), ("PERM-002", "PERM-004", "PERM-007")),
    "hides-read,no-write,hides-terminal,accepts-any,empty-form": (
        ("CAPS", "ELICIT-001", "WIRE"),
        ("CAPS-001", "CAPS-002", "CAPS-003", "CAPS-004", "CAPS-005", "ELICIT-001"),
    ),
    "visits": (("ELICIT", "CAPS-004"), ("ELICIT-002",)),
    "text-mode,from-zero,missing-internal,outside,relative,appends": (
        ("FS",),
        tuple(f"FS-00{number}" for number in range(1, 8)),
    ),
    "create-waits": (("TERM-001",), ("TERM-001",)),
    "keeps-beginning,boolean-exit,negative,kill-releases,release-leaves,any-terminal": (
        ("TERM",),
        ("TERM-002", "TERM-003", "TERM-004", "TERM-005", "TERM-006", "TERM-008", "TERM-009"),
    ),
    "shell": (("TERM-007",), ("TERM-007",)),
    "noise,nameless,own-keys,answers-news,sends-images,http-server,more-directories": (
        ("WIRE-001", "WIRE-002", "WIRE-003", "WIRE-004", "INIT-001", "INIT-002", "GATE", "EXT-003"),
        ("WIRE-001", "WIRE-003", "WIRE-004", "INIT-002", "GATE-002", "GATE-003", "GATE-004"),
    ),
    "no-servers,lists,relative-cwd": (
        ("WIRE-00", "GATE", "SESSION-001", "SESSION-002", "TURN"),
        ("WIRE-002", "GATE-001", "SESSION-001"),
    ),
    "own-session": (("SESSION-002", "TURN"), ("SESSION-002",)),
    "list-first": (("INIT-001", "GATE", "TURN"), ("INIT-001", "GATE-001")),
    "strict-answer,needs-info,any-version": (("INIT",), ("INIT-003", "INIT-004", "INIT-005")),
    "early-updates,plain-ids,known-options,known-categories,late-updates": (
        ("SESSION-003", "SESSION-005", "CONFIG", "UPDATE-009"),
        ("SESSION-003", "SESSION-005", "CONFIG-001", "CONFIG-002", "UPDATE-009"),
    ),
    "no-prompt": (("TURN", "UPDATE-001"), ("TURN-001",)),
    "backwards": (("TURN", "UPDATE-001"), ("UPDATE-001",)),
    "last-is-lost": (("TURN", "UPDATE-001"), ("UPDATE-001",)),
    "survives-as-success": (
        ("ERROR", "AUTH", *DEATH),
        ("ERROR-001", "ERROR-002", "AUTH-001", *DEATH),
    ),
    "waits-on-errors": (("ERROR", "AUTH"), ("ERROR-001", "ERROR-002", "AUTH-001")),
    "no-last-words": (DEATH, ("PROC-006", "PROC-008", "PROC-010")),
    "stderr-undrained,leaves-agent,no-environment": (
        ("PROC-001", "PROC-002", "PROC-003", "PROC-012"),
        ("PROC-001", "PROC-002", "PROC-003", "PROC-012"),
    ),
    "leaves-group": (("PROC-002", "PROC-003", "PROC-004"), ("PROC-003", "PROC-004")),
    "kills": (("PROC-011",), ("PROC-011",)),
    "cancels-request": (("CANCEL-001",), ("CANCEL-001",)),
    "deaf-after-cancel,allows-late": (("CANCEL", "PERM-005"), ("CANCEL-002", "PERM-005")),
    "asks-on": (("CANCEL", "PERM-005", "PERM-006"), ("PERM-006",)),
}
PATIENT = ("INIT-006", "CANCEL-003")
ASKING = ("allows-late", "asks-on")
# These are found out by waiting for what never comes.
HANGING = ("decodes", "silent", "waits", "undrained", "deaf", "asks-on", "falsy", "cancels-request", "own-session")


async def found(*client: str, **more: Any) -> list[Finding]:
    return await check_client(client, **{"start_patience": 40, "jobs": 2, "grace": 1.5, **more})


def broken(findings: list[Finding]) -> set[str]:
    return {it.id for it in findings if it.outcome == "broken"}


@pytest.fixture(scope="module")
def tried() -> dict[str, list[Finding]]:
    """What is found of each client that is wrong, several of them at a time: most of it is waiting."""
    results: dict[str, list[Finding]] = {}

    async def one(faults: str, limiter: anyio.CapacityLimiter) -> None:
        asks = ["--ask"] if any(it in faults for it in ASKING) else []
        seconds = 1.0 if any(it in faults for it in HANGING) else 5.0
        async with limiter:
            client = (*RAW, "--fault", faults, *asks, "{prompt}", "{agent_argv}")
            results[faults] = await found(*client, only=WRONG[faults][0], patience=seconds)

    async def all_of_them() -> None:
        limiter = anyio.CapacityLimiter(4)
        with anyio.fail_after(100):
            async with anyio.create_task_group() as tasks:
                for faults in WRONG:
                    tasks.start_soon(one, faults, limiter)

    anyio.run(all_of_them)
    return results


@pytest.mark.parametrize("faults", WRONG)
def test_a_mistake_breaks_its_rows_and_no_others(faults: str, tried: dict[str, list[Finding]]):
    findings = tried[faults]
    assert broken(findings) == set(WRONG[faults][1]), "\n".join(f"{it.id} {it.outcome}: {it.why}" for it in findings)


def test_every_requirement_can_be_broken():
    shown = {row for _, rows in WRONG.values() for row in rows} | set(PATIENT)
    assert {it.id for it in requirements()} == shown


async def test_a_plain_client_meets_all_but_what_needs_more_than_posix():
    with anyio.fail_after(60):
        findings = await found(*RAW, "{prompt}", "{agent_argv}", patience=5.0, shows_text=True)

    assert broken(findings) == {"PROC-004"}
    assert {it.id for it in findings if it.outcome == "not seen"} == {"PERM-005", "INIT-006", "CANCEL-003"}
    assert [it.id for it in findings] == [it.id for it in requirements()]


async def test_who_waits_for_ever_is_found_out_where_it_is_said_how_long_is_too_long():
    with anyio.fail_after(30):
        findings = await found(*RAW, "{prompt}", "{agent_argv}", only=PATIENT, silence=0.3, patience=5.0)
    assert broken(findings) == set(PATIENT)


@pytest.mark.parametrize(
    ("limit", "why"),
    [("start_patience", "it sent no prompt: still running"), ("timeout", "it never came to that")],
)
async def test_a_client_that_does_nothing_is_given_up_and_nothing_of_it_is_left(limit: str, why: str, tmp_path: Path):
    pid = tmp_path / "pid"
    with anyio.fail_after(20):
        findings = await found("sh", "-c", f"echo $$ > {pid}; trap '' TERM; sleep 600 # {{agent}}", **{limit: 2})
    assert {it.outcome for it in findings} == {"not seen"}
    assert why in next(it.why for it in findings if it.id == "TURN-001")
    assert not Path("/proc", pid.read_text().strip()).exists()


async def test_a_command_without_a_place_for_the_agent_is_a_mistake_of_whoever_asks():
    with pytest.raises(ValueError, match=r"\{agent\}"):
        await found("true")


async def test_a_command_that_cannot_be_started_is_told():
    with pytest.raises(FileNotFoundError):
        await found("no-such-client", "{agent}")


async def test_files_named_from_here_are_found_from_there_and_findings_are_told_as_they_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(CLIENTS)
    heard: list[Finding] = []
    with anyio.fail_after(20):
        findings = await found(
            sys.executable, "raw.py", "{prompt}", "{agent_argv}", only=("TURN-001",), on_finding=heard.append
        )
    assert [it.outcome for it in findings] == ["met"]
    assert [it.id for it in heard] == ["TURN-001"]
