"""A crew on mock agents: each role has its own, in the shape of some vendor, and that writes down what it is told."""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio

from connector import Client, Limits, Supervisor, testing
from connector.crew import Agents, Crew, Role, open_crew
from event_log import Store
from event_log.stores.memory import MemoryStore
from tests.connector.programs import MEASURED

QUICK = Limits(initialize=20, session=20, cancel=2, late=0.05)
# "Bob-1.", "Bob-2." and so on.
COUNTING = "".join(f"=== turn\nsay: $name-{number}.\n" for number in range(1, 9))
LIKE = ("qwen", "gemini", "opencode", "codex")


@dataclass
class Mocks:
    """The roles of a crew and their agents. `scripts` is, by role, what its agent does; `place` where it keeps that."""

    place: Path
    scripts: dict[str, str]
    more: dict[str, dict[str, Any]]
    env: dict[str, str] = field(default_factory=dict)

    @property
    def roles(self) -> list[Role]:
        return [Role(name, name, f"You are {name}.", **self.more.get(name, {})) for name in self.scripts]

    def heard(self, role: str) -> list[str]:
        """What the role's model was told in its whole session, prompt by prompt."""
        return [] if not self._file(role, "heard").exists() else self._lines(role)[-1]

    @contextlib.asynccontextmanager
    async def agents(self, store: Store) -> AsyncIterator[Agents]:
        """All of them, supervised."""
        async with Supervisor(store=store) as supervisor:
            self.add(supervisor)
            yield Agents(supervisor)

    def add(self, supervisor: Supervisor) -> None:
        """Starts them, under the names of their roles."""
        for like, (name, script) in zip(LIKE, self.scripts.items(), strict=False):
            self._file(name, "script").write_text(script.replace("$name", name))
            options = [word for kind in ("heard", "store") for word in (f"--{kind}", str(self._file(name, kind)))]
            row = testing.mock_agent(like, self._file(name, "script"), options)
            row = replace(row, env={**row.env, **MEASURED, **self.env})
            supervisor.add(name, row, Client(), cwd=str(self.place), limits=QUICK)

    def _lines(self, role: str) -> list[Any]:
        return [json.loads(line) for line in self._file(role, "heard").read_text().splitlines()]

    def _file(self, role: str, kind: str) -> Path:
        return self.place / f"{role}.{kind}"


@contextlib.asynccontextmanager
async def crew_of(
    place: Path,
    scripts: dict[str, str],
    *,
    store: Store | None = None,
    roles: dict[str, dict[str, Any]] | None = None,
    env: dict[str, str] | None = None,
    **more: Any,
) -> AsyncIterator[tuple[Crew, Mocks]]:
    """A crew whose roles do what their scripts say; `roles` is what else the roles are, `more` goes to `open_crew`."""
    mocks, store = Mocks(place, scripts, roles or {}, env or {}), store or MemoryStore()
    with anyio.fail_after(30):
        async with (
            mocks.agents(store) as agents,
            open_crew(agents, store, "chat", mocks.roles, cwd=str(place), **more) as crew,
        ):
            yield crew, mocks
