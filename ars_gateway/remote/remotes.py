"""The connections of editors that have an agent of their own over the network: how many, whose, and for how long."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio
import anyio.abc

from ars_gateway.call import Caller
from ars_gateway.remote.owned import Owned
from ars_gateway.remote.remote import GATEWAY_ENDS, Remote, Way, taken_up
from ars_gateway.sessions.keys import MAIN
from ars_gateway.talks.agents import Kind
from connector import VENDORS

if TYPE_CHECKING:
    from ars_gateway.gateway import Gateway

Json = dict[str, Any]


class NoSuchAgent(Exception):
    """There is none of that name, or it does not serve editors over the network."""


class Crowded(Exception):
    """There are as many connections as there may be; the text says whose."""


class Remotes:
    """All of them, by id."""

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway
        self.owned = Owned(gateway.index)
        self._all: dict[str, Remote] = {}
        self._opened: list[Remote] = []
        self._some_opened = anyio.Event()
        self._ending = False

    def __len__(self) -> int:
        return len(self._all)

    def kind(self, agent: str) -> Kind:
        """The agent of that name. Raises `NoSuchAgent`, also where it may not be had from elsewhere: an agent that
        touches files by itself would touch those of this machine."""
        kinds = self._gateway.talks.kinds
        allowed = self._gateway.settings.config.gateway.remote_agents
        if allowed is None:
            allowed = [MAIN] if kinds[MAIN].vendor.name == VENDORS["ars"].name else []
        if agent not in kinds or agent not in allowed:
            raise NoSuchAgent(agent)
        return kinds[agent]

    def open(self, caller: Caller, kind: Kind, way: Way) -> Remote:
        """A new connection, with its agent started. Raises `Crowded` and `AgentNotFound`."""
        limits = self._gateway.limits
        if self._ending:
            raise Crowded(GATEWAY_ENDS)
        alive = [it for it in self._all.values() if not it.why]
        if sum(it.principal == caller.principal for it in alive) >= limits.remote_connections:
            raise Crowded(f"you have {limits.remote_connections} connections to agents already")
        if len(alive) >= limits.remote_all:
            raise Crowded(f"there are {limits.remote_all} connections to agents already")
        remote = Remote(self._gateway, caller, kind, way)
        self._all[remote.id] = remote
        self._opened.append(remote)
        self._some_opened.set()
        return remote

    def find(self, id: str, principal: str) -> Remote | None:
        """The connection of that id where it is that principal's: another one's is as unknown as none."""
        found = self._all.get(id)
        return found if found is not None and found.principal == principal else None

    def in_the_way(self, remote: Remote, message: Json) -> list[Remote]:
        """Connections of the same editor that keep it from taking up a session with this message: they have it open,
        and nobody is there any more, as when the network has gone and the editor has come back."""
        session = taken_up(message)
        return [
            it
            for it in self._all.values()
            if it is not remote
            and (it.principal, it.agent) == (remote.principal, remote.agent)
            and session in it.sessions
            and not it.gone.is_set()
            and (it.why or not it.way.is_read)
        ]

    async def clear(self, others: list[Remote]) -> None:
        """Ends these, and returns when their agents have ended."""
        for other in others:
            other.dismiss("its session is taken up on another connection")
        for other in others:
            await other.gone.wait()

    def close_of(self, of: Callable[[Remote], bool], why: str) -> None:
        """Ends those for which `of` holds."""
        for remote in list(self._all.values()):
            if of(remote):
                remote.close(why)

    def stop(self) -> None:
        """Ends all of them, and begins nothing more."""
        self._ending = True
        self.close_of(lambda remote: True, GATEWAY_ENDS)

    async def run(self) -> None:
        """Serves them. Cancelled, it ends when every agent has ended."""
        # A group of anyio's: only there is the end of a process shielded. Callbacks cannot start a task in it.
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._look_after)
            try:
                while True:
                    await self._some_opened.wait()
                    self._some_opened = anyio.Event()
                    self._start(tasks)
            finally:
                self.stop()
                self._start(tasks)

    def _start(self, tasks: anyio.abc.TaskGroup) -> None:
        opened, self._opened = self._opened, []
        for remote in opened:
            tasks.start_soon(self._serve, remote)

    async def _look_after(self) -> None:
        limits = self._gateway.limits
        seconds = min(limits.remote_idle_seconds, limits.remote_stalled_seconds, limits.remote_kept_seconds) / 6
        while True:
            await anyio.sleep(seconds)
            now = self._gateway.clock()
            for remote in list(self._all.values()):
                remote.check(now)

    async def _serve(self, remote: Remote) -> None:
        try:
            await remote.run()
        finally:
            del self._all[remote.id]
