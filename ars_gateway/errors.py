"""What goes wrong at the gateway, as a tree.

GatewayError
├── StartError     the settings, the token file or an address do not allow a start (the person who starts it)
├── MethodError    the answer to a request is an error (the client, or what the method stands on)
└── Refused        a handshake ends in a closed connection (the client)
"""

from typing import Any

INVALID_REQUEST = "INVALID_REQUEST"
UNAVAILABLE = "UNAVAILABLE"
NOT_PAIRED = "NOT_PAIRED"
AGENT_TIMEOUT = "AGENT_TIMEOUT"
NOT_LINKED = "NOT_LINKED"

POLICY, PROTOCOL_ERROR, NORMAL, GOING_AWAY, TOO_BIG, BAD_DATA = 1008, 1002, 1000, 1001, 1009, 1007
FAILED, RESTART = 1011, 1012


class GatewayError(Exception):
    """Anything that the gateway raises on purpose."""


class StartError(GatewayError):
    """The gateway does not start like this; the text says what to change."""


class MethodError(GatewayError):
    """A request's answer is this error. `retry_after_ms` is set where waiting helps; `details` is any JSON, `payload`
    what the answer says besides."""

    def __init__(
        self,
        code: str,
        message: str,
        details: Any = None,
        retryable: bool | None = None,
        retry_after_ms: int | None = None,
        payload: Any = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details
        self.retryable = retryable
        self.retry_after_ms = retry_after_ms
        self.payload = payload

    def shape(self) -> dict[str, Any]:
        """The `error` of a res frame; what is not known is left out."""
        optional = {"details": self.details, "retryable": self.retryable, "retryAfterMs": self.retry_after_ms}
        given = {key: value for key, value in optional.items() if value is not None}
        return {"code": self.code, "message": self.message, **given}


class Refused(GatewayError):
    """The handshake ends: an error answer where `error` is given, then the close frame with `close_code`."""

    def __init__(self, error: MethodError | None, close_code: int = POLICY, reason: str | None = None) -> None:
        super().__init__(reason if reason is not None else str(error))
        self.error = error
        self.close_code = close_code
        self.reason = str(self)


def http_body(
    code: str, message: str, retryable: bool = False, details: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The body of every HTTP answer that says no."""
    return {"error": {"code": code, "message": message, "retryable": retryable, "details": details or {}}}


def invalid(message: str, details: Any = None) -> MethodError:
    """The request is not one that can be answered as it is."""
    return MethodError(INVALID_REQUEST, message, details)


def unavailable(message: str, details: Any = None) -> MethodError:
    """What the request needs is not there now, or not served at all."""
    return MethodError(UNAVAILABLE, message, details)
