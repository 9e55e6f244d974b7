"""`--name`: a conversation that goes on from one command to the next."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ars_cli.exits import USAGE
from tests.cli.terminal import argv, environment

pytestmark = pytest.mark.e2e


def mock(cwd: Path, offers: str = "load,resume") -> str:
    """An agent that says back all that it was told in its session."""
    return shlex.join([sys.executable, "-m", "connector.testing", "--store", str(cwd / "mock"), "--offers", offers])


def ars(cwd: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command, env = argv(*args, "--cwd", str(cwd)), environment(cwd)
    return subprocess.run(command, input="", capture_output=True, text=True, env=env, timeout=60, check=False)


def events(ran: subprocess.CompletedProcess[str]) -> list[Any]:
    return [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.mark.parametrize("offers", ["load", ""])
def test_a_named_conversation_goes_on_with_the_next_command(tmp_path: Path, offers: str) -> None:
    agent = mock(tmp_path, offers)
    first, *_ = events(ars(tmp_path, "run", "--json", "--name", "work", agent, "one"))
    assert first["conversation"] == {"name": "work", "how": "new", "turns": 0, "interrupted": False, "unsent": []}
    second, *_, end = events(ars(tmp_path, "run", "--json", "--name", "work", agent, "two"))
    how = "loaded" if offers else "recreated"
    assert (second["conversation"]["how"], second["conversation"]["turns"]) == (how, 1)
    assert end["text"].split()[:2] == ["You", "said:"]
    assert "one" in end["text"]
    assert end["text"].endswith("two")
    shown = ars(tmp_path, "chat", "--name", "work", "--agent", agent, "three").stdout
    assert "work goes on, 2 turns so far" in shown
    assert ("no longer has this conversation" in shown) == (not offers)
    assert "two" in shown


def test_only_one_command_at_a_time_has_a_conversation(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("=== turn\nsay: Here.\nhang\n")
    agent = f"{mock(tmp_path)} --script {tmp_path / 'script'}"
    command = argv("run", "--json", "--name", "work", agent, "one", "--cwd", str(tmp_path))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(tmp_path)) as running:
        assert running.stdout is not None
        while '"update"' not in running.stdout.readline():
            pass
        refused = ars(tmp_path, "run", "--name", "work", agent, "two")
        assert refused.returncode != 0
        assert f"the conversation 'work' is held by another application (pid {running.pid} " in refused.stderr
        running.kill()
    third, *_ = events(ars(tmp_path, "run", "--json", "--name", "work", mock(tmp_path), "three"))
    assert third["conversation"]["interrupted"]


def test_a_name_is_not_empty_and_not_for_what_is_thrown_away(tmp_path: Path) -> None:
    for args in (["run", "--name", " ", mock(tmp_path), "x"], ["chat", "--demo", "--name", "x"]):
        command = argv(*args)
        ran = subprocess.run(
            command, input="", capture_output=True, text=True, env=environment(tmp_path), timeout=60, check=False
        )
        assert (ran.returncode, "name" in ran.stderr) == (USAGE, True)
