"""`python -m tests.connector.crew.runner DIRECTORY N`: a crew at work in a process that kills itself at the Nth thing
that happens in it: an entry of the crew's log, or one of the records of its roles' sessions. It prints how many there
were, where N is 0.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.abc

from connector import Session
from connector.crew import Agents, Crew, Role, open_crew, parallel, sequential
from connector.stored import keeping
from tests.connector.crew.support import Mocks

# The agent is at work for a moment before anything is seen of it, and between two words.
WORKING = "".join(f"=== turn\nwait 0.05\nsay: $name\nwait 0.02\nsay: -{number}.\n" for number in range(1, 9))
ROUNDS = {"One.": sequential, "Two.": parallel, "Three.": sequential}


def mocks(place: Path) -> Mocks:
    return Mocks(place, dict.fromkeys(("Ann", "Bob"), WORKING), {})


class Watched:
    """Sessions whose records are watched."""

    def __init__(self, agents: Agents, tasks: anyio.abc.TaskGroup, happened: Any) -> None:
        self._agents = agents
        self._tasks = tasks
        self._happened = happened
        self._watched: set[str] = set()

    async def ensure(self, role: Role, name: str, cwd: str) -> Session:
        session = await self._agents.ensure(role, name, cwd)
        if role.name not in self._watched:
            self._watched.add(role.name)
            self._tasks.start_soon(self._watch, session)
        return session

    async def _watch(self, session: Session) -> None:
        async for _ in session.record.follow():
            self._happened()


async def work(crew: Crew) -> None:
    """What is left of the work to be done."""
    if (interrupted := crew.conversation.interrupted) is not None:
        await crew.go_on(ROUNDS[crew.log()[interrupted.first].text]).ended()
    said = {message.text for message in crew.log() if not message.by}
    for text, round in ROUNDS.items():
        if text not in said:
            await crew.say(text, round=round).ended()


async def main(place: Path, last: int) -> None:
    seen = 0

    def happened(*told: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == last:
            os.kill(os.getpid(), signal.SIGKILL)

    async with keeping(f"jsonl:{place}/store") as store, anyio.create_task_group() as tasks:
        async with mocks(place).agents(store) as agents:
            sessions = Watched(agents, tasks, happened)
            roles = mocks(place).roles
            async with open_crew(sessions, store, "chat", roles, cwd=str(place), on_entry=happened) as crew:
                await work(crew)
        tasks.cancel_scope.cancel()
    sys.stdout.write(f"{seen}\n")


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
