"""What goes wrong with an agent, in the words and codes of the protocol: who may try again, and when."""

import contextlib
from collections.abc import Iterator
from typing import Any

from ars_gateway.errors import AGENT_TIMEOUT, INVALID_REQUEST, NOT_LINKED, UNAVAILABLE, MethodError
from connector.errors import (
    AgentError,
    AgentExited,
    AgentNotFound,
    AgentTimeout,
    AgentUnavailable,
    ConnectorError,
    NotOffered,
    SessionNotFound,
    SignInNeeded,
    VersionMismatch,
)
from event_log import LogError

Json = dict[str, Any]
RETRY_MS = 1000

# A run that the end of the gateway has cut off: how far it had come is in its transcript.
INTERRUPTED: Json = {
    "code": UNAVAILABLE,
    "message": "the gateway was restarted while this run went on",
    "retryable": True,
    "retryAfterMs": 0,
}
INTERNAL: Json = {"code": UNAVAILABLE, "message": "internal error: the gateway's log has it", "retryable": False}
ABORTED: Json = {"code": UNAVAILABLE, "message": "the run was aborted", "retryable": True, "retryAfterMs": 0}
OVERDUE: Json = {"code": AGENT_TIMEOUT, "message": "the run took longer than it was given", "retryable": True}

# (code, retryable, milliseconds to wait); the first row that fits.
_TABLE: tuple[tuple[type[Exception], str, bool, int | None], ...] = (
    (AgentTimeout, AGENT_TIMEOUT, True, RETRY_MS),
    (SessionNotFound, INVALID_REQUEST, False, None),
    (SignInNeeded, NOT_LINKED, False, None),
    (AgentNotFound, UNAVAILABLE, True, RETRY_MS),
    (AgentExited, UNAVAILABLE, True, RETRY_MS),
    (AgentUnavailable, UNAVAILABLE, True, RETRY_MS),
    (VersionMismatch, UNAVAILABLE, False, None),
    (NotOffered, INVALID_REQUEST, False, None),
    (ConnectorError, UNAVAILABLE, True, RETRY_MS),
    (ValueError, INVALID_REQUEST, False, None),
)


def told(why: Exception) -> Json:
    """The `error` of a res frame for what an agent, or the way to it, has failed with."""
    if isinstance(why, AgentError) and type(why) is AgentError:
        return _of_agent(why)
    code, retryable, wait = next(
        ((code, again, wait) for kind, code, again, wait in _TABLE if isinstance(why, kind)), (UNAVAILABLE, False, None)
    )
    shape: Json = {"code": code, "message": str(why) or type(why).__name__, "retryable": retryable}
    return shape if wait is None else {**shape, "retryAfterMs": wait}


def error(shape: Json) -> MethodError:
    """The exception for such a shape."""
    return MethodError(
        shape["code"], shape["message"], shape.get("details"), shape.get("retryable"), shape.get("retryAfterMs")
    )


@contextlib.contextmanager
def as_answers() -> Iterator[None]:
    """What fails in the block, of an agent or of a transcript, becomes the error of an answer."""
    try:
        yield
    except (ConnectorError, OSError) as why:
        raise error(told(why)) from why
    except LogError as why:
        raise MethodError(UNAVAILABLE, f"the transcript cannot be used: {why}", retryable=False) from why


def _of_agent(why: AgentError) -> Json:
    """The agent's own error, which may say whether it helps to try again (`code`, `retryable`, `retryAfterMs`)."""
    data = why.data if isinstance(why.data, dict) else {}
    shape: Json = {"code": UNAVAILABLE, "message": str(why), "retryable": data.get("retryable") is True}
    if isinstance(wait := data.get("retryAfterMs"), int):
        shape["retryAfterMs"] = wait
    if isinstance(code := data.get("code"), str):
        shape["details"] = {"code": code}
    return shape
