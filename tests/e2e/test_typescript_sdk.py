"""The client of the official TypeScript SDK, which is strict, drives the real executable through whole sessions."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ars_acp.models.script import Script
from fixtures.model_server import ModelServer
from tests.e2e.conftest import FIXED, git
from tests.e2e.peers import WAYS, checked, methods, reached, results, run

pytestmark = pytest.mark.e2e

NODE = Path(__file__).with_name("node")
SDK = NODE / "node_modules/@agentclientprotocol/sdk"
WORK = """\
=== turn if "Fix"
think: Look first.
call read_file {"path": "greet.py"}
--- step
call write_file
  path: greet.py
  content:
    def greet(name: str) -> str:
        return f"Hello, {name}!"
--- step
call run_command {"argv": ["python3", "-m", "unittest", "-q"]}
--- step
call prompt_user {"question": "Who?", "choices": ["Ada", "Bob"]}
--- step
say: It greets.
=== turn if "Wait"
say: I begin.
wait 60
=== turn if "Go on"
say: I go on.
"""
REQUESTS = {
    "initialize",
    "session/new",
    "session/prompt",
    "session/cancel",
    "session/load",
    "session/resume",
    "session/list",
    "session/close",
    "session/delete",
}


class Told:
    """What the script has printed."""

    def __init__(self, out: str) -> None:
        self._lines: list[tuple[str, Any]] = [tuple(json.loads(line)) for line in out.splitlines()]

    def all(self, name: str) -> list[Any]:
        return [value for it, value in self._lines if it == name]

    def __getitem__(self, name: str) -> Any:
        (value,) = self.all(name)
        return value


@pytest.fixture
def node() -> str:
    """Node, where the SDK is."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("*** NO NODE HERE: NOTHING IS TESTED WITH THE TYPESCRIPT SDK ***")
    if not SDK.exists():
        pytest.fail("the TypeScript SDK is not there: run `make node`, or `make test`, which does")
    return found


def of_replay(update: dict[str, Any]) -> tuple[str, str]:
    content = update.get("content")
    return update["sessionUpdate"], content["text"] if isinstance(content, dict) else update.get("status", "")


@pytest.mark.parametrize("way", WAYS)
async def test_two_connections_do_all_that_there_is(
    way: str, node: str, model: ModelServer, project: Path, endpoint: dict[str, str], tmp_path: Path
):
    model.script = Script.parse(WORK)
    record = tmp_path / "wire.jsonl"

    async with reached(way, record, endpoint) as (command, env):
        ran = await run(node, str(NODE / "client.mjs"), *command, cwd=project, env=env, seconds=60)

    assert ran.code == 0, ran.err
    told = Told(ran.out)
    # The first connection: files, a command, permission, a form.
    assert told["prompted"]["stopReason"] == "end_turn"
    assert told.all("permission") == ["Write greet.py", "python3 -m unittest -q"]
    assert told["form"] == ["answer"]
    assert (project / "greet.py").read_text() == FIXED
    assert git(project, "status", "--short") == " M greet.py\n"
    assert told.all("terminals")[0] == [{"released": True, "exitCode": 0, "signal": None}]
    # Cancel, close, errors.
    assert told["cancelled"]["stopReason"] == told["closed turn"]["stopReason"] == "cancelled"
    assert told["unknown"] == -32002
    # Modes and options, each as they were offered.
    opened = told["opened"]
    modes = [it["id"] for it in opened["modes"]["availableModes"]]
    assert {"boolean", "select"} == {it["type"] for it in opened["configOptions"]}
    assert told.all("mode") == [[it, {}] for it in modes]
    options = [it["id"] for it in opened["configOptions"]]
    assert [it for it, _ in told.all("option")] == options
    assert all([it["id"] for it in answer["configOptions"]] == options for _, answer in told.all("option"))
    # The second one: load, going on, list, delete.
    replayed = [it for it in map(of_replay, told["replayed"]) if it[0].startswith(("user_", "agent_", "tool_"))]
    assert replayed == [
        ("user_message_chunk", "Fix the greeting"),
        ("agent_thought_chunk", "Look first."),
        *[("tool_call", "completed")] * 4,
        ("agent_message_chunk", "It greets."),
        ("user_message_chunk", "Wait"),
        ("agent_message_chunk", "I begin."),
    ]
    assert (told["went on"]["stopReason"], told["said"].strip()) == ("end_turn", "on.")
    assert [it["cwd"] for it in told["listed"]["sessions"]] == [str(project)]
    assert told["left"] == {"sessions": []}
    assert told.all("ended") == [0, 0]
    said = checked(record)
    assert set(methods(said, "client")) >= REQUESTS
    assert "Ada" in results(model)[-1]
