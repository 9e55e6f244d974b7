"""The MCP servers of one session: started behind the answer that made it, offered to the model, gone with it.

A server is a guest: it may fail to start, hang, die or lie, and the session goes on without it, visibly. A program is
started only where the person's own settings allow that, as whoever speaks to the agent could otherwise run anything.
"""

import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio

from acp_wire.errors import INVALID_PARAMS
from ars_acp.errors import invalid_message
from ars_acp.log import Log
from ars_acp.redact import redact
from ars_acp.settings import Settings

if TYPE_CHECKING:
    from acp_wire.schema.session import McpServer
    from ars_acp.tools.tool import Tool

Tell = Callable[[str, str, str | None], None]
Later = Callable[[Callable[[], Coroutine[Any, Any, None]]], Any]
KINDS = (None, "stdio", "http", "sse")
# Headers whose values are no secrets.
PLAIN_HEADERS = {"accept", "content-type", "user-agent"}
# How long a farewell over HTTP may take, and how long a session that is closed waits for its programs to be gone.
FAREWELL_SECONDS = 0.5
GONE_SECONDS = 3
LONGEST_LINE = 1000


def check(servers: "Sequence[McpServer]", raw: Any) -> None:
    """Raises `RpcError` for a server that could never be reached; `raw` are the params as they came."""
    for position, server in enumerate(servers):
        where = f"mcpServers[{position}]"
        if raw["mcpServers"][position].get("type") not in KINDS:
            raise invalid_message(INVALID_PARAMS, f"{where}.type: only stdio, http and sse are spoken", field=where)
        url = getattr(server, "url", None)
        if url is not None and not _is_http(url):
            raise invalid_message(INVALID_PARAMS, f"{where}.url: an http or https address is needed", field=where)


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return named and parts.scheme in ("http", "https") and url.isprintable() and " " not in url


@dataclass(eq=False)
class _Server:
    named: "McpServer"
    tools: "list[Tool]" = field(default_factory=list)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    settled: anyio.Event = field(default_factory=anyio.Event)  # it is there, or will not come
    gone: anyio.Event = field(default_factory=anyio.Event)
    link: Any = None
    last_line: str = ""

    @property
    def name(self) -> str:
        return self.named.name

    @property
    def kind(self) -> str:
        return getattr(self.named, "type", "stdio")

    @property
    def command(self) -> str:
        """The program of a server on stdio; its arguments may hold secrets."""
        return getattr(self.named, "command", "")


