"""One MCP server, over the official SDK. Only this module imports it, and only a session that names a server does this.

What comes out is plain: tools and answers as our own small types, every fault as `ServerFault`.
"""

import contextlib
import logging
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import anyio
import httpx2
import mcp_types
from mcp import Client, MCPError, StdioServerParameters
from mcp.client import stdio
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from pydantic import ValidationError

from acp_wire.schema.session import McpServer, McpServerSse, McpServerStdio
from ars_acp import __version__
from ars_acp.mcp_addresses import vetted
from ars_acp.mcp_tools import Answer, Listed, ServerFault, TimedOut

# How long a program that was told to end may take before it is asked by a signal, and then before it is killed: both
# have to fit into the time that the agent gives itself at its own end.
stdio.PROCESS_TERMINATION_TIMEOUT = 0.4
stdio.FORCE_KILL_TIMEOUT = 0.2
# What the SDK logs may hold addresses and messages; what matters of it arrives here as an exception.
for _name in ("mcp", "client", "httpx2", "httpcore2"):
    logging.getLogger(_name).addHandler(logging.NullHandler())
    logging.getLogger(_name).propagate = False

CONNECT_SECONDS = 10
MOST_PAGES = 20
STDERR_PIECE = 16 * 1024


@dataclass(frozen=True)
class Environment:
    """What connecting needs beside the server's own data; `heard` gets the lines that a program writes on stderr."""

    cwd: str
    ca_file: str | None
    call_seconds: float
    heard: Callable[[str], None]


class Link:
    """A connection that stands."""

    def __init__(self) -> None:
        self.ended = False
        self._client: Client
        self._news = anyio.Event()

    def attach(self, client: Client) -> None:
        """What the calls go through, once the handshake is done."""
        self._client = client

    async def news(self) -> None:
        """Waits until the server has ended, or its list of tools has changed."""
        await self._news.wait()
        self._news = anyio.Event()

    def end(self) -> None:
        """Nothing more comes from the server."""
        self.ended = True
        self._news.set()

    async def listen(self) -> None:
        """Hears of changes from servers that tell them only to who asks; others tell everybody, or nobody."""
        with contextlib.suppress(ListenNotSupportedError, SubscriptionLost, MCPError, TimeoutError):
            async with self._client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self._news.set()

    async def message(self, message: Any) -> None:
        """Takes whatever the server says by itself."""
        if isinstance(message, mcp_types.ToolListChangedNotification):
            self._news.set()

    async def tools(self) -> list[Listed]:
        """What the server offers now. Raises `ServerFault`."""
        found: list[Listed] = []
        cursor: str | None = None
        with _faults_told():
            for _ in range(MOST_PAGES):
                page = await self._client.list_tools(cursor=cursor)
                found += [Listed(it.name, it.description or it.title or "", it.input_schema) for it in page.tools]
                cursor = page.next_cursor
                if cursor is None:
                    break
        return found

    async def call(self, name: str, arguments: dict[str, Any], seconds: float) -> Answer:
        """One call to its end; the server is told when it takes too long. Raises `ServerFault`, `TimedOut`."""
        with _faults_told(), anyio.move_on_after(seconds):
            result = await self._client.call_tool(name, arguments)
            blocks = [it.model_dump(mode="json", by_alias=True, exclude_none=True) for it in result.content]
            return Answer(not result.is_error, blocks, result.structured_content)
        raise TimedOut


@contextlib.asynccontextmanager
async def connected(server: McpServer, environment: Environment) -> AsyncIterator[Link]:
    """A link to the server as long as the block lasts; a program is gone afterwards. Raises `ServerFault`."""
    link = Link()
    with _faults_told():
        async with contextlib.AsyncExitStack() as stack:
            client = Client(
                _watched(_transport(server, environment), link),
                message_handler=link.message,
                client_info=mcp_types.Implementation(name="ars-acp", title="ARS", version=__version__),
                read_timeout_seconds=environment.call_seconds,
                cache=None,
            )
            link.attach(await stack.enter_async_context(client))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(link.listen)
                yield link
                tasks.cancel_scope.cancel()


def _transport(server: McpServer, environment: Environment) -> Any:
    if isinstance(server, McpServerStdio):
        return _program(server, environment)
    headers = {header.name: header.value for header in server.headers}
    if isinstance(server, McpServerSse):

        def make(
            headers: dict[str, str] | None = None,
            timeout: httpx2.Timeout | None = None,
            auth: httpx2.Auth | None = None,
        ) -> httpx2.AsyncClient:
            return _http(headers or {}, environment)

        return sse_client(server.url, headers=headers, httpx_client_factory=make)
    return _streamable(server.url, headers, environment)


