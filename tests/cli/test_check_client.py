"""`ars check-client`: what the kit for clients finds, for people and for programs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.terminal import ROOT, argv, environment

pytestmark = pytest.mark.e2e
RAW = [sys.executable, "-S", str(ROOT / "fixtures/clients/raw.py")]
FEW = ["--only", "TURN", "--only", "INIT-00", "--jobs", "2"]


def ars(home: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = argv("check-client", *args)
    return subprocess.run(command, capture_output=True, text=True, env=environment(home), timeout=60, check=False)


def test_a_good_client_is_told_in_a_table_and_ends_with_zero(tmp_path: Path):
    ran = ars(tmp_path, *FEW, "--scratch-home", "--", *RAW, "{prompt}", "{agent_argv}")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.splitlines()[0].split()[:3] == ["INIT-001", "mandatory", "met"]
    assert ran.stdout.splitlines()[-1] == "6 met, 0 broken, 1 not seen: met"
    assert ran.stderr == ""


def test_a_broken_client_is_told_in_json_and_ends_with_two(tmp_path: Path):
    ran = ars(tmp_path, *FEW, "--json", "--", *RAW, "--fault", "any-version", "{prompt}", "{agent_argv}")
    assert ran.returncode == 2, ran.stdout + ran.stderr
    told = json.loads(ran.stdout)
    assert (told["verdict"], told["counts"]["broken"]) == ("broken", 1)
    (broken,) = [it for it in told["findings"] if it["outcome"] == "broken"]
    assert (broken["id"], broken["why"]) == (
        "INIT-005",
        "the agent speaks version 65535, and was asked for session/new",
    )


def test_one_that_never_prompts_is_not_all_seen_and_ends_with_three(tmp_path: Path):
    ran = ars(tmp_path, "--only", "TURN", "--", "true", "{agent}")
    assert ran.returncode == 3, ran.stdout + ran.stderr
    assert "it sent no prompt: exit status 0" in ran.stdout


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ([], "which client?"),
        (["--", "true"], "{agent} or {agent_argv}"),
        (["--", "no-such-client", "{agent}"], "cannot start `no-such-client '{agent}'`: No such file or directory"),
        (["--only", "XYZ", "--", "true", "{agent}"], "no requirement's id begins with XYZ"),
        (["--patience", "0", "--", "true", "{agent}"], "more than 0"),
    ],
)
def test_wrong_usage_is_one_line_and_one(args: list[str], why: str, tmp_path: Path):
    ran = ars(tmp_path, *args)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert why in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_the_requirements_are_listed_without_a_client(tmp_path: Path):
    rows = ars(tmp_path, "--list").stdout.splitlines()
    assert rows[0].startswith("WIRE-001     mandatory    Each line it writes")
    listed = json.loads(ars(tmp_path, "--list", "--json", "--only", "TERM").stdout)
    assert [it["id"] for it in listed] == [f"TERM-00{number}" for number in range(1, 10)]
