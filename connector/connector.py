"""Spawning an agent and talking to it: launch → initialize → session/new → prompts → cancel → shutdown."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.abc

from acp_wire import methods
from acp_wire.connection import CLIENT_SIDE, Connection
from acp_wire.errors import AUTH_REQUIRED, ConnectionClosed, RequestTimeout, RpcError
from connector.client import Client, OnUpdate
from connector.errors import AgentError, AgentExited, AgentTimeout, ConnectorError, SignInNeeded, VersionMismatch
from connector.limits import DEFAULTS, Limits
from connector.process import AgentProcess, Command, spawn
from connector.session import Session, Turn
from connector.terminals import OnOutput
from connector.workspace import Workspace

if TYPE_CHECKING:
    from acp_wire.schema.agent_capabilities import InitializeResponse

P = TypeVar("P")
R = TypeVar("R")
PROTOCOL_VERSION = 1
# How long the exit status may lag behind the end of stdout.
EXIT_SECONDS = 0.5


class Connector:
    """One agent process and its sessions. Made by `launch`."""

    def __init__(
        self,
        command: Command,
        process: AgentProcess,
        client: Client,
        tasks: anyio.abc.TaskGroup,
        limits: Limits,
        on_event: Callable[[str, dict[str, Any]], None] | None,
    ) -> None:
        self.command = command
        self.client = client
        self.sessions: dict[str, Session] = {}
        self.agent: InitializeResponse
        self._process = process
        self._tasks = tasks
        self._limits = limits
        self._connection = Connection(process.stream, client, CLIENT_SIDE, on_event=on_event)
        tasks.start_soon(self._connection.serve)

    def is_alive(self) -> bool:
        """Whether the agent's process still runs."""
        return self._process.child.exit is None

    @property
    def pid(self) -> int:
        """The agent's process id, which is its group's too."""
        return self._process.child.pid

    def stderr_tail(self) -> str:
        """The end of what the agent has written on stderr."""
        return self._process.stderr_tail()

    async def initialize(self, client_info: dict[str, str]) -> None:
        """Shakes hands; what the agent can do is in `agent` afterwards. Raises `ConnectorError`."""
        params = {
            "protocolVersion": PROTOCOL_VERSION,
            "clientCapabilities": self.client.capabilities(),
            "clientInfo": client_info,
        }
        self.agent = await self._ask(methods.INITIALIZE, params, timeout=self._limits.initialize)
        if self.agent.protocol_version != PROTOCOL_VERSION:
            raise VersionMismatch(self.command.name, self.agent.protocol_version)

    async def new_session(
        self,
        cwd: str,
        *,
        directories: Sequence[str] = (),
        on_output: OnOutput | None = None,
        outside: OnUpdate = lambda update: None,
    ) -> Session:
        """A new session whose files and terminals lie below the absolute `cwd` and `directories`.

        `on_output(terminal_id, text)` is told what terminals write, `outside(update)` what belongs to no turn, from
        the first update on, also one that came before the session's id. Raises `ConnectorError`, and `OSError` where a
        directory cannot be opened.
        """
        workspace = Workspace([cwd, *directories], on_output=on_output)
        params: dict[str, Any] = {"cwd": cwd, "mcpServers": []}
        if directories and self.agent.agent_capabilities.session_capabilities.additional_directories is not None:
            params["additionalDirectories"] = list(directories)
        try:
            created = await self._ask(methods.SESSION_NEW, params, timeout=self._limits.session)
        except ConnectorError:
            await workspace.close()
            raise
        session = Session(
            created.session_id,
            client=self.client,
            ask=self._ask_turn,
            tell_cancel=self._tell_cancel,
            start_soon=self._start_turn,
            late_seconds=self._limits.late,
        )
        session.outside = outside
        self.sessions[session.id] = session
        self.client.add(session.id, workspace, session.take)
        return session

    async def shutdown(self) -> None:
        """Cancels what runs, stops the agent within 3 s and ends every terminal. `launch` calls it on the way out."""
        with anyio.CancelScope(shield=True):
            for session in self.sessions.values():
                session.cancel()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._process.stop)
                for session_id in self.sessions:
                    tasks.start_soon(self.client.remove, session_id)

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _start_turn(self, run: Callable[[Turn], Any], turn: Turn) -> None:
        self._tasks.start_soon(run, turn)

    def _tell_cancel(self, session_id: str) -> None:
        with contextlib.suppress(ConnectionClosed):
            self._connection.notify(methods.SESSION_CANCEL, {"sessionId": session_id})

    async def _ask_turn(self, row: methods.Request[P, R], params: dict[str, Any]) -> R:
        return await self._ask(row, params, timeout=self._limits.turn)

    async def _ask(self, row: methods.Request[P, R], params: dict[str, Any], *, timeout: float | None) -> R:
        """A request, with the wire's exceptions told as the agent's."""
        name, began = self.command.name, anyio.current_time()
        try:
            return await self._connection.request(row, params, timeout=timeout)
        except RequestTimeout:
            raise AgentTimeout(name, row.name, timeout or 0, self._process.stderr_tail()) from None
        except ConnectionClosed:
            with anyio.move_on_after(EXIT_SECONDS):
                await self._process.child.wait()
            raise AgentExited(name, row.name, self._process.child.exit, self._process.stderr_tail()) from None
        except RpcError as why:
            kind = SignInNeeded if why.code == AUTH_REQUIRED else AgentError
            raise kind(name, row.name, why.code, why.message, why.data, anyio.current_time() - began) from None


@contextlib.asynccontextmanager
async def launch(
    command: Command,
    client: Client,
    *,
    cwd: str,
    limits: Limits = DEFAULTS,
    client_info: dict[str, str] | None = None,
    on_event: Callable[[str, dict[str, Any]], None] | None = None,
    on_stderr: Callable[[bytes], None] = lambda data: None,
) -> AsyncIterator[Connector]:
    """A running, initialized agent for the length of the block; its whole process group is gone afterwards.

    Raises `ConnectorError` where it cannot be started or does not shake hands.
    """
    process = spawn(command, cwd=cwd, on_stderr=on_stderr)
    with _single_errors():
        async with anyio.create_task_group() as tasks:
            connector = Connector(command, process, client, tasks, limits, on_event)
            try:
                await connector.initialize(client_info or {"name": "ars-connector", "version": "0"})
                yield connector
            finally:
                await connector.shutdown()
                tasks.cancel_scope.cancel()


@contextlib.contextmanager
def _single_errors() -> Iterator[None]:
    """What the block raised, not the group that the task group has made of it."""
    try:
        yield
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None
        raise
