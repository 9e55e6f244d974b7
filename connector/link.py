"""What the sessions of one agent hold on to while its processes come and go."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

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

    @property
    def there(self) -> Generation:
        """The process that there is or was. Raises `ConnectorError` before the first one."""
        if self.generation is None:
            raise ConnectorError(self.name, "it has not been started yet")
        return self.generation

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

    def need(self, capability: str, wire_name: str, what: str) -> None:
        """Raises `NotOffered` unless the agent offers `capability`, which is `wire_name` in the specification."""
        if not self.offered(capability):
            raise NotOffered(self.name, wire_name, what)

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
    ) -> R:
        """See `Generation.ask`."""
        return await self.there.ask(row, params, timeout=timeout, on_answer=on_answer)

    async def give_up(self, why: str) -> None:
        """See `Generation.give_up`."""
        await self.there.give_up(why)