class McpServers:
    """What a session has to do with its servers. `tell` makes something visible to the person."""

    def __init__(
        self, named: "Sequence[McpServer]", *, session: str, cwd: str, settings: Settings, log: Log, tell: Tell
    ) -> None:
        self._servers = [_Server(server) for server in named]
        self._session = session
        self._cwd = cwd
        self._settings = settings
        self._log = log
        self._tell = tell
        self._taken: set[str] = set()
        self._begun = False
        self._stopping = False
        self._waited = False
        for server in named:
            _hide_secrets(server)

    def start(self, later: Later) -> None:
        """Begins to start them; `later` starts tasks that the program owns."""
        self._begun = not self._stopping
        if self._begun:
            for server in self._servers:
                later(partial(self._run, server))

    async def ready(self) -> None:
        """Waits until every server is there or will not come, once and for a bounded time."""
        if self._waited or not self._begun:
            return
        with anyio.move_on_after(self._settings.mcp_start_seconds):
            for server in self._servers:
                await server.settled.wait()
        self._waited = True
        slow = ", ".join(server.name for server in self._servers if not server.settled.is_set())
        if slow:
            self._say("info", f"Still starting: MCP server {slow}", "its tools join the turn when they are there")

    def tools(self) -> "list[Tool]":
        """What the servers that are there offer now."""
        there = [server for server in self._servers if server.link is not None and not server.link.ended]
        return [tool for server in there for tool in server.tools]

    def stop(self) -> None:
        """Ends them all, without waiting."""
        self._stopping = True
        for server in self._servers:
            server.tools = []
            if server.link is None:
                server.scope.cancel()
            else:
                server.link.end()
                server.scope.deadline = anyio.current_time() + FAREWELL_SECONDS

    async def close(self) -> None:
        """Ends them all and waits until their processes are gone."""
        self.stop()
        if self._begun:
            with anyio.move_on_after(GONE_SECONDS):
                for server in self._servers:
                    await server.gone.wait()

    async def _run(self, server: _Server) -> None:
        from ars_acp.mcp_tools import ServerFault

        why = ""
        try:
            with server.scope:
                if server.kind == "stdio" and not self._settings.mcp_stdio:
                    self._log.warning("mcp.not_allowed", session=self._session, server=server.name)
                    allow = "ARS_MCP_STDIO=1 in the agent's environment lets the programs that your client names run"
                    self._say("warning", f"MCP server {server.name} was not started", allow)
                    return
                why = f"it was not ready within {self._settings.mcp_call_seconds:g} seconds"
                server.scope.deadline = anyio.current_time() + self._settings.mcp_call_seconds
                await self._serve(server)
                why = "it has ended"
        except (ServerFault, ImportError) as fault:
            why = str(fault)
        finally:
            was_there = server.settled.is_set()
            server.tools = []
            server.link = None
            server.settled.set()
            server.gone.set()
        if self._stopping:
            self._log.info("mcp.closed", session=self._session, server=server.name)
        else:
            self._lost(server, was_there, why)

    async def _serve(self, server: _Server) -> None:
        began = anyio.current_time()
        self._log.info("mcp.starting", session=self._session, server=server.name, transport=server.kind)
        # Half a second of imports, which would hold up everything else that is asked meanwhile.
        client = await anyio.to_thread.run_sync(import_module, "ars_acp.mcp_client", abandon_on_cancel=True)
        if server.kind == "stdio":
            self._say("info", f"MCP server {server.name} is being started", server.command)
        environment = client.Environment(
            cwd=self._cwd,
            ca_file=self._settings.ca_file,
            call_seconds=self._settings.mcp_call_seconds,
            heard=partial(self._heard, server),
        )
        async with client.connected(server.named, environment) as link:
            await self._list(server, link)
            server.scope.deadline = float("inf")
            server.link = link
            server.settled.set()
            took = round((anyio.current_time() - began) * 1000, 1)
            self._log.info("mcp.ready", session=self._session, server=server.name, tools=len(server.tools), ms=took)
            while not link.ended and not self._stopping:
                await link.news()
                if not link.ended:
                    await self._list(server, link)

    async def _list(self, server: _Server, link: Any) -> None:
        from ars_acp.mcp_tools import tools_of

        listed = await link.tools()
        self._taken -= {tool.name for tool in server.tools}
        server.tools = tools_of(server.name, listed, self._taken, link.call, self._settings.mcp_call_seconds)
        left_out = len(listed) - len(server.tools)
        if left_out:
            self._say(
                "warning", f"MCP server {server.name}: {left_out} of its tools are not offered", "too many or too large"
            )

    def _heard(self, server: _Server, line: str) -> None:
        server.last_line = line[:LONGEST_LINE]
        self._log.info("mcp.said", session=self._session, server=server.name, line=server.last_line)

    def _lost(self, server: _Server, was_there: bool, why: str) -> None:
        event = "mcp.lost" if was_there else "mcp.failed"
        self._log.error(event, session=self._session, server=server.name, reason=why)
        title = "is gone; its tools are not offered any more" if was_there else "could not be started"
        last = f"; the last it said: {server.last_line}" if server.last_line else ""
        self._say("warning", f"MCP server {server.name} {title}", why + last)

    def _say(self, severity: str, title: str, description: str) -> None:
        from ars_acp.mcp_tools import visible
        from event_log.errors import LogError

        if not self._stopping:
            with contextlib.suppress(LogError):  # the turn will fail by the same, and is answered
                self._tell(severity, redact(visible(title)), redact(description[:LONGEST_LINE]))


def _hide_secrets(server: "McpServer") -> None:
    for header in getattr(server, "headers", ()):
        if header.name.lower() not in PLAIN_HEADERS:
            redact.add(header.value)
            redact.add(header.value.rpartition(" ")[2])
    for variable in getattr(server, "env", ()):
        if not variable.value.startswith("/"):
            redact.add(variable.value)
