"""`initialize`, with the client's capabilities. Read without pydantic, as it comes first."""

from acp_wire.schema._plain import Json, Part, Supported, flag, optional, optional_text, part, text, uint16


class Implementation(Part):
    def __init__(self, raw: Json) -> None:
        super().__init__(raw)
        self.name = text(raw, "name")
        self.version = text(raw, "version")
        self.title = optional_text(raw, "title")


class FileSystemCapabilities(Part):
    def __init__(self, raw: Json) -> None:
        super().__init__(raw)
        self.read_text_file = flag(raw, "readTextFile")
        self.write_text_file = flag(raw, "writeTextFile")


class SessionConfigOptionsCapabilities(Part):
    def __init__(self, raw: Json) -> None:
        super().__init__(raw)
        self.boolean = optional(raw, "boolean", Supported)


class ClientSessionCapabilities(Part):
    def __init__(self, raw: Json) -> None:
        super().__init__(raw)
        self.config_options = optional(raw, "configOptions", SessionConfigOptionsCapabilities)
        self.notices = optional(raw, "notices", Supported)
        self.compaction = optional(raw, "compaction", Supported)


class AuthCapabilities(Part):
    def __init__(self, raw: Json) -> None:
        super().__init__(raw)
        self.terminal = flag(raw, "terminal")


class ElicitationCapabilities(Part):
    def __init__(self, raw: Json) -> None:
        super().__init__(raw)
        self.form = optional(raw, "form", Supported)
        self.url = optional(raw, "url", Supported)


class ClientCapabilities(Part):
    def __init__(self, raw: Json) -> None:
        super().__init__(raw)
        self.fs = part(raw, "fs", FileSystemCapabilities)
        self.terminal = flag(raw, "terminal")
        self.session = optional(raw, "session", ClientSessionCapabilities)
        self.auth = part(raw, "auth", AuthCapabilities)
        self.elicitation = optional(raw, "elicitation", ElicitationCapabilities)


class InitializeRequest(Part):
    def __init__(self, raw: Json) -> None:
        super().__init__(raw)
        self.protocol_version = uint16(raw, "protocolVersion")
        self.client_capabilities = part(raw, "clientCapabilities", ClientCapabilities)
        self.client_info = optional(raw, "clientInfo", Implementation)
