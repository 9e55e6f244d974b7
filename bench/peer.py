"""The lightest ACP client: it writes lines, reads bytes with the time at which they came, and parses afterwards."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

AGENT = str(Path(sys.executable).parent / "ars-acp")
Arrival = tuple[float, bytes]
PIECE = b"agent_message_chunk"


class Peer:
    """One agent process, `ars-acp` where no other command is named.

    Times are `time.perf_counter()`, which all processes of a Linux machine share.
    """

    def __init__(self, environment: dict[str, str], *arguments: str, command: Sequence[str] = (AGENT,)) -> None:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**kept, **environment},
            bufsize=0,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._in = self.process.stdin.fileno()
        self._out = self.process.stdout.fileno()
        self._ids = 0
        self._rest = b""

    @property
    def pid(self) -> int:
        return self.process.pid

    def send(self, method: str, params: dict[str, Any], *, notification: bool = False) -> int:
        """Writes a message and returns its id."""
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params}
        if not notification:
            self._ids += 1
            message["id"] = self._ids
        os.write(self._in, orjson.dumps(message) + b"\n")
        return self._ids

    def until(self, *answered: int) -> list[Arrival]:
        """Everything that arrives until all these requests have their answers."""
        wanted = {b'"id":%d' % request_id for request_id in answered}
        arrivals: list[Arrival] = []
        while wanted:
            data = os.read(self._out, 1 << 20)
            assert data, f"the agent ended with {self.process.wait()}"
            arrivals.append((time.perf_counter(), data))
            # Answers are short and updates carry no id: a line is searched only where one can be.
            tail = self._rest + data
            wanted = {mark for mark in wanted if not _answers(tail, mark)}
            self._rest = tail[tail.rfind(b"\n") + 1 :][-4096:]
        return arrivals

    def call(self, method: str, params: dict[str, Any]) -> tuple[dict[str, Any], list[Arrival]]:
        """Sends a request; its answer, and everything that came until then."""
        request_id = self.send(method, params)
        arrivals = self.until(request_id)
        message = next(it for it in messages(arrivals) if it.get("id") == request_id and "method" not in it)
        assert "error" not in message, message
        return message["result"], arrivals

    def initialize(self) -> float:
        """Shakes hands and returns when the answer came."""
        _, arrivals = self.call("initialize", {"protocolVersion": 1, "clientCapabilities": {}})
        return arrivals[-1][0]

    def new_session(self) -> str:
        result, _ = self.call("session/new", {"cwd": "/", "mcpServers": []})
        session_id: str = result["sessionId"]
        return session_id

    def prompt(self, session_id: str, text: str = "go") -> list[Arrival]:
        """Sends a prompt; everything that came until its answer."""
        return self.call("session/prompt", prompt_params(session_id, text))[1]

    def close(self) -> float:
        """Closes stdin and returns how long the process took to end, in seconds."""
        assert self.process.stdin is not None
        began = time.perf_counter()
        self.process.stdin.close()
        while os.read(self._out, 1 << 20):
            pass
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return time.perf_counter() - began

    def cpu(self) -> float:
        """CPU seconds that the process has used, all threads."""
        total = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def pss(self) -> float:
        """Proportional resident memory, in MB of 1,000,000 bytes."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e6

    def descriptors(self) -> int:
        """How many files, pipes and sockets the process has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))


def prompt_params(session_id: str, text: str) -> dict[str, Any]:
    """The params of a prompt of one text."""
    return {"sessionId": session_id, "prompt": [{"type": "text", "text": text}]}


def _answers(data: bytes, mark: bytes) -> bool:
    at = data.rfind(mark)
    return at >= 0 and data[at + len(mark) : at + len(mark) + 1] in (b",", b"}")


def messages(arrivals: list[Arrival]) -> list[dict[str, Any]]:
    """The messages in what has arrived."""
    return [orjson.loads(line) for line in b"".join(data for _, data in arrivals).splitlines()]


def timed_messages(arrivals: list[Arrival]) -> list[tuple[float, dict[str, Any]]]:
    """The messages, each with the time at which its last byte came."""
    timed: list[tuple[float, dict[str, Any]]] = []
    rest = b""
    for at, data in arrivals:
        *lines, rest = (rest + data).split(b"\n")
        timed.extend((at, orjson.loads(line)) for line in lines)
    return timed


def first_update(arrivals: list[Arrival]) -> float:
    """When the first piece of a reply came; options, commands and the like do not count."""
    return next(at for at, data in arrivals if PIECE in data)


def chunks(found: list[dict[str, Any]], session_id: str) -> list[str]:
    """The texts of a session's message chunks."""
    return [
        message["params"]["update"]["content"]["text"]
        for message in found
        if message.get("method") == "session/update"
        and message["params"]["sessionId"] == session_id
        and message["params"]["update"]["sessionUpdate"] == "agent_message_chunk"
    ]
