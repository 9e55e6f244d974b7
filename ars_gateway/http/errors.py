"""What an HTTP request is refused with, and the one shape in which it is said:
`{"error": {"code", "message", "retryable", "details"}}`, `details` always an object."""

import math
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from ars_gateway import errors
from ars_gateway.errors import GatewayError, MethodError, http_body
from ars_gateway.protocol.frames import encoded

Json = dict[str, Any]

# The specification's, then ours.
INVALID_MESSAGE = "INVALID_MESSAGE"
TOOL_TIMEOUT = "TOOL_TIMEOUT"
LLM_ERROR = "LLM_ERROR"
LLM_STREAM_INTERRUPTED = "LLM_STREAM_INTERRUPTED"
GATEWAY_UNREACHABLE = "GATEWAY_UNREACHABLE"
UNAUTHORIZED = "UNAUTHORIZED"
FORBIDDEN = "FORBIDDEN"
RATE_LIMITED = "RATE_LIMITED"
NOT_FOUND = "NOT_FOUND"
METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
NOT_ACCEPTABLE = "NOT_ACCEPTABLE"
CONFLICT = "CONFLICT"
TOO_LARGE = "TOO_LARGE"
UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
AGENT_UNAVAILABLE = "AGENT_UNAVAILABLE"
INTERNAL = "INTERNAL"

_BY_STATUS = {404: NOT_FOUND, 405: METHOD_NOT_ALLOWED, 413: TOO_LARGE}
# What a method of the WebSocket protocol fails with, as a status and a code here.
_OF_METHODS = {
    errors.INVALID_REQUEST: (400, INVALID_MESSAGE),
    errors.UNAVAILABLE: (503, AGENT_UNAVAILABLE),
    errors.AGENT_TIMEOUT: (504, AGENT_UNAVAILABLE),
    errors.NOT_LINKED: (503, AGENT_UNAVAILABLE),
    errors.NOT_PAIRED: (403, FORBIDDEN),
}


class HttpError(GatewayError):
    """The answer to an HTTP request is this error. `retryable`: the same request may succeed later."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        retryable: bool = False,
        details: Json | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retryable = retryable
        self.details = details or {}
        self.headers = headers or {}

    def shape(self) -> Json:
        """The body of the answer, and the `data` of an error event."""
        return http_body(self.code, self.message, self.retryable, self.details)

    def response(self) -> Response:
        """The answer."""
        return json_response(self.shape(), self.status, self.headers)


def too_often(seconds: float, message: str = "too many requests (retry later)") -> HttpError:
    """The same request may be made again in so many seconds."""
    headers = {"retry-after": str(math.ceil(seconds))}
    return HttpError(429, RATE_LIMITED, message, retryable=True, headers=headers)


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer that is JSON."""
    return Response(encoded(body), status, headers, "application/json")


def as_http(why: Exception) -> HttpError | None:
    """What is said of a failure that was foreseen; None for one that was not."""
    if isinstance(why, HttpError):
        return why
    if isinstance(why, MethodError):
        return _of_method(why)
    if isinstance(why, HTTPException):
        code = _BY_STATUS.get(why.status_code, INVALID_MESSAGE)
        return HttpError(
            why.status_code, code, why.detail, headers={name.lower(): it for name, it in (why.headers or {}).items()}
        )
    return None


def _of_method(why: MethodError) -> HttpError:
    status, code = _OF_METHODS.get(why.code, (500, INTERNAL))
    details: Json = why.details if isinstance(why.details, dict) else {}
    if code == AGENT_UNAVAILABLE:
        details = {"code": why.code, **details}
    headers = {}
    if why.retry_after_ms is not None:
        details = {**details, "retryAfterMs": why.retry_after_ms}
        headers["retry-after"] = str(math.ceil(why.retry_after_ms / 1000))
    retryable = bool(why.retryable)
    return HttpError(status, code, why.message, retryable=retryable, details=details, headers=headers)
