"""`ars check` as a person or a pipeline runs it: exit codes, the table, the JSON, and agents that would hang it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from acp_check.run import chosen

AGENTS = Path(__file__).parents[2] / "fixtures/agents"
ARS = str(Path(sys.executable).parent / "ars")
PYTHON = (sys.executable, "-S")
QUICK = ("--patience", "1", "--turn-patience", "2", "--start-patience", "10", "--line-mib", "1", "--sign-in", "key")


def ars(*words: str, limit: float = 60) -> subprocess.CompletedProcess[str]:
    """Runs it to its end."""
    return subprocess.run([ARS, "check", *words], capture_output=True, text=True, timeout=limit, cwd=AGENTS)


def test_what_is_met_is_a_table_a_summary_and_exit_code_0(tmp_path: Path):
    ran = ars(*QUICK, "--only", "INIT", "--skip", "INIT-TWICE", "--", *PYTHON, "sound.py", str(tmp_path))
    *rows, summary = ran.stdout.splitlines()
    assert [row.split()[0] for row in rows] == ["INIT-001", "INIT-002", "INIT-003", "INIT-004", "INIT-EARLY"]
    assert all(row.split()[2] == "met" for row in rows)
    assert (ran.returncode, summary, ran.stderr) == (0, "5 met, 0 broken: met", "")


def test_what_is_broken_says_what_came_and_has_exit_code_2(tmp_path: Path):
    ran = ars(*QUICK, "--json", "--only", "INIT-003", "--", *PYTHON, "unsound.py", "INIT-003", str(tmp_path))
    told = json.loads(ran.stdout)
    assert (ran.returncode, told["verdict"]) == (2, "broken")
    (finding,) = told["findings"]
    assert (finding["outcome"], "version 999 was sent" in finding["why"]) == ("broken", True)
    assert told["subject"].endswith(f"unsound.py INIT-003 {tmp_path}")


def test_what_is_mandatory_and_was_not_seen_has_exit_code_3(tmp_path: Path):
    ran = ars(*QUICK, "--no-turns", "--only", "PROMPT-001", "--", *PYTHON, "sound.py", str(tmp_path))
    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (3, "0 met, 0 broken, 1 not seen: not all seen")
    assert "no prompts are sent" in ran.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "which agent?"),
        (("--", "no-such-agent-anywhere"), "cannot start `no-such-agent-anywhere`"),
        (("--only", "NOPE", "--", "ars"), "no requirement's id begins with 'NOPE'"),
        (("--env", "NOPE", "--", "ars"), "--env wants NAME=VALUE"),
        (("--cwd", "/nowhere", "--", "ars"), "/nowhere is no directory"),
        (("--patience", "0", "--", "ars"), "more than 0"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_1(words: tuple[str, ...], said: str):
    ran = ars(*words)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert said in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_the_list_names_every_requirement_and_starts_nothing():
    ran = ars("--list")
    assert [line.split()[0] for line in ran.stdout.splitlines()] == [it.id for it in chosen()]
    told = json.loads(ars("--list", "--json", "--only", "FRAME").stdout)
    assert {it["id"][:5] for it in told} == {"FRAME"}
    assert told[0].keys() == {"id", "level", "title", "turns", "rules"}


def test_the_agent_gets_what_is_named_and_a_home_of_its_own(tmp_path: Path):
    agent = tmp_path / "agent.py"
    agent.write_text(
        "import json, os, sys\n"
        "told = ' '.join(os.environ.get(name, '-') for name in ('GIVEN', 'PASSED', 'KEPT', 'HOME'))\n"
        "info = {'name': told, 'version': '1'}\n"
        "result = {'protocolVersion': 1, 'agentInfo': info}\n"
        "for line in sys.stdin:\n"
        "    print(json.dumps({'jsonrpc': '2.0', 'id': json.loads(line)['id'], 'result': result}), flush=True)\n"
    )
    words = ("--env", "GIVEN=a", "--pass-env", "PASSED", "--scratch-home", "--json", "--only", "INIT-004", *QUICK)
    environment = {**os.environ, "PASSED": "b", "KEPT": "c"}
    ran = subprocess.run(
        [ARS, "check", *words, "--", sys.executable, str(agent)], capture_output=True, text=True, timeout=60,
        env=environment,
    )  # fmt: skip
    given, passed, kept, home, _ = json.loads(ran.stdout)["findings"][0]["why"].split()
    assert (given, passed, kept) == ("a", "b", "-")
    assert home not in (os.environ.get("HOME"), "-")
    assert not Path(home).exists()


SILENT = "import sys; sys.stdin.read()"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
GONE = "raise SystemExit('no key was found')"
LOUD = "import os\nwhile True: os.write(1, b'noise ' * 1000)"


@pytest.mark.parametrize("program", [SILENT, DEAF, GONE, LOUD], ids=["silent", "deaf", "gone", "loud"])
def test_an_agent_that_never_answers_ends_the_run_soon_and_nothing_of_it_is_left(program: str, tmp_path: Path):
    began = time.monotonic()
    marked = f"# {tmp_path}\n{program}"
    words = ("--patience", "1", "--start-patience", "1", "--timeout", "20", "--json")
    ran = ars(*words, "--", sys.executable, "-c", marked)
    assert time.monotonic() - began < 30
    told = {it["id"]: it for it in json.loads(ran.stdout)["findings"]}
    assert ran.returncode == 2
    assert told["INIT-001"]["outcome"] == "broken"
    assert told["SESSION-001"]["outcome"] == "not seen"
    if program is GONE:
        assert "exit status 1; stderr ends: no key was found" in told["INIT-001"]["why"]
    assert not running(str(tmp_path))


def running(mark: str) -> list[str]:
    """The commands of processes with that text in their arguments; only Linux can tell."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc") if sys.platform.startswith("linux") else []):
        try:
            command = Path("/proc", pid, "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue  # it is gone
        if mark in command and int(pid) != os.getpid():
            found.append(command)
    return found
