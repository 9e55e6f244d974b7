"""MCP servers, and what is asked of a session that is there: `session/close`, `delete`, `set_mode`."""

from typing import Annotated, Literal

from acp_wire.schema._base import (
    NULL_IS_EMPTY,
    Empty,
    Model,
    OfSession,
    Strings,
    Tagged,
)


class EnvVariable(Model):
    name: str
    value: str


class HttpHeader(Model):
    name: str
    value: str


class McpServerStdio(Model):
    """A server that the agent starts. It has no `type` in v1; `stdio` is tolerated."""

    name: str
    command: str
    args: Strings
    env: Annotated[list[EnvVariable], NULL_IS_EMPTY]


class McpServerHttp(Model):
    type: Literal["http"] = "http"
    name: str
    url: str
    headers: Annotated[list[HttpHeader], NULL_IS_EMPTY]


class McpServerSse(Model):
    type: Literal["sse"] = "sse"
    name: str
    url: str
    headers: Annotated[list[HttpHeader], NULL_IS_EMPTY]


McpServer = Annotated[
    McpServerHttp | McpServerSse | McpServerStdio,
    Tagged("type", {"http": McpServerHttp, "sse": McpServerSse}, other=McpServerStdio),
]
McpServers = Annotated[list[McpServer], NULL_IS_EMPTY]


class NamedServers(Model):
    """Of a request that makes a session active the part that names servers."""

    mcp_servers: McpServers


class SetSessionModeRequest(Model):
    session_id: str
    mode_id: str


SetSessionModeResponse = Empty
CloseSessionRequest = OfSession
CloseSessionResponse = Empty
DeleteSessionRequest = OfSession
DeleteSessionResponse = Empty
