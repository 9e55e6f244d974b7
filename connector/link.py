"""Requests to one agent; what goes wrong on the wire is told as its own: its name, the request, its last words."""

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.abc

from acp_wire import methods
from acp_wire.connection import CLIENT_SIDE, Connection
from acp_wire.errors import AUTH_REQUIRED, NOT_FOUND, ConnectionClosed, RequestTimeout, RpcError
from connector import sign_in
from connector.client import Client
from connector.errors import (
    AgentError,
    AgentExited,
    AgentTimeout,
    Asked,
    ConnectorError,
    NotOffered,
    SessionNotFound,
    SignInNeeded,
)
from connector.limits import Limits
from connector.noise import Noise
from connector.process import AgentProcess, Command
from connector.secrets import Secrets
from connector.vendors import Vendor

if TYPE_CHECKING:
    from acp_wire.schema.agent_capabilities import InitializeResponse

P = TypeVar("P")
R = TypeVar("R")
OnEvent = Callable[[str, dict[str, Any]], None]
# How long the exit status may lag behind the end of stdout.
EXIT_SECONDS = 0.5


class Link:
    """What the sessions of a connector share: the connection, the process, the limits. `agent` is there after the
    handshake.
    """

    def __init__(
        self,
        command: Command,
        vendor: Vendor,
        process: AgentProcess,
        client: Client,
        tasks: anyio.abc.TaskGroup,
        limits: Limits,
        secrets: Secrets,
        on_event: OnEvent | None,
    ) -> None:
        self.name = command.name
        self.command = command
        self.vendor = vendor
        self.client = client
        self.tasks = tasks
        self.limits = limits
        self.agent: InitializeResponse
        self._secrets = secrets
        self._on_event = on_event
        self.attach(process)

    def attach(self, process: AgentProcess) -> None:
        """Talks to that process from here on."""
        self.process = process
        self._given_up = ""
        self.noise = Noise(self._secrets.hide, self._on_event)
        self._connection = Connection(
            process.stream, self.client, CLIENT_SIDE, on_event=self._on_event, on_noise=self.noise.heard
        )
        self.tasks.start_soon(self._connection.serve)

    def stderr_tail(self) -> str:
        """The end of what the agent has written on stderr, and on stdout beside its messages; secrets taken out."""
        printed = self.noise.tail()
        told = (self.process.stderr_tail(), printed and f"On stdout, beside its messages:\n{printed}")
        return self._secrets.hide("\n".join(filter(None, told)))

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
        """A notification; to an agent that is gone there is nothing to tell."""
        with contextlib.suppress(ConnectionClosed):
            self._connection.notify(row, params)

    async def ask(
        self,
        row: methods.Request[P, R],
        params: dict[str, Any],
        *,
        timeout: float | None,
        on_answer: Callable[[], None] | None = None,
    ) -> R:
        """A request. Raises `ConnectorError`."""
        began = anyio.current_time()

        def asked(why: ConnectionClosed | RequestTimeout | RpcError) -> Asked:
            return Asked(row.name, why.request_id, anyio.current_time() - began)

        try:
            return await self._connection.request(row, params, timeout=timeout, on_answer=on_answer)
        except RequestTimeout as why:
            raise AgentTimeout(self.name, asked(why), timeout or 0, self.stderr_tail()) from None
        except ConnectionClosed as why:
            about = asked(why)
            with anyio.move_on_after(EXIT_SECONDS):
                await self.process.child.wait()
            raise AgentExited(self.name, about, self.process.child.exit, self.stderr_tail(), self._given_up) from None
        except RpcError as why:
            raise self._told(asked(why), why) from None

    async def give_up(self, why: str) -> None:
        """Kills the agent: it does not do what it must. Everything that waits for it ends with that reason."""
        self._given_up = why
        await self.process.child.kill()

    def _told(self, asked: Asked, why: RpcError) -> ConnectorError:
        message, data = self._secrets.hide(why.message), self._secrets.hide_in(why.data)
        kind, hint = AgentError, ""
        if why.code == AUTH_REQUIRED:
            kind, hint = SignInNeeded, sign_in.hint(self.command, self.vendor.sign_in, getattr(self, "agent", None))
        elif why.code == NOT_FOUND and asked.method.startswith("session/"):
            kind = SessionNotFound
        return kind(self.name, asked, why.code, message, data, hint=hint, stderr=self.stderr_tail())
