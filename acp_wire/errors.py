"""The exception tree of the wire, and the error codes of ACP v1.

WireError
├── RpcError            an error answer: ours to give, or the peer's that we got
├── Malformed           a message is not what the schema has; a row of `methods` makes an RpcError of it
├── RequestTimeout      the peer did not answer in time; it has been told with $/cancel_request
└── ConnectionClosed    the other end is gone; the request may or may not have been carried out

code    name               when
-32700  PARSE_ERROR        the line is not JSON
-32600  INVALID_REQUEST    not a request, a batch, an over-long line, an id in use, a request before `initialize`
-32601  METHOD_NOT_FOUND   unknown, or not offered by this end
-32602  INVALID_PARAMS     malformed or unsupported values
-32603  INTERNAL_ERROR     our own failure
-32800  REQUEST_CANCELLED  answered because of $/cancel_request
-32000  AUTH_REQUIRED      no way to reach a model
-32002  NOT_FOUND          unknown session, file or terminal
"""

from typing import Any

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
REQUEST_CANCELLED = -32800
AUTH_REQUIRED = -32000
NOT_FOUND = -32002


class WireError(Exception):
    """Whatever can go wrong between the two ends. `request_id` is that of our request, where one was sent."""

    request_id: int | None = None


class RpcError(WireError):
    """An error answer. Raised by a handler to give it, and by `Connection.request` when the peer gave it."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def as_dict(self) -> dict[str, Any]:
        """The `error` member of the answer."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            error["data"] = self.data
        return error


class Malformed(WireError, ValueError):
    """Its text is the path on the wire and the rule broken, never the value. A ValueError, as pydantic expects."""


class RequestTimeout(WireError):
    """The peer did not answer within the time that the caller gave."""


class ConnectionClosed(WireError):
    """The other end is gone."""
