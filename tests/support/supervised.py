"""A supervised agent that ends when it is told to (`fixtures/agents/mortal.py`), and what is told of it."""

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from connector import VENDORS, Client, Command, Limits, Supervised, Supervisor
from tests.support.parrot import AGENTS

# No test waits for a back-off that it is not about, nor for late updates.
QUICK = Limits(initialize=20, session=20, turn=30, late=0.0, probe=None)
Event = tuple[str, dict[str, Any]]


class Mortal:
    """The supervised agent, its supervisor, its events, and the directory in which it remembers."""

    def __init__(self, supervisor: Supervisor, agent: Supervised, home: Path, timed: list[tuple[float, Event]]) -> None:
        self.supervisor = supervisor
        self.agent = agent
        self.home = home
        self._timed = timed

    @property
    def events(self) -> list[Event]:
        """Everything that was told so far."""
        return [event for _, event in self._timed]

    def states(self) -> list[str]:
        """The states so far."""
        return [fields["state"] for name, fields in self.events if name == "agent.state"]

    def told(self, name: str) -> list[dict[str, Any]]:
        """The events of that name."""
        return [fields for found, fields in self.events if found == name]

    def when(self, state: str) -> float:
        """When it came to that state first, by the clock of `time.monotonic`."""
        return next(at for at, (name, fields) in self._timed if name == "agent.state" and fields["state"] == state)

    def waits(self) -> list[float]:
        """How long each back-off took."""
        found: list[float] = []
        since = 0.0
        for at, (name, fields) in self._timed:
            if name == "agent.state" and fields["state"] == "backoff":
                since = at
            elif name == "agent.state" and fields["was"] == "backoff":
                found.append(at - since)
        return found

    def starts(self) -> list[tuple[int, float]]:
        """The processes so far: their ids, and when each began."""
        lines = (self.home / "starts").read_text().splitlines()
        return [(int(pid), float(at)) for pid, at in (line.split() for line in lines)]

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Sends a signal to the process that there is."""
        pid = self.agent.status().pid
        assert pid is not None
        os.kill(pid, number)


def command(home: Path, **told: Any) -> Command:
    """The agent: `keeps`, `dies`, `hangs` as it takes them."""
    return Command("mortal", [sys.executable, "-S", str(AGENTS / "mortal.py"), json.dumps({"dir": str(home), **told})])


@contextlib.asynccontextmanager
async def mortal(
    home: Path, *, limits: Limits = QUICK, told: dict[str, Any] | None = None, like: str = "", **more: Any
) -> AsyncIterator[Mortal]:
    """`told` is what the agent is told to do, `like` the vendor whose row it has."""
    timed: list[tuple[float, Event]] = []
    kept = {name: more.pop(name) for name in ("most_spares", "spare_idle") if name in more}
    async with Supervisor(
        on_event=lambda name, fields: timed.append((time.monotonic(), (name, fields))), **kept
    ) as supervisor:
        what = command(home, **(told or {}))
        agent: Any = what
        if like:
            row = VENDORS[like]
            agent = type(row)(row.name, row.title, tuple(what.argv), quirks=row.quirks)
        yield Mortal(
            supervisor,
            supervisor.add("m", agent, more.pop("client", None) or Client(), cwd=str(home), limits=limits, **more),
            home,
            timed,
        )
