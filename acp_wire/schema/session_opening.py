"""`session/new`, `load`, `resume` and `list`: one of them is an agent's first request after `initialize`.

Read without pydantic, as that would have to be loaded for them; `session` has the others.
"""

from typing import TYPE_CHECKING

from acp_wire.schema._plain import Json, Part, nullable_text, required, text, texts

if TYPE_CHECKING:
    from acp_wire.schema.session import McpServer


class NewSessionRequest(Part):
    def __init__(self, raw: Json) -> None:
        super().__init__(raw)
        self.cwd = text(raw, "cwd")
        required(raw, "mcpServers")
        self.mcp_servers = _mcp_servers(raw)
        self.additional_directories = texts(raw, "additionalDirectories")


class ResumeSessionRequest(Part):
    def __init__(self, raw: Json) -> None:
        super().__init__(raw)
        self.session_id = text(raw, "sessionId")
        self.cwd = text(raw, "cwd")
        self.mcp_servers = _mcp_servers(raw)
        self.additional_directories = texts(raw, "additionalDirectories")


class LoadSessionRequest(ResumeSessionRequest):
    def __init__(self, raw: Json) -> None:
        super().__init__(raw)
        required(raw, "mcpServers")


class ListSessionsRequest(Part):
    def __init__(self, raw: Json) -> None:
        super().__init__(raw)
        self.cwd = nullable_text(raw, "cwd")
        self.cursor = nullable_text(raw, "cursor")


def _mcp_servers(raw: Json) -> "list[McpServer]":
    if raw.get("mcpServers") in (None, []):
        return []
    from acp_wire.schema._base import reader  # late: most sessions name no server
    from acp_wire.schema.session import NamedServers

    named: NamedServers = reader(NamedServers)(raw)
    return named.mcp_servers
