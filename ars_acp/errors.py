"""The errors of ARS, and who is to blame for each.

    code                    blame     retryable
    INVALID_MESSAGE         client    no; JSON-RPC error -32700, -32600 or -32602
    LLM_ERROR               provider  429, 5xx, no connection: yes, other 4xx: no; JSON-RPC error -32603
    LLM_STREAM_INTERRUPTED  provider  yes, by the caller; -32603, details.partialChars; the partial reply is kept
    TOOL_TIMEOUT            client    read-only tools, once, by themselves; a failed tool call, a result for the model
    SESSION_HELD            client    yes: another process has the session open; details {sessionId, pid, host, owner}
    STORE_UNREACHABLE       machine   yes: the server that keeps sessions does not answer
    GATEWAY_UNREACHABLE     client    yes, by whoever starts us; the log, and the exit code 3

A JSON-RPC error carries `data: {code, retryable, retryAfterMs?, details}`.
"""

from typing import TYPE_CHECKING, Any

from acp_wire.errors import INTERNAL_ERROR, RpcError

if TYPE_CHECKING:
    from event_log.errors import StoreUnreachable
    from event_log.owner import Owner

INVALID_MESSAGE = "INVALID_MESSAGE"
LLM_ERROR = "LLM_ERROR"
LLM_STREAM_INTERRUPTED = "LLM_STREAM_INTERRUPTED"
TOOL_TIMEOUT = "TOOL_TIMEOUT"
SESSION_HELD = "SESSION_HELD"
STORE_UNREACHABLE = "STORE_UNREACHABLE"
GATEWAY_UNREACHABLE = "GATEWAY_UNREACHABLE"


class SettingsError(Exception):
    """The user's settings cannot be used. Its text is one line that says what to change."""


def rpc_error(
    code: str,
    message: str,
    *,
    retryable: bool,
    retry_after_ms: int | None = None,
    details: dict[str, Any] | None = None,
    number: int = INTERNAL_ERROR,
) -> RpcError:
    """The error answer with the `data` that every ARS error carries."""
    data: dict[str, Any] = {"code": code, "retryable": retryable, "details": details or {}}
    if retry_after_ms is not None:
        data["retryAfterMs"] = retry_after_ms
    return RpcError(number, message, data)


def invalid_message(number: int, message: str, **details: Any) -> RpcError:
    """The client sent what we cannot take; `message` says what to send instead."""
    return rpc_error(INVALID_MESSAGE, message, retryable=False, details=details, number=number)


def session_held(session_id: str, owner: "Owner") -> RpcError:
    """Another process has the session open; `owner` is what a supervisor that knows it dead names in `takes_over`."""
    return rpc_error(
        SESSION_HELD,
        f"This session is open in another process (pid {owner.pid} on {owner.host}); close it there or try again later",
        retryable=True,
        details={"sessionId": session_id, "pid": owner.pid, "host": owner.host, "owner": owner.id},
    )


def store_unreachable(error: "StoreUnreachable") -> RpcError:
    """The sessions of this process go on in local files; others are to be had when the server is back."""
    return rpc_error(STORE_UNREACHABLE, f"{error}", retryable=True)
