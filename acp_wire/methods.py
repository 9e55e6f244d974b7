"""One row per ACP v1 method. A row carries the method's name and its types, and loads them when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from acp_wire.errors import INTERNAL_ERROR, INVALID_PARAMS, Malformed, RpcError

if TYPE_CHECKING:
    from collections.abc import Callable

    from acp_wire.schema.agent_capabilities import InitializeResponse
    from acp_wire.schema.authentication import (
        AuthenticateRequest,
        AuthenticateResponse,
        LogoutRequest,
        LogoutResponse,
    )
    from acp_wire.schema.cancellation import CancelRequestNotification
    from acp_wire.schema.config_options import SetSessionConfigOptionRequest, SetSessionConfigOptionResponse
    from acp_wire.schema.elicitation import (
        CompleteElicitationNotification,
        CreateElicitationRequest,
        CreateElicitationResponse,
    )
    from acp_wire.schema.extensions import (
        AckRequest,
        AckResponse,
        CallToolRequest,
        CallToolResponse,
        ForkSessionRequest,
        HealthRequest,
        HealthResponse,
        ReplayRequest,
        ReplayResponse,
        RetoolRequest,
        RetoolResponse,
        RewindRequest,
        RewindResponse,
        SetSessionModelRequest,
        SetSessionModelResponse,
        SteeringRequest,
        SteeringResponse,
    )
    from acp_wire.schema.file_system import (
        ReadTextFileRequest,
        ReadTextFileResponse,
        WriteTextFileRequest,
        WriteTextFileResponse,
    )
    from acp_wire.schema.initialization import InitializeRequest
    from acp_wire.schema.permission import RequestPermissionRequest, RequestPermissionResponse
    from acp_wire.schema.prompt_turn import CancelNotification, PromptRequest, PromptResponse
    from acp_wire.schema.session import (
        CloseSessionRequest,
        CloseSessionResponse,
        DeleteSessionRequest,
        DeleteSessionResponse,
        SetSessionModeRequest,
        SetSessionModeResponse,
    )
    from acp_wire.schema.session_opening import (
        ListSessionsRequest,
        LoadSessionRequest,
        NewSessionRequest,
        ResumeSessionRequest,
    )
    from acp_wire.schema.session_state import (
        ListSessionsResponse,
        LoadSessionResponse,
        NewSessionResponse,
        ResumeSessionResponse,
    )
    from acp_wire.schema.session_update import SessionNotification
    from acp_wire.schema.terminals import (
        CreateTerminalRequest,
        CreateTerminalResponse,
        KillTerminalRequest,
        KillTerminalResponse,
        ReleaseTerminalRequest,
        ReleaseTerminalResponse,
        TerminalOutputRequest,
        TerminalOutputResponse,
        WaitForTerminalExitRequest,
        WaitForTerminalExitResponse,
    )

P = TypeVar("P")
R = TypeVar("R")


class Notification(Generic[P]):
    """A method that is never answered.

    `chapter` is a module of `acp_wire.schema`, or a whole module name for an extension; `params_type` is a name in it.
    """

    __slots__ = ("_params", "chapter", "name", "params_type")

    def __init__(self, name: str, chapter: str, params_type: str) -> None:
        self.name = name
        self.chapter = chapter
        self.params_type = params_type
        self._params: Callable[[Any], Any] | None = None

    @property
    def handler(self) -> str:
        """The attribute that serves the method: `session/prompt` -> `session_prompt`."""
        return self.name.replace("/", "_").lstrip("$_")

    def params(self, raw: Any) -> P:
        """The typed params; None is taken as `{}`.

        Raises RpcError(INVALID_PARAMS), whose message names the path on the wire and the rule broken, not the value.
        """
        if self._params is None:
            self._params = _reader(self.chapter, self.params_type)
        parsed: P = _parse(self._params, raw, INVALID_PARAMS, f"{self.name}: ", "params")
        return parsed

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


class Request(Notification[P], Generic[P, R]):
    """A method that is answered with a result or an error."""

    __slots__ = ("_result", "result_chapter", "result_type")

    def __init__(
        self, name: str, chapter: str, params_type: str, result_type: str, result_chapter: str | None = None
    ) -> None:
        super().__init__(name, chapter, params_type)
        self.result_type = result_type
        self.result_chapter = result_chapter or chapter
        self._result: Callable[[Any], Any] | None = None

    def result(self, raw: Any) -> R:
        """The typed result; None is taken as `{}`. Raises RpcError(INTERNAL_ERROR) for a peer's malformed result."""
        if self._result is None:
            self._result = _reader(self.result_chapter, self.result_type)
        parsed: R = _parse(self._result, raw, INTERNAL_ERROR, f"{self.name}: malformed result: ", "result")
        return parsed


