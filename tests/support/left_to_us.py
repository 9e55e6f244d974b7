"""The real ars-acp, supervised, which leaves tools to the application; and an agent that knows nothing of all this."""

import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio

from connector import Client, Command, Connector, Limits, Session, Supervisor, ToolCall, Turn, launch
from connector.supervised import Supervised
from tests.support.parrot import AGENTS
from tests.support.waiting import until

ARS = Path(sys.executable).parent / "ars-acp"
LIMITS = Limits(initialize=30, session=30, late=0.05, cancel=5)


class Hands:
    """What the application does: `answer`, or where that is None nothing until it is cancelled or `go_on` is set."""

    def __init__(self, answer: dict[str, Any] | None) -> None:
        self.answer = answer
        self.calls: list[ToolCall] = []
        self.given_up = 0
        self.go_on = anyio.Event()

    async def __call__(self, call: ToolCall) -> dict[str, Any]:
        self.calls.append(call)
        if self.answer is None:
            try:
                await self.go_on.wait()
            except anyio.get_cancelled_exc_class():
                self.given_up += 1
                raise
        assert self.answer is not None
        return self.answer


def command(home: Path, script: str) -> Command:
    """Our own agent, whose model plays that script and whose sessions are kept in `home`."""
    (home / "model.script").write_text(script)
    argv = [str(ARS), "--script", str(home / "model.script"), "--store", f"jsonl:{home / 'store'}"]
    return Command("ars", argv, passed_on=("COVERAGE_*",))


@contextlib.asynccontextmanager
async def supervised(home: Path, script: str, hands: Hands) -> AsyncIterator[Supervised]:
    """It, kept running, with those hands."""
    with anyio.fail_after(60):
        async with Supervisor() as supervisor:
            yield supervisor.add("ars", command(home, script), Client(call=hands), cwd=str(home), limits=LIMITS)


@contextlib.asynccontextmanager
async def waiting(home: Path, script: str, tool: str) -> AsyncIterator[tuple[Supervised, Session, Turn, Hands]]:
    """It, in a turn in which it waits for a call of `tool`."""
    hands = Hands(None)
    async with supervised(home, script, hands) as agent:
        session = await agent.new_session(str(home), tools=[tool])
        turn = session.start("go")
        await until(lambda: bool(hands.calls))
        yield agent, session, turn, hands


def kill(agent: Supervised) -> None:
    """Ends its process at once."""
    pid = agent.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


@contextlib.asynccontextmanager
async def foreign(home: Path) -> AsyncIterator[Connector]:
    """An agent that has nothing but the protocol."""
    able = Command("able", [sys.executable, "-S", str(AGENTS / "able.py"), "{}"])
    with anyio.fail_after(30):
        async with launch(able, Client(call=Hands({})), cwd=str(home), limits=LIMITS) as connector:
            yield connector


def results_of(store: Path) -> list[list[str | None]]:
    """The codes of the results of each call that the model has made, in the sessions that are kept there."""
    found: dict[tuple[str, str], list[str | None]] = {}
    for file in store.rglob("*.jsonl"):
        for entry in map(json.loads, file.read_text().splitlines()):
            if entry["type"] == "reply":
                found |= {(file.name, call["id"]): [] for call in entry["calls"]}
            elif entry["type"] == "result":
                found[file.name, entry["id"]].append(entry["code"])
    return list(found.values())
