"""Initialization and authentication: `initialize`, `authenticate`, `logout`, and the client's capabilities."""

from typing import Annotated

from acp_wire.schema._base import (
    DEFAULTS,
    Empty,
    Flag,
    Lenient,
    Model,
    OptionalText,
    Supported,
    Uint16,
)

OptionalMarker = Annotated[Supported | None, Lenient()]


class Implementation(Model):
    name: str
    version: str
    title: OptionalText = None


class FileSystemCapabilities(Model):
    read_text_file: Flag = False
    write_text_file: Flag = False


class SessionConfigOptionsCapabilities(Model):
    boolean: OptionalMarker = None


class ClientSessionCapabilities(Model):
    config_options: Annotated[SessionConfigOptionsCapabilities | None, Lenient()] = None
    notices: OptionalMarker = None
    compaction: OptionalMarker = None


class AuthCapabilities(Model):
    terminal: Flag = False


class ElicitationCapabilities(Model):
    form: OptionalMarker = None
    url: OptionalMarker = None


class ClientCapabilities(Model):
    fs: Annotated[FileSystemCapabilities, Lenient(dict)] = DEFAULTS
    terminal: Flag = False
    session: Annotated[ClientSessionCapabilities | None, Lenient()] = None
    auth: Annotated[AuthCapabilities, Lenient(dict)] = DEFAULTS
    elicitation: Annotated[ElicitationCapabilities | None, Lenient()] = None


class InitializeRequest(Model):
    protocol_version: Uint16
    client_capabilities: Annotated[ClientCapabilities, Lenient(dict)] = DEFAULTS
    client_info: Annotated[Implementation | None, Lenient()] = None


class AuthenticateRequest(Model):
    method_id: str


AuthenticateResponse = Empty
LogoutRequest = Empty
LogoutResponse = Empty
