"""The process itself: what it was started with, and how it ends."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from ars_acp.session import opening_entry
from event_log.stores import open_store
from tests.support.process import ARS_ACP, agent, script

pytestmark = pytest.mark.e2e
LINES = [
    {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": 1}},
    {"jsonrpc": "2.0", "id": 2, "method": "session/new", "params": {"cwd": "/project", "mcpServers": []}},
    {"jsonrpc": "2.0", "id": 3, "method": "nonsense"},
]
REQUESTS = b"".join(json.dumps(line).encode() + b"\n" for line in LINES)


def run(
    directory: Path, closed: tuple[int, ...] = (), *arguments: str, env: dict[str, str] | None = None, **options: Any
) -> Any:
    """The whole life of an agent that is started with these descriptors closed."""
    play = script(directory, "=== turn repeat\nsay: ok\n")
    home = {"HOME": str(directory), "PATH": os.environ["PATH"], **(env or {})}
    # A shell would have to be told apart from its own descriptors; Python closes exactly these.
    closing = f"import os, sys; [os.close(fd) for fd in {closed}]; os.execv(sys.argv[1], sys.argv[1:])"
    argv = [sys.executable, "-c", closing, ARS_ACP, *play, *arguments]
    return subprocess.run(argv, capture_output=True, timeout=20, env=home, check=False, **options)


WHAT_IS_LOADED = """
import os, sys
from ars_acp import __main__, agent

async def tell(self):
    print(*sys.modules, file=sys.stderr, flush=True)
    os._exit(0)

agent.Agent.warm = tell  # which loads the rest, as soon as the first session was answered
__main__.main([])
"""
LATE = {
    "pydantic",
    "structlog",
    "openai",
    "aiohttp",
    "httpx",
    "mcp",
    "ars_acp.turn",
    "ars_acp.tools",
    "ars_acp.catalog",
}


def stored(directory: Path) -> str:
    """A session with one turn, in the jsonl store of that directory."""

    async def store() -> None:
        log = await open_store(f"jsonl:{directory}").create("sess_stored")
        usage = {"input": 1, "output": 2}
        log.append([opening_entry("/project", (), "ask"), {"type": "prompt", "content": [], "text": ""}])
        log.append(
            [{"type": "text", "text": "hello"}, {"type": "reply", "finish": "stop", "calls": [], "usage": usage}]
        )
        log.append([{"type": "turn", "stop": "end_turn"}])
        log.close()

    anyio.run(store)
    return "sess_stored"


@pytest.mark.parametrize("method", ["session/new", "session/load", "session/resume"])
def test_the_first_session_is_answered_before_anything_is_loaded_that_only_a_turn_needs(
    tmp_path: Path, method: str
) -> None:
    home = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "OPENAI_API_KEY": "sk-not-a-real-key"}
    home |= {"ARS_STORE": f"jsonl:{tmp_path}/sessions"}
    of = {} if method == "session/new" else {"sessionId": stored(tmp_path / "sessions")}
    session = {**LINES[1], "method": method, "params": {"cwd": "/project", "mcpServers": [], **of}}
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", WHAT_IS_LOADED], env=home, stdin=pipe, stdout=pipe, stderr=pipe) as it:
        it.stdin.write(b"".join(json.dumps(line).encode() + b"\n" for line in (LINES[0], session)))
        it.stdin.flush()
        it.wait(20)
        assert [answer["id"] for answer in answers(it.stdout.read()) if "result" in answer] == [1, 2]
        loaded = set(it.stderr.read().decode().split())
    assert "ars_acp.session" in loaded
    assert not LATE & loaded


LOADED_WHEN_QUIET = """
import os, sys
from ars_acp import __main__, warming

loads = warming.Warming.load

async def tell(self, *of):
    await loads(self, *of)
    print(*sys.modules, file=sys.stderr, flush=True)
    os._exit(0)

warming.QUIET_SECONDS = 0.05
warming.Warming.load = tell
__main__.main([])
"""


@pytest.mark.parametrize("times", [1, 2])
def test_an_agent_that_nobody_asks_for_a_session_loads_what_a_turn_needs(tmp_path: Path, times: int) -> None:
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "OPENAI_API_KEY": "sk-not-a-real-key"}
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", LOADED_WHEN_QUIET]
    with subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, stderr=pipe) as it:
        it.stdin.write(times * (json.dumps(LINES[0]).encode() + b"\n"))
        it.stdin.flush()
        it.wait(20)
        assert len(answers(it.stdout.read())) == times
        loaded = set(it.stderr.read().decode().split())
    assert loaded >= LATE - {"httpx", "mcp"} | {"ars_acp.models.endpoint", "ars_acp.commands"}


def answers(output: bytes) -> list[Any]:
    """The answers among all that was written."""
    return [it for it in map(json.loads, output.splitlines()) if "id" in it]


@pytest.mark.parametrize("requests", [REQUESTS, REQUESTS[:-1]], ids=["whole", "without a last newline"])
def test_every_request_is_answered_when_stdin_ends_right_behind_it(tmp_path: Path, requests: bytes) -> None:
    ended = run(tmp_path, input=requests)
    assert [("result" in it, it["id"]) for it in answers(ended.stdout)] == [(True, 1), (True, 2), (False, 3)]
    assert ended.returncode == 0


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)], ids=str)
def test_a_descriptor_that_is_closed_at_the_start_is_as_good_as_dev_null(tmp_path: Path, closed: tuple[int]) -> None:
    ended = run(tmp_path, closed, "--log-file", str(tmp_path / "log"), input=REQUESTS)
    assert ended.returncode == 0
    assert len(answers(ended.stdout)) == (0 if {0, 1} & set(closed) else 3)
    assert ended.stderr == b""


@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONWARNINGS": "error"},
        {"PYTHONOPTIMIZE": "2"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"HOME": os.devnull},
    ],
    ids=lambda env: next(iter(env)),
)
def test_what_the_environment_says_to_other_programs_changes_nothing(tmp_path: Path, env: dict[str, str]) -> None:
    ended = run(tmp_path, env={**env, "ARS_STORE": f"jsonl:{tmp_path}/sessions"}, input=REQUESTS)
    assert ended.stdout.count(b'"result"') == 2
    assert ended.returncode == 0


def test_an_error_is_not_told_on_the_wire_where_there_is_no_stderr(tmp_path: Path) -> None:
    ended = run(tmp_path, (2,), "--store", "nonsense:", stdin=subprocess.DEVNULL)
    assert (ended.returncode, ended.stdout) == (1, b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_first_signal_ends_the_turn_in_order_and_more_of_them_change_nothing(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with agent(tmp_path, *script(tmp_path, "=== turn\nsay: begun\nwait 60\n")) as client:
        turn = client.begin_turn(await client.new_session(), "go")
        await turn.shows("agent_message_chunk")
        for _ in range(3):
            os.kill(client.pid, number)
        assert (await turn.end()).stop == "cancelled"
        while client.ended is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(client.pid, number)
            await client.nothing_for(0.001)
        assert client.ended.code == 130
        assert "Traceback" not in client.log_text()
