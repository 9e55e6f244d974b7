"""What every group of benchmarks stands on: a figure, agents on a model server, and that server."""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.peer import Peer

ROOT = Path(__file__).parent.parent
TOKENS = 5000
FAST = f"mode:ok{TOKENS}"


@dataclass(frozen=True)
class Figure:
    """One row: what was measured, what is required (None: only reported), and the unit."""

    name: str
    measured: float
    required: float | None
    unit: str
    at_least: bool = False

    @property
    def met(self) -> str:
        if self.required is None:
            return ""
        good = self.measured >= self.required if self.at_least else self.measured <= self.required
        return "met" if good else "NOT MET"


class Bench:
    """A model server, and agents that use it."""

    def __init__(self, port: int, home: Path, runs: int) -> None:
        self.runs = runs
        self.sessions = home / ".local/state/ars-acp/sessions"
        self._environment = {
            "HOME": str(home),
            "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
            "OPENAI_API_KEY": "sk-bench-not-a-real-key",
        }

    def environment(self, mode: str) -> dict[str, str]:
        """What an agent needs whose model is the server in that mode."""
        return {**self._environment, "OPENAI_MODEL": mode}

    @contextmanager
    def agent(self, mode: str, *arguments: str) -> Iterator[Peer]:
        """An agent after `initialize`, whose model is the server in that mode."""
        peer = Peer({**self._environment, "OPENAI_MODEL": mode}, *arguments)
        try:
            peer.initialize()
            yield peer
        finally:
            peer.process.kill()
            peer.process.wait()

    def median(self, once: Callable[[], float]) -> float:
        """The median of several runs of `once`."""
        return statistics.median(once() for _ in range(self.runs))

    def spawn(self) -> Peer:
        """An agent that was only started."""
        return Peer({**self._environment, "OPENAI_MODEL": FAST})


def warmed(peer: Peer) -> str:
    """A session in which one prompt has been answered."""
    session = peer.new_session()
    peer.prompt(session)
    return session


@contextmanager
def model_server() -> Iterator[int]:
    """The fixture's model server in a process of its own; its port."""
    command = [sys.executable, "-m", "fixtures.model_server", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as server:
        assert server.stdout is not None
        try:
            yield json.loads(server.stdout.readline())["port"]
        finally:
            server.kill()
