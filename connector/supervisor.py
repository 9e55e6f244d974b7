"""Named agents that are kept running, in one task group."""

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import anyio
import anyio.abc

from connector.backoff import DEFAULT, Restarts
from connector.client import Client
from connector.generation import OnEvent
from connector.launching import Agent, connector_of
from connector.limits import Limits
from connector.spares import Spares
from connector.supervised import Status, Supervised
from event_log.stores import Store
from event_log.stores.memory import MemoryStore

MOST_SPARES = 8
SPARE_IDLE_SECONDS = 600.0


class Supervisor:
    """`async with Supervisor() as supervisor:`, then `add`. All agents stop when the block ends, within 3 s.

    `on_event(name, fields)` is told of every change of state (`agent.state`: agent, state, was, why), of a session that
    had to be made anew (`session.recreated`), and of what spares do. `most_spares` processes at most wait for use, each
    for `spare_idle` seconds. `store` is where the sessions' records are kept, as `launch` has it.
    """

    def __init__(
        self,
        *,
        on_event: OnEvent | None = None,
        most_spares: int = MOST_SPARES,
        spare_idle: float = SPARE_IDLE_SECONDS,
        store: Store | None = None,
    ) -> None:
        self.agents: dict[str, Supervised] = {}
        self._on_event = on_event
        self._most_spares = most_spares
        self._spare_idle = spare_idle
        self._store = store or MemoryStore()
        self._tasks: anyio.abc.TaskGroup
        self.spares: Spares

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self.spares = Spares(self._tasks, most=self._most_spares, idle=self._spare_idle, on_event=self._on_event)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        await self.stop()
        self._tasks.cancel_scope.cancel()
        try:
            return await self._tasks.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            if group.exceptions == (error,):
                return False  # what the block raised, not a group of it
            raise

    def add(
        self,
        name: str,
        agent: Agent,
        client: Client,
        *,
        cwd: str,
        spares: int = 0,
        restarts: Restarts = DEFAULT,
        limits: Limits | None = None,
        system_prompt: str = "",
        sign_in: str = "",
        client_info: dict[str, str] | None = None,
        on_event: OnEvent | None = None,
        on_stderr: Callable[[bytes], None] = lambda data: None,
        store: Store | None = None,
    ) -> Supervised:
        """Starts an agent, in the background, and keeps it running under that name.

        `spares` processes of it are kept ready, which it shares with agents that are started alike. The rest is as
        `launch` takes it. Raises ValueError for a name that is taken and for what is no command.
        """
        if name in self.agents:
            raise ValueError(f"there is an agent {name!r} already")
        connector, link = connector_of(
            agent,
            client,
            self._tasks,
            cwd=cwd,
            limits=limits,
            system_prompt=system_prompt,
            sign_in=sign_in,
            client_info=client_info,
            on_event=on_event or self._on_event,
            on_stderr=on_stderr,
            store=store or self._store,
        )
        found = self.agents[name] = Supervised(name, connector, link, self.spares, self._tasks, restarts, spares)
        found.start()
        return found

    async def remove(self, name: str) -> None:
        """Stops that agent and forgets it."""
        await self.agents.pop(name).stop()

    async def stop(self) -> None:
        """Stops all of them, at the same time."""
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as tasks:
                for agent in self.agents.values():
                    tasks.start_soon(agent.stop)

    def status(self) -> list[Status]:
        """How they are."""
        return [agent.status() for agent in self.agents.values()]

    def __getitem__(self, name: str) -> Supervised:
        return self.agents[name]

    def __contains__(self, name: object) -> bool:
        return name in self.agents

    def __iter__(self) -> Iterator[Supervised]:
        return iter(self.agents.values())
