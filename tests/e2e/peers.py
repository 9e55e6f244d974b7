"""What the tests with foreign clients share: where the programs are, how they are run, what they said on the wire."""

import asyncio
import contextlib
import json
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from fixtures.model_server import ModelServer
from tests.gateway.host import TOKEN, program
from tests.support.schema import WireCheck

AGENT = str(Path(sys.executable).parent / "ars-acp")
TAP = Path(__file__).with_name("tap.py")
# How an agent can be reached: on its stdin and stdout, or by either profile of the remote transport.
WAYS = ("stdio", "http", "ws")
Said = list[tuple[str, dict[str, Any]]]


def tapped(record: Path) -> list[str]:
    """The command of an agent whose every message is written to `record`."""
    return [sys.executable, str(TAP), str(record), AGENT]


@contextlib.asynccontextmanager
async def reached(way: str, record: Path, env: dict[str, str]) -> AsyncIterator[tuple[list[str], dict[str, str]]]:
    """How a client gets to the agent, and with which environment: as its child, or over the network, at an address that
    wants the bearer token in TOKEN."""
    if way == "stdio":
        yield tapped(record), env
        return
    state = record.with_name("state")
    state.mkdir(mode=0o700, exist_ok=True)
    # The tap is no agent that the gateway knows.
    chosen = {"agents": {"main": {"command": shlex.join(tapped(record)), "env": env}}}
    (state / "config.json").write_text(json.dumps({**chosen, "gateway": {"remoteAgents": ["main"]}}))
    (state / "config.json").chmod(0o600)
    async with program(state) as gateway:
        yield [f"{way}://127.0.0.1:{gateway.port}/acp"], {**env, "TOKEN": TOKEN}
        log = record.with_name("gateway.log").read_text()
        assert '"level": "error"' not in log, log


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


def answers(said: Said, method: str) -> list[Any]:
    """The results of a client's requests of one method, in the order of the answers."""
    # One connection after the other may have used the same ids.
    asked: dict[Any, str] = {}
    found = []
    for who, message in said:
        if who == "client" and "id" in message and "method" in message:
            asked[message["id"]] = message["method"]
        elif who == "agent" and "method" not in message and asked.pop(message["id"], None) == method:
            found += [message["result"]] if "result" in message else []
    return found


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


class Running:
    """A program that runs; what it prints on stdout is kept."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self.child = child
        self.out = ""

    async def shows(self, text: str, seconds: float = 20) -> None:
        """Waits until it has printed that. Raises TimeoutError."""
        assert self.child.stdout is not None
        with anyio.fail_after(seconds):
            while text not in self.out:
                data = await self.child.stdout.read(1 << 16)
                assert data, f"it ended with {await self.child.wait()} and had printed {self.out!r}"
                self.out += data.decode()

    async def wait(self, seconds: float = 20) -> int:
        """Its exit code. Raises TimeoutError."""
        assert self.child.stdout is not None
        with anyio.fail_after(seconds):
            self.out += (await self.child.stdout.read()).decode()
            return await self.child.wait()


@contextlib.asynccontextmanager
async def running(*command: str, cwd: Path, env: dict[str, str]) -> AsyncIterator[Running]:
    """Starts a program, and kills it in the end unless it has ended."""
    child = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        yield Running(child)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
