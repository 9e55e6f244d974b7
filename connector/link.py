"""What the sessions of one agent hold on to while its processes come and go."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio.abc

from acp_wire import methods
from connector import generation as generations
from connector.client import Client
from connector.errors import ConnectorError, NotOffered
from connector.generation import Generation, OnEvent, Program

if TYPE_CHECKING:
    from acp_wire.schema.agent_capabilities import InitializeResponse
    from connector.process import AgentProcess

P = TypeVar("P")
R = TypeVar("R")


class Keeper(Protocol):
    """Who starts an agent again when it has ended."""

    def refuse(self) -> None:
        """Raises `AgentUnavailable` where no more prompts are taken."""

    async def up(self, after: Generation | None = None) -> None:
        """Waits until another process than `after` serves the sessions. Raises `AgentUnavailable` where none will."""

    def turned(self) -> None:
        """A turn has begun or ended, or none waits any more."""


class Link:
    """Requests to whichever process of the agent there is: `generation`, None until the first one is attached."""

    def __init__(
        self,
        program: Program,
        client: Client,
        tasks: anyio.abc.TaskGroup,
        on_event: OnEvent | None = None,
        on_stderr: Callable[[bytes], None] = lambda data: None,
    ) -> None:
        self.program = program
        self.name = program.command.name
        self.vendor = program.vendor
        self.limits = program.limits
        self.client = client
        self.tasks = tasks
        self.generation: Generation | None = None
        # None where nobody starts it again by themselves.
        self.keeper: Keeper | None = None
        # How many turns are under way.
        self.turns = 0
        self.on_event = on_event
        self._on_stderr = on_stderr
        client.secrets = program.secrets

    def begin(self) -> Generation:
        """Starts a process, which is to be attached once it has shaken hands. Raises `AgentNotFound`."""
        return generations.begin(self.program, self.client, self.on_event, self._on_stderr)

    def attach(self, generation: Generation) -> None:
        """Talks to that process from here on."""
        generation.serve_with(self.client, self.on_event, self._on_stderr)
        self.generation = generation

    @contextlib.contextmanager
    def in_turn(self) -> Iterator[None]:
        """While a turn is under way, its recovery included."""
        self.turns += 1
        self.turned()
        try:
            yield
        finally:
            self.turns -= 1
            self.turned()

    def turned(self) -> None:
        """A turn has begun or ended, or none waits any more."""
        if self.keeper is not None:
            self.keeper.turned()

    def event(self, name: str, /, **fields: Any) -> None:
        """Tells whoever wants to know."""
        if self.on_event is not None:
            self.on_event(name, fields)

    @property
    def there(self) -> Generation:
        """The process that there is or was. Raises `ConnectorError` before the first one."""
        if self.generation is None:
            raise ConnectorError(self.name, "it has not been started yet")
        return self.generation

    def is_alive(self) -> bool:
        """Whether there is a process that has not ended."""
        return self.generation is not None and self.generation.is_alive()

    @property
    def process(self) -> "AgentProcess":
        """The operating system's part of it."""
        return self.there.process

    @property
    def agent(self) -> "InitializeResponse":
        """What the agent has said of itself."""
        answer = self.there.answer
        assert answer is not None, "what is attached has shaken hands"
        return answer

    def stderr_tail(self) -> str:
        """See `Generation.stderr_tail`."""
        return "" if self.generation is None else self.generation.stderr_tail()

    def offered(self, capability: str) -> bool:
        """Whether the agent has said that it can do `capability`, a dotted path in `agentCapabilities`."""
        found: Any = self.agent.agent_capabilities
        for name in capability.split("."):
            found = getattr(found, name, None)
        # A flag counts when it is true, an object when it is there.
        return found is not None and found is not False

    def offers_ours(self, name: str) -> bool:
        """Whether the agent has what is not in the protocol, by the name in `agentCapabilities._meta`."""
        return bool((self.agent.agent_capabilities.meta or {}).get(name))

    def need(self, capability: str, wire_name: str, what: str) -> None:
        """Raises `NotOffered` unless the agent offers `capability`, which is `wire_name` in the specification."""
        if not self.offered(capability):
            raise NotOffered(self.name, wire_name, what)

    def need_ours(self, name: str, what: str) -> None:
        """Raises `NotOffered` unless the agent has what is not in the protocol, as `offers_ours`."""
        if not self.offers_ours(name):
            raise NotOffered(self.name, f"_meta[{name}]", what)

    def tell(self, row: methods.Notification[P], params: dict[str, Any]) -> None:
        """See `Generation.tell`."""
        self.there.tell(row, params)

    async def ask(
        self,
        row: methods.Request[P, R],
        params: dict[str, Any],
        *,
        timeout: float | None,
        on_answer: Callable[[], None] | None = None,
        late: Callable[[R], None] | None = None,
    ) -> R:
        """See `Generation.ask`."""
        return await self.there.ask(row, params, timeout=timeout, on_answer=on_answer, late=late)

    async def give_up(self, why: str) -> None:
        """See `Generation.give_up`."""
        await self.there.give_up(why)
