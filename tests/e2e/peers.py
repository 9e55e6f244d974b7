"""What the tests with foreign clients share: where the programs are, how they are run, what they said on the wire."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from fixtures.model_server import ModelServer
from tests.support.schema import WireCheck

AGENT = str(Path(sys.executable).parent / "ars-acp")
TAP = Path(__file__).with_name("tap.py")
Said = list[tuple[str, dict[str, Any]]]


def tapped(record: Path) -> list[str]:
    """The command of an agent whose every message is written to `record`."""
    return [sys.executable, str(TAP), str(record), AGENT]


def checked(record: Path) -> Said:
    """What a tapped agent and its client said, in order. Raises AssertionError unless all of it is proper v1."""
    check = WireCheck()
    said: Said = [tuple(json.loads(line)) for line in record.read_bytes().splitlines()]
    for sender, message in said:
        (check.sent_by_agent if sender == "agent" else check.sent_by_client)(message)
    return said


def methods(said: Said, sender: str) -> list[str]:
    """The methods that one end called."""
    return [message["method"] for who, message in said if who == sender and "method" in message]


def updates(said: Said) -> list[dict[str, Any]]:
    """What the agent reported."""
    return [message["params"]["update"] for _, message in said if message.get("method") == "session/update"]


def text_of(said: Said) -> str:
    """What the agent said to the person."""
    chunks = [it for it in updates(said) if it["sessionUpdate"] == "agent_message_chunk"]
    return "".join(chunk["content"]["text"] for chunk in chunks)


def results(model: ModelServer) -> list[str]:
    """What the model has read as results of its calls, by its last request."""
    return [it["content"] for it in model.chats()[-1].body["messages"] if it["role"] == "tool"]


@dataclass(frozen=True)
class Ran:
    """A program that has ended."""

    code: int
    out: str
    err: str


async def run(*command: str, cwd: Path, env: dict[str, str], seconds: float = 20) -> Ran:
    """Runs a program to its end. Raises TimeoutError."""
    with anyio.fail_after(seconds):
        ended = await anyio.run_process(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, check=False)
    return Ran(ended.returncode, ended.stdout.decode(), ended.stderr.decode())
