"""`ars run`: one turn for people, events for programs, what is allowed, how it ends."""

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from acp_wire import build
from tests.cli.terminal import ROOT, argv, environment, terminal

pytestmark = pytest.mark.e2e
AGENTS = ROOT / "fixtures" / "agents"


def agent(name: str, *args: str) -> str:
    return shlex.join([sys.executable, "-S", str(AGENTS / f"{name}.py"), *args])


def ars(cwd: Path, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = argv(*args, "--cwd", str(cwd))
    env = environment(cwd)
    return subprocess.run(command, input=stdin, capture_output=True, text=True, env=env, timeout=60, check=False)


def events(ran: subprocess.CompletedProcess[str]) -> list[Any]:
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_the_reply_goes_to_stdout_and_nothing_else_does(tmp_path: Path) -> None:
    for args, stdin in ((["one two"], ""), ([], "one two"), (["-"], "one two")):
        ran = ars(tmp_path, "run", agent("echo"), *args, stdin=stdin)
        assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (0, "one two", "")


def test_with_json_each_event_is_a_line(tmp_path: Path) -> None:
    first, *updates, end = events(ars(tmp_path, "run", "--json", agent("echo"), "one two"))
    assert first == {"event": "session", "agent": {"name": "fixture", "version": "1"}, "sessionId": "s1"}
    assert [it["update"]["content"]["text"] for it in updates] == ["one ", "two "]
    assert end == {"event": "end", "stopReason": "end_turn", "text": "one two "}


def test_what_comes_after_the_answer_is_shown_too_and_marked(tmp_path: Path) -> None:
    *_, late, end = events(ars(tmp_path, "run", "--json", agent("late", "0"), "x"))
    assert late["update"]["_meta"] == {"ars/late": True}
    assert end["text"] == "early x late x"
    assert "early x late x" in ars(tmp_path, "run", agent("late", "0"), "x").stdout


def steps(cwd: Path) -> str:
    """Asks for a command, then writes a file and runs a command without asking."""
    call = {"toolCallId": "t", "kind": "execute", "rawInput": {"argv": ["make", "test"]}}
    options = [build.permission_option("yes", "Yes", "allow_once"), build.permission_option("no", "No", "reject_once")]
    session = {"sessionId": "$session"}
    return json.dumps(
        [
            ["ask", "session/request_permission", {**session, "toolCall": call, "options": options}],
            ["ask", "fs/write_text_file", {**session, "path": f"{cwd}/src/a.py", "content": "x"}],
            ["ask", "terminal/create", {**session, "command": "touch", "args": ["made"]}],
        ]
    )


@pytest.mark.parametrize(
    ("allow", "allowed"),
    [
        ([], [False, False, False]),
        (["--allow", "nothing"], [False, False, False]),
        (["--allow", "once"], [True, True, True]),
        (["--allow-command", "make test"], [True, False, False]),
        (["--allow-edit", "src/*.py", "--allow-command", "touch made"], [False, True, True]),
    ],
    ids=["reads", "nothing", "once", "a command", "files and a command"],
)
def test_only_what_was_allowed_is_done_and_every_decision_is_told(
    tmp_path: Path, allow: list[str], allowed: list[bool]
) -> None:
    audit = tmp_path / "audit.jsonl"
    ran = ars(tmp_path, "run", "--json", *allow, "--audit", str(audit), agent("asks"), steps(tmp_path))
    decisions = [it for it in events(ran) if it["event"] == "decision"]
    assert [it["allowed"] for it in decisions] == allowed
    assert [json.loads(line)["allowed"] for line in audit.read_text().splitlines()] == allowed
    assert (tmp_path / "src" / "a.py").exists() == allowed[1]


def test_people_are_told_what_was_refused(tmp_path: Path) -> None:
    ran = ars(tmp_path, "run", agent("asks"), steps(tmp_path))
    assert "✗ refused: execute make test (by policy: refuse)" in ran.stdout
    assert f"✗ refused: edit {tmp_path}/src/a.py" in ran.stdout


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (["/no/such/agent", "x"], 1, "cannot start `/no/such/agent`"),
        (["", "x"], 1, "the agent's command is empty"),
        ([agent("echo"), " "], 1, "there is no prompt"),
        ([agent("able", '{"signedOut": "k"}'), "x"], 1, "Sign in first"),
        ([agent("exits", "3", "session/prompt"), "x"], 2, "the agent ended (exit status 3) during session/prompt"),
        ([agent("able"), "refuse"], 3, ""),
        ([agent("able"), "silence", "--timeout", "0.3"], 3, "within 0.3 s"),
        (["--allow", "all", "x", "y"], 1, "invalid choice"),
        ([], 1, "required"),
    ],
)
def test_the_exit_code_and_one_message_tell_how_it_went(tmp_path: Path, args: list[str], code: int, told: str) -> None:
    ran = ars(tmp_path, "run", *args)
    assert ran.returncode == code
    assert told in ran.stderr
    assert "Traceback" not in ran.stderr


def test_an_error_is_an_event_too(tmp_path: Path) -> None:
    error = events(ars(tmp_path, "run", "--json", agent("exits", "3", "session/prompt"), "x"))[-1]
    told = {key: error[key] for key in ("event", "kind", "method", "exit", "requestId")}
    assert told == {
        "event": "error",
        "kind": "AgentExited",
        "method": "session/prompt",
        "exit": "exit status 3",
        "requestId": 3,
    }


async def test_ctrl_c_cancels_the_turn(tmp_path: Path) -> None:
    args = ("run", agent("able"), "wait", "--cwd", str(tmp_path))
    async with terminal(*args, env=environment(tmp_path)) as person:
        await person.sees("begun")
        person.process.send_signal(signal.SIGINT)
        await person.sees("─ cancelled")
        assert await person.ends() == 130
