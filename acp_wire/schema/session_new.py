"""`session/new`. Read without pydantic, as it is part of the start; `session` has the others of its kind."""

from typing import TYPE_CHECKING

from acp_wire.schema._plain import Json, Part, required, text, texts

if TYPE_CHECKING:
    from acp_wire.schema.session import McpServer


class NewSessionRequest(Part):
    def __init__(self, raw: Json) -> None:
        super().__init__(raw)
        self.cwd = text(raw, "cwd")
        self.mcp_servers = _mcp_servers(raw)
        self.additional_directories = texts(raw, "additionalDirectories")


def _mcp_servers(raw: Json) -> "list[McpServer]":
    if required(raw, "mcpServers") in (None, []):
        return []
    from acp_wire.schema._base import reader  # late: most sessions name no server
    from acp_wire.schema.session import NamedServers

    named: NamedServers = reader(NamedServers)(raw)
    return named.mcp_servers