def _reader(chapter: str, type_name: str) -> Callable[[Any], Any]:
    from acp_wire.schema._plain import Part

    module = import_module(chapter if "." in chapter else f"acp_wire.schema.{chapter}")
    kind = getattr(module, type_name)
    if isinstance(kind, type) and issubclass(kind, Part):
        return kind
    from acp_wire.schema._base import reader  # late: the first two requests of a connection need no pydantic

    return reader(kind)


def _parse(read: Callable[[Any], Any], raw: Any, code: int, prefix: str, what: str) -> Any:
    if raw is None:
        raw = {}
    elif not isinstance(raw, dict):
        raise RpcError(code, f"{prefix}{what} should be an object")
    try:
        return read(raw)
    except Malformed as why:
        raise RpcError(code, f"{prefix}{why}") from None


INITIALIZE: Request[InitializeRequest, InitializeResponse] = Request(
    "initialize", "initialization", "InitializeRequest", "InitializeResponse", "agent_capabilities"
)
AUTHENTICATE: Request[AuthenticateRequest, AuthenticateResponse] = Request(
    "authenticate", "authentication", "AuthenticateRequest", "AuthenticateResponse"
)
LOGOUT: Request[LogoutRequest, LogoutResponse] = Request("logout", "authentication", "LogoutRequest", "LogoutResponse")
SESSION_NEW: Request[NewSessionRequest, NewSessionResponse] = Request(
    "session/new", "session_opening", "NewSessionRequest", "NewSessionResponse", "session_state"
)
SESSION_LOAD: Request[LoadSessionRequest, LoadSessionResponse] = Request(
    "session/load", "session_opening", "LoadSessionRequest", "LoadSessionResponse", "session_state"
)
SESSION_RESUME: Request[ResumeSessionRequest, ResumeSessionResponse] = Request(
    "session/resume", "session_opening", "ResumeSessionRequest", "ResumeSessionResponse", "session_state"
)
SESSION_LIST: Request[ListSessionsRequest, ListSessionsResponse] = Request(
    "session/list", "session_opening", "ListSessionsRequest", "ListSessionsResponse", "session_state"
)
SESSION_CLOSE: Request[CloseSessionRequest, CloseSessionResponse] = Request(
    "session/close", "session", "CloseSessionRequest", "CloseSessionResponse"
)
SESSION_DELETE: Request[DeleteSessionRequest, DeleteSessionResponse] = Request(
    "session/delete", "session", "DeleteSessionRequest", "DeleteSessionResponse"
)
SESSION_PROMPT: Request[PromptRequest, PromptResponse] = Request(
    "session/prompt", "prompt_turn", "PromptRequest", "PromptResponse"
)
SESSION_SET_MODE: Request[SetSessionModeRequest, SetSessionModeResponse] = Request(
    "session/set_mode", "session", "SetSessionModeRequest", "SetSessionModeResponse"
)
SESSION_SET_CONFIG_OPTION: Request[SetSessionConfigOptionRequest, SetSessionConfigOptionResponse] = Request(
    "session/set_config_option",
    "config_options",
    "SetSessionConfigOptionRequest",
    "SetSessionConfigOptionResponse",
)
SESSION_CANCEL: Notification[CancelNotification] = Notification("session/cancel", "prompt_turn", "CancelNotification")

SESSION_UPDATE: Notification[SessionNotification] = Notification(
    "session/update", "session_update", "SessionNotification"
)
SESSION_REQUEST_PERMISSION: Request[RequestPermissionRequest, RequestPermissionResponse] = Request(
    "session/request_permission", "permission", "RequestPermissionRequest", "RequestPermissionResponse"
)
FS_READ_TEXT_FILE: Request[ReadTextFileRequest, ReadTextFileResponse] = Request(
    "fs/read_text_file", "file_system", "ReadTextFileRequest", "ReadTextFileResponse"
)
FS_WRITE_TEXT_FILE: Request[WriteTextFileRequest, WriteTextFileResponse] = Request(
    "fs/write_text_file", "file_system", "WriteTextFileRequest", "WriteTextFileResponse"
)
TERMINAL_CREATE: Request[CreateTerminalRequest, CreateTerminalResponse] = Request(
    "terminal/create", "terminals", "CreateTerminalRequest", "CreateTerminalResponse"
)
TERMINAL_OUTPUT: Request[TerminalOutputRequest, TerminalOutputResponse] = Request(
    "terminal/output", "terminals", "TerminalOutputRequest", "TerminalOutputResponse"
)
TERMINAL_WAIT_FOR_EXIT: Request[WaitForTerminalExitRequest, WaitForTerminalExitResponse] = Request(
    "terminal/wait_for_exit", "terminals", "WaitForTerminalExitRequest", "WaitForTerminalExitResponse"
)
TERMINAL_KILL: Request[KillTerminalRequest, KillTerminalResponse] = Request(
    "terminal/kill", "terminals", "KillTerminalRequest", "KillTerminalResponse"
)
TERMINAL_RELEASE: Request[ReleaseTerminalRequest, ReleaseTerminalResponse] = Request(
    "terminal/release", "terminals", "ReleaseTerminalRequest", "ReleaseTerminalResponse"
)
ELICITATION_CREATE: Request[CreateElicitationRequest, CreateElicitationResponse] = Request(
    "elicitation/create", "elicitation", "CreateElicitationRequest", "CreateElicitationResponse"
)
ELICITATION_COMPLETE: Notification[CompleteElicitationNotification] = Notification(
    "elicitation/complete", "elicitation", "CompleteElicitationNotification"
)