@contextlib.asynccontextmanager
async def _streamable(url: str, headers: dict[str, str], environment: Environment) -> AsyncIterator[Any]:
    async with _http(headers, environment) as http, streamable_http_client(url, http_client=http) as streams:
        yield streams


def _http(headers: dict[str, str], environment: Environment) -> httpx2.AsyncClient:
    """Straight to the server: no proxy, no certificates and no credentials that the environment names."""
    trusted: ssl.SSLContext | bool = True
    if environment.ca_file is not None:
        trusted = ssl.create_default_context(cafile=environment.ca_file)
    # A stream of events may be silent for as long as it likes; each call has its own limit.
    timeout = httpx2.Timeout(CONNECT_SECONDS, read=None)
    inner = httpx2.AsyncHTTPTransport(verify=trusted, trust_env=False)
    return httpx2.AsyncClient(transport=_Vetted(inner), headers=headers, timeout=timeout, trust_env=False)


class _Vetted(httpx2.AsyncBaseTransport):
    """Sends each request, redirected ones too, to an address that was found to be allowed."""

    def __init__(self, inner: httpx2.AsyncHTTPTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        *others, last = await vetted(url.host, url.port or (443 if url.scheme == "https" else 80))
        for address in others:
            with contextlib.suppress(httpx2.ConnectError, httpx2.ConnectTimeout):  # as where localhost is ::1 as well
                return await self._inner.handle_async_request(_sent_to(address, request))
        return await self._inner.handle_async_request(_sent_to(last, request))

    async def aclose(self) -> None:
        await self._inner.aclose()


def _sent_to(address: str, request: httpx2.Request) -> httpx2.Request:
    return httpx2.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.host},
    )


@contextlib.asynccontextmanager
async def _program(server: McpServerStdio, environment: Environment) -> AsyncIterator[Any]:
    """The SDK starts it in a group of its own, with a few safe variables and those that the client named."""
    parameters = StdioServerParameters(
        command=server.command,
        args=server.args,
        env={variable.name: variable.value for variable in server.env},
        cwd=environment.cwd,
    )
    reading, writing = os.pipe()
    try:
        async with anyio.create_task_group() as tasks, contextlib.AsyncExitStack() as stack:
            with os.fdopen(writing, "w") as errlog:
                streams = await stack.enter_async_context(stdio.stdio_client(parameters, errlog))
            tasks.start_soon(_hear, reading, environment.heard)
            yield streams
            await stack.aclose()
            tasks.cancel_scope.cancel()
    finally:
        os.close(reading)


async def _hear(fd: int, heard: Callable[[str], None]) -> None:
    os.set_blocking(fd, False)
    rest = b""
    while True:
        await anyio.wait_readable(fd)
        data = os.read(fd, STDERR_PIECE)
        *lines, rest = (rest + data).split(b"\n")
        if not data or len(rest) > STDERR_PIECE:
            lines, rest = [*lines, rest], b""
        for line in lines:
            if line.strip():
                heard(line.decode("utf-8", "replace").strip())
        if not data:
            return


@contextlib.asynccontextmanager
async def _watched(transport: Any, link: Link) -> AsyncIterator[Any]:
    """The transport, with the link told when it has nothing more to say."""
    async with transport as (incoming, outgoing):
        yield _Watched(incoming, link), outgoing


class _Watched:
    def __init__(self, inner: Any, link: Link) -> None:
        self._inner = inner
        self._link = link

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._inner.__anext__()
        except StopAsyncIteration:
            self._link.end()
            raise

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *details: Any) -> None:
        await self._inner.__aexit__(*details)


@contextlib.contextmanager
def _faults_told() -> Iterator[None]:
    """A foreign program is at the other end, and the SDK names no tree of exceptions: whatever it is, it is told."""
    try:
        yield
    except ServerFault:
        raise
    except Exception as exc:
        raise ServerFault(_reason(exc)) from exc


def _reason(exc: Exception) -> str:
    while isinstance(exc, ExceptionGroup):
        exc = exc.exceptions[0]
    if isinstance(exc, MCPError):
        return exc.message
    if isinstance(exc, ValidationError):
        return "it sent what is not MCP"
    return str(exc) or type(exc).__name__
