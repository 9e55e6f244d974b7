"""`ars-acp` as a program: what it says of itself, wrong settings, terminals, plain files, exit codes."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ars_acp import __version__
from ars_acp.models.script import Script
from fixtures.model_server import ModelServer
from tests.e2e.hands import RealHands
from tests.e2e.peers import AGENT, run
from tests.e2e.terminal import terminal
from tests.support.process import agent

pytestmark = pytest.mark.e2e

SECRET = "sk-ключ-that-nobody-may-see"
INITIALIZE = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": 1}}


async def test_version_and_help_are_printed(environment: dict[str, str], tmp_path: Path):
    version = await run(AGENT, "--version", cwd=tmp_path, env=environment)
    usage = await run(AGENT, "--help", cwd=tmp_path, env=environment)

    assert (version.code, version.out, version.err) == (0, f"ars-acp {__version__}\n", "")
    assert (usage.code, usage.err) == (0, "")
    for word in ("login", "--mode", "--store", "--log-file", "OPENAI_API_KEY", "Exit codes"):
        assert word in usage.out


WRONG: dict[str, tuple[list[str], dict[str, str], str]] = {
    "an unknown option": (["--frobnicate"], {}, "--frobnicate"),
    "an unknown command": (["serve"], {}, "serve"),
    "an option without its value": (["--store"], {}, "--store"),
    "an unknown mode": (["--mode", "yolo"], {}, "--mode"),
    "an unknown mode in the environment": ([], {"ARS_MODE": "yolo"}, "mode"),
    "a number that is none": ([], {"ARS_STEPS_PER_TURN": "many"}, "steps_per_turn"),
    "a number out of range": ([], {"ARS_PERMISSION_SECONDS": "-1"}, "permission_seconds"),
    "a scheme that is not HTTP": ([], {"OPENAI_BASE_URL": "ftp://models.example/v1"}, "base_url"),
    "an address without a host": ([], {"OPENAI_BASE_URL": "http://"}, "base_url"),
    "a port that is none": ([], {"OPENAI_BASE_URL": "http://127.0.0.1:99999/v1"}, "base_url"),
    "a proxy that is no address": ([], {"ARS_PROXY": "garbage"}, "proxy"),
    "a key that fits no header": ([], {"OPENAI_API_KEY": SECRET}, "api_key"),
    "a store of no kind": ([], {"ARS_STORE": "sqlite:x"}, "store"),
    "a store at no place": (["--store", "jsonl:relative"], {}, "store"),
    "a script that is not there": (["--script", "missing.script"], {}, "missing.script"),
    "a script that cannot be read": (["--script", "broken.script"], {}, "line 1"),
    "a log file at no place": (["--log-file", "missing/agent.log"], {}, "log_file"),
    "a log level of no kind": (["--log-level", "loud"], {}, "--log-level"),
    "a login without a terminal": (["login"], {}, "terminal"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_wrong_setting_is_one_line_and_exit_code_1(case: str, environment: dict[str, str], tmp_path: Path):
    arguments, variables, named = WRONG[case]
    (tmp_path / "broken.script").write_text("say: too early\n")

    ran = await run(AGENT, *arguments, cwd=tmp_path, env={**environment, **variables})

    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("ars-acp: ")
    assert ran.err.count("\n") == 1
    assert named in ran.err
    assert SECRET not in ran.err


@pytest.mark.parametrize("content", ["{", "[]", '{"base_url": "nowhere"}'])
async def test_a_login_file_that_is_none_is_one_line_and_exit_code_1(
    content: str, environment: dict[str, str], tmp_path: Path
):
    path = Path(environment["HOME"]) / ".config/ars-acp/login.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)

    ran = await run(AGENT, cwd=tmp_path, env=environment)

    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)


def test_with_a_terminal_on_stdin_it_explains_itself(environment: dict[str, str]):
    with terminal(AGENT, env=environment) as it:
        assert it.ends() == 0
    assert "ars chat" in it.screen
    assert "Agent Client Protocol" in it.screen


def test_plain_files_on_stdin_and_stdout_do(environment: dict[str, str], tmp_path: Path):
    unknown = {"jsonrpc": "2.0", "id": "last", "method": "session/unheard_of"}
    (tmp_path / "in").write_text("".join(json.dumps(it) + "\n" for it in (INITIALIZE, unknown)))

    with (tmp_path / "in").open("rb") as stdin, (tmp_path / "out").open("wb") as stdout:
        ran = subprocess.run(
            [AGENT], stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, env=environment, timeout=15, check=False
        )

    assert ran.returncode == 0
    first, second = map(json.loads, (tmp_path / "out").read_text().splitlines())
    assert (first["id"], first["result"]["protocolVersion"]) == (1, 1)
    assert (second["id"], second["error"]["code"]) == ("last", -32601)


def _closes(client: Any) -> None:
    client.close_stdin()


def _is_told_to_stop(client: Any) -> None:
    os.kill(client.pid, signal.SIGTERM)


@pytest.mark.parametrize(
    ("busy", "end", "code"), [(False, _closes, 0), (True, _closes, 3), (False, _is_told_to_stop, 130)]
)
async def test_the_exit_code_says_how_it_ended(
    busy: bool,
    end: Callable[[Any], None],
    code: int,
    model: ModelServer,
    project: Path,
    endpoint: dict[str, str],
    tmp_path: Path,
):
    model.script = Script.parse("=== turn\nsay: I begin.\nwait 60")

    async with agent(tmp_path, env=endpoint, hands=RealHands(endpoint)) as client:
        session = await client.new_session(str(project))
        if busy:
            await client.begin_turn(session, "Take your time").shows("agent_message_chunk")
        end(client)
        assert (await client.gone()).code == code
