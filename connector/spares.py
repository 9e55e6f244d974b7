"""Agent processes that are ready before they are needed: started, past the handshake, and at nothing."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

import anyio
import anyio.abc

from connector import probe
from connector.backoff import DEFAULT, Backoff, Restarts
from connector.errors import ConnectorError
from connector.generation import Generation, OnEvent, Program, begin, begun

# The process that a spare was taken for has just begun to work: its successor may come a little later.
PAUSE_SECONDS = 0.5


@dataclass(eq=False)
class _Waiting:
    generation: Generation
    # When its agent had been used last, where it was let go for that.
    unused_since: float | None = None
    taken: anyio.Event = field(default_factory=anyio.Event)


@dataclass(eq=False)
class _Shelf:
    """The spares of one kind of program."""

    program: Program
    restarts: Backoff
    # Whose spares they are, and what keeps one each.
    users: set[object] = field(default_factory=set)
    slots: set[anyio.CancelScope] = field(default_factory=set)
    ready: deque[_Waiting] = field(default_factory=deque)
    # When somebody has used the agent last.
    used: float = 0.0
    changed: anyio.Event = field(default_factory=anyio.Event)


class Spares:
    """All spares of a supervisor, `most` at the same time. One that is not needed for `idle` seconds is let go, and
    comes back when its agent is used again. One that ends is replaced as `restarts` has it.
    """

    def __init__(
        self,
        tasks: anyio.abc.TaskGroup,
        *,
        most: int = 8,
        idle: float = 600.0,
        restarts: Restarts = DEFAULT,
        on_event: OnEvent | None = None,
    ) -> None:
        self._tasks = tasks
        self._most = most
        self._idle = idle
        self._rules = restarts
        self._on_event = on_event
        self._shelves: dict[bytes, _Shelf] = {}

    def want(self, program: Program, count: int, user: object) -> None:
        """Until `user` leaves, `count` processes are kept ready for agents like this one, as far as there is room."""
        shelf = self._shelves.get(program.key)
        if shelf is None:
            shelf = self._shelves[program.key] = _Shelf(program, Backoff(self._rules))
        shelf.users.add(user)
        shelf.restarts.reset()
        room = self._most - sum(len(other.slots) for other in self._shelves.values())
        for _ in range(min(count - len(shelf.slots), room)):
            slot = anyio.CancelScope()
            shelf.slots.add(slot)
            self._tasks.start_soon(self._keep, shelf, slot)
        self.used(program)

    def leave(self, program: Program, user: object) -> None:
        """`user` needs no more spares: they end with the last one who does."""
        shelf = self._shelves.get(program.key)
        if shelf is not None and user in shelf.users:
            shelf.users.remove(user)
            if not shelf.users:
                del self._shelves[program.key]
                for slot in shelf.slots:
                    slot.cancel()

    def used(self, program: Program) -> None:
        """The agent is in use: its spares stay, or come back."""
        if (shelf := self._shelves.get(program.key)) is not None:
            shelf.used = anyio.current_time()
            _tell(shelf)

    def take(self, program: Program) -> Generation | None:
        """A process that can do what a new one could, at once; None where none is ready."""
        shelf = self._shelves.get(program.key)
        while shelf is not None and shelf.ready:
            waiting = shelf.ready.popleft()
            if waiting.generation.is_alive():
                waiting.taken.set()
                return waiting.generation
        return None

    def ready(self, program: Program) -> int:
        """How many are ready now."""
        shelf = self._shelves.get(program.key)
        return len(shelf.ready) if shelf is not None else 0

    async def full(self, program: Program) -> None:
        """Waits until every spare that agents like this one are to have is ready."""
        shelf = self._shelves.get(program.key)
        while shelf is not None and len(shelf.ready) < len(shelf.slots):
            await shelf.changed.wait()

    async def _keep(self, shelf: _Shelf, slot: anyio.CancelScope) -> None:
        with slot:
            await self._slot(shelf)
        shelf.slots.remove(slot)
        _tell(shelf)

    async def _slot(self, shelf: _Shelf) -> None:
        """Keeps one spare, for as long as somebody has use for it and it can be started."""
        unused_since = None
        while True:
            while shelf.used == unused_since:
                await shelf.changed.wait()
            delay: float | None = PAUSE_SECONDS
            try:
                generation = await begun(begin(shelf.program), self._tasks)
            except ConnectorError as why:
                delay = self._failed(shelf, str(why))
            else:
                waiting = _Waiting(generation)
                if await self._kept(shelf, waiting) == "ended":
                    delay = self._failed(shelf, "it ended")
                unused_since = waiting.unused_since
            if delay is None:
                return
            await anyio.sleep(delay)

    async def _kept(self, shelf: _Shelf, waiting: _Waiting) -> Literal["taken", "ended", "released"]:
        """Keeps it until it is needed, or has ended, or nobody has needed it for long."""
        generation = waiting.generation
        shelf.restarts.ready(anyio.current_time())
        shelf.ready.append(waiting)
        _tell(shelf)
        ended = False
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_first, tasks, waiting.taken)
                tasks.start_soon(_first, tasks, generation.ended)
                if (limit := shelf.program.limits.probe) is not None:
                    tasks.start_soon(probe.watch, generation, limit, lambda: True)
                waiting.unused_since = await self._unused(shelf)
                tasks.cancel_scope.cancel()
        finally:
            if not waiting.taken.is_set():
                ended = generation.ended.is_set()
                if waiting in shelf.ready:
                    shelf.ready.remove(waiting)
                await generation.stop()
        if waiting.taken.is_set():
            return "taken"
        if not ended:
            self._event("spare.released", agent=shelf.program.command.name)
        return "ended" if ended else "released"

    async def _unused(self, shelf: _Shelf) -> float:
        """Waits until its agent has not been used for as long as spares are kept, since when is returned."""
        while True:
            left = shelf.used + self._idle - anyio.current_time()
            if left <= 0:
                return shelf.used
            await anyio.sleep(left)

    def _failed(self, shelf: _Shelf, why: str) -> float | None:
        delay = shelf.restarts.after_end(anyio.current_time())
        self._event("spare.failed", agent=shelf.program.command.name, why=why, given_up=delay is None)
        return delay

    def _event(self, name: str, **fields: Any) -> None:
        if self._on_event is not None:
            self._on_event(name, fields)


def _tell(shelf: _Shelf) -> None:
    shelf.changed.set()
    shelf.changed = anyio.Event()


async def _first(tasks: anyio.abc.TaskGroup, event: anyio.Event) -> None:
    await event.wait()
    tasks.cancel_scope.cancel()