SESSION_STEERING: Request[SteeringRequest, SteeringResponse] = Request(
    "_session/steering", "extensions", "SteeringRequest", "SteeringResponse"
)
ARS_SESSION_REPLAY: Request[ReplayRequest, ReplayResponse] = Request(
    "_ars/session/replay", "extensions", "ReplayRequest", "ReplayResponse"
)
ARS_SESSION_ACK: Request[AckRequest, AckResponse] = Request(
    "_ars/session/ack", "extensions", "AckRequest", "AckResponse"
)
ARS_SESSION_REWIND: Request[RewindRequest, RewindResponse] = Request(
    "_ars/session/rewind", "extensions", "RewindRequest", "RewindResponse"
)
ARS_SESSION_RETOOL: Request[RetoolRequest, RetoolResponse] = Request(
    "_ars/session/retool", "extensions", "RetoolRequest", "RetoolResponse"
)
ARS_HEALTH: Request[HealthRequest, HealthResponse] = Request(
    "_ars/health", "extensions", "HealthRequest", "HealthResponse"
)
# The client's: what it carries out itself, of the tools that it named when it opened the session, or since.
ARS_TOOL_CALL: Request[CallToolRequest, CallToolResponse] = Request(
    "_ars/tool/call", "extensions", "CallToolRequest", "CallToolResponse"
)
SESSION_FORK: Request[ForkSessionRequest, NewSessionResponse] = Request(
    "session/fork", "extensions", "ForkSessionRequest", "NewSessionResponse", "session_state"
)

CANCEL_REQUEST: Notification[CancelRequestNotification] = Notification(
    "$/cancel_request", "cancellation", "CancelRequestNotification"
)
# Of older clients, from before models were config options; in no schema.
SESSION_SET_MODEL: Request[SetSessionModelRequest, SetSessionModelResponse] = Request(
    "session/set_model", "extensions", "SetSessionModelRequest", "SetSessionModelResponse"
)

AGENT_REQUESTS: tuple[Request[Any, Any], ...] = (
    INITIALIZE,
    AUTHENTICATE,
    LOGOUT,
    SESSION_NEW,
    SESSION_LOAD,
    SESSION_RESUME,
    SESSION_LIST,
    SESSION_CLOSE,
    SESSION_DELETE,
    SESSION_PROMPT,
    SESSION_SET_MODE,
    SESSION_SET_CONFIG_OPTION,
)
# What an agent may serve besides: no part of the stable schema.
EXTENSIONS: tuple[Request[Any, Any], ...] = (
    SESSION_STEERING,
    SESSION_FORK,
    SESSION_SET_MODEL,
    ARS_SESSION_REPLAY,
    ARS_SESSION_ACK,
    ARS_SESSION_REWIND,
    ARS_SESSION_RETOOL,
    ARS_HEALTH,
)
AGENT_NOTIFICATIONS: tuple[Notification[Any], ...] = (SESSION_CANCEL, CANCEL_REQUEST)
CLIENT_REQUESTS: tuple[Request[Any, Any], ...] = (
    SESSION_REQUEST_PERMISSION,
    FS_READ_TEXT_FILE,
    FS_WRITE_TEXT_FILE,
    TERMINAL_CREATE,
    TERMINAL_OUTPUT,
    TERMINAL_WAIT_FOR_EXIT,
    TERMINAL_KILL,
    TERMINAL_RELEASE,
    ELICITATION_CREATE,
)
# What a client may serve besides.
CLIENT_EXTENSIONS: tuple[Request[Any, Any], ...] = (ARS_TOOL_CALL,)
CLIENT_NOTIFICATIONS: tuple[Notification[Any], ...] = (SESSION_UPDATE, ELICITATION_COMPLETE, CANCEL_REQUEST)
