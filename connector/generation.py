"""One process of an agent, from its start to its end: the connection to it, what it prints, what it said of itself."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.abc
import orjson

from acp_wire import methods
from acp_wire.connection import Connection
from acp_wire.errors import AUTH_REQUIRED, NOT_FOUND, ConnectionClosed, RequestTimeout, RpcError
from connector import environment, sign_in
from connector.client import SERVED
from connector.errors import (
    AgentError,
    AgentExited,
    AgentNotFound,
    AgentTimeout,
    Asked,
    ConnectorError,
    SessionNotFound,
    SignInNeeded,
    VersionMismatch,
)
from connector.limits import Limits
from connector.noise import Noise
from connector.process import AgentProcess, Command, spawn
from connector.secrets import Secrets
from connector.vendors import Vendor

if TYPE_CHECKING:
    from acp_wire.schema.agent_capabilities import InitializeResponse

P = TypeVar("P")
R = TypeVar("R")
OnEvent = Callable[[str, dict[str, Any]], None]
PROTOCOL_VERSION = 1
# How long the exit status may lag behind the end of stdout, and the end of stdout behind the exit.
EXIT_SECONDS = 0.5


@dataclass(frozen=True)
class Program:
    """Which agent, how it is started, and who it is told that we are: what a process can be started from.

    Processes of programs with the same `key` can stand in for each other.
    """

    vendor: Vendor
    command: Command
    cwd: str
    capabilities: Mapping[str, Any]
    limits: Limits
    client_info: Mapping[str, str]

    @cached_property
    def key(self) -> bytes:
        """What two processes have in common that were started alike."""
        it = self.command
        started = [list(it.argv), dict(it.env), sorted(it.passed_on), self.cwd]
        return orjson.dumps(
            [started, dict(self.capabilities), dict(self.client_info)], option=orjson.OPT_SORT_KEYS, default=dict
        )

    @cached_property
    def secrets(self) -> Secrets:
        """What must not be told of what the agent says."""
        return Secrets({**environment.inherited(self.command.passed_on), **self.command.env})


class Generation:
    """A running process of an agent and the connection to it. `stop` must be called in the end.

    `ended` is set when nothing more can come from it: its process has ended, or it has closed the connection.
    """

    def __init__(
        self, program: Program, process: AgentProcess, handlers: object = None, on_event: OnEvent | None = None
    ) -> None:
        self.program = program
        self.process = process
        self.ended = anyio.Event()
        self.answer: InitializeResponse | None = None
        # Why we have ended it.
        self.given_up = ""
        # Requests of ours that it has not answered, besides those whose answer nobody waits for.
        self.unanswered = 0
        self._on_event = on_event
        self._noise = Noise(program.secrets.hide, self._event)
        self._connection = Connection(
            process.stream, handlers, SERVED, on_event=on_event and self._event, on_noise=self._noise.heard
        )

    def serve_with(
        self, handlers: object, on_event: OnEvent | None, on_stderr: Callable[[bytes], None] | None = None
    ) -> None:
        """From here on `handlers` answer the agent's requests."""
        self._on_event = on_event
        self._connection.serve_with(handlers, on_event and self._event)
        if on_stderr is not None:
            self.process.on_stderr = on_stderr

    @property
    def heard(self) -> float:
        """When its last byte came, by the clock of the event loop."""
        return self._connection.heard

    def is_alive(self) -> bool:
        """Whether it is worth a try: neither has it ended nor have we given it up."""
        return not self.ended.is_set() and self.process.child.exit is None and not self.given_up

    async def serve(self) -> None:
        """Reads what it says until it has ended. To be started in a task group right after the process."""
        self._connection.on_end = self.ended.set
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._follow_exit)
            await self._connection.serve()
            tasks.cancel_scope.cancel()

    async def initialize(self) -> "InitializeResponse":
        """Shakes hands. Raises `ConnectorError`."""
        params = {
            "protocolVersion": PROTOCOL_VERSION,
            "clientCapabilities": self.program.capabilities,
            "clientInfo": self.program.client_info,
        }
        answer = await self.ask(methods.INITIALIZE, params, timeout=self.program.limits.initialize)
        if answer.protocol_version != PROTOCOL_VERSION:
            raise VersionMismatch(self.program.command.name, answer.protocol_version)
        self.answer = answer
        return answer

    async def ask(
        self,
        row: methods.Request[P, R],
        params: dict[str, Any],
        *,
        timeout: float | None,
        on_answer: Callable[[], None] | None = None,
        late: Callable[[R], None] | None = None,
    ) -> R:
        """A request. Raises `ConnectorError`. `late` gets the result that comes when it was given up: what the agent
        has done by then is done."""
        began, name = anyio.current_time(), self.program.command.name

        def asked(why: ConnectionClosed | RequestTimeout | RpcError) -> Asked:
            return Asked(row.name, why.request_id, anyio.current_time() - began)

        self.unanswered += 1
        try:
            return await self._connection.request(row, params, timeout=timeout, late=late, on_answer=on_answer)
        except RequestTimeout as why:
            raise AgentTimeout(name, asked(why), timeout or 0, self.stderr_tail()) from None
        except ConnectionClosed as why:
            raise await self.exited(asked(why)) from None
        except RpcError as why:
            raise self._told(asked(why), why) from None
        finally:
            self.unanswered -= 1

    def tell(self, row: methods.Notification[P], params: dict[str, Any]) -> None:
        """A notification; to an agent that is gone there is nothing to tell."""
        with contextlib.suppress(ConnectionClosed):
            self._connection.notify(row, params)

    def knock(self, method: str) -> None:
        """A request whose answer nobody waits for: whatever comes shows that it lives."""
        self._connection.post(methods.Request(method, "", "", ""), {})

    async def exited(self, asked: Asked) -> AgentExited:
        """How it ended, once it has; waits a moment for its exit status."""
        with anyio.move_on_after(EXIT_SECONDS):
            await self.process.child.wait()
        name = self.program.command.name
        return AgentExited(name, asked, self.process.child.exit, self.stderr_tail(), self.given_up)

    async def give_up(self, why: str) -> None:
        """Kills it: it does not do what it must. Everything that waits for it ends with that reason."""
        self.given_up = self.given_up or why
        await self.process.child.kill()
        with anyio.move_on_after(EXIT_SECONDS):
            await self.ended.wait()
        await self.process.stream.aclose()

    async def stop(self) -> None:
        """Ends it within 3 s, and everything that it has started."""
        await self.process.stop()

    def stderr_tail(self) -> str:
        """The end of what it has written on stderr, and on stdout beside its messages; secrets taken out."""
        printed = self._noise.tail()
        told = (self.process.stderr_tail(), printed and f"On stdout, beside its messages:\n{printed}")
        return self.program.secrets.hide("\n".join(filter(None, told)))

    async def _follow_exit(self) -> None:
        """What a process has left behind may hold its stdout for ever: that does not make it alive."""
        await self.process.child.wait()
        await anyio.sleep(EXIT_SECONDS)
        await self.process.child.kill()
        await self.process.stream.aclose()

    def _event(self, name: str, fields: dict[str, Any]) -> None:
        if self._on_event is not None:
            self._on_event(name, fields)

    def _told(self, asked: Asked, why: RpcError) -> ConnectorError:
        hidden = self.program.secrets
        message, data = hidden.hide(why.message), hidden.hide_in(why.data)
        kind, hint = AgentError, ""
        if why.code == AUTH_REQUIRED:
            kind = SignInNeeded
            hint = sign_in.hint(self.program.command, self.program.vendor.sign_in, self.answer)
        elif why.code == NOT_FOUND and asked.method.startswith("session/"):
            kind = SessionNotFound
        return kind(self.program.command.name, asked, why.code, message, data, hint=hint, stderr=self.stderr_tail())


def begin(
    program: Program,
    handlers: object = None,
    on_event: OnEvent | None = None,
    on_stderr: Callable[[bytes], None] = lambda data: None,
) -> Generation:
    """Starts a process, which knows nothing of us yet. Raises `AgentNotFound`."""
    try:
        process = spawn(program.command, cwd=program.cwd, on_stderr=on_stderr)
    except AgentNotFound as why:
        raise why.advise(program.vendor.install) from None
    return Generation(program, process, handlers, on_event)


async def begun(generation: Generation, tasks: anyio.abc.TaskGroup) -> Generation:
    """Has it served in `tasks` and shakes hands; one that fails is stopped. Raises `ConnectorError`."""
    tasks.start_soon(generation.serve)
    try:
        await generation.initialize()
    except BaseException:
        await generation.stop()
        raise
    return generation
