"""What a client of the OpenAI API is told of a failure: `{"error": {"message", "type", "code", "param"}}`, under `/v1`
only. Its libraries make their exceptions of the status, and try again unless they are told not to."""

from typing import Any

from starlette.responses import Response

from ars_gateway.http.errors import INTERNAL, INVALID_MESSAGE, HttpError, as_http, json_response
from ars_gateway.sessions.ledger import Entry
from ars_gateway.talks import failures
from ars_gateway.talks.runs import RESTART

Json = dict[str, Any]

UNDER = "/v1/"
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}


def shape(error: HttpError) -> Json:
    """The body of the answer; also what stands in a stream in the place of a chunk."""
    kind = _TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "server_error")
    told = {"message": error.message, "type": kind, "code": _CODES.get(error.status, error.code.lower())}
    return {"error": {**told, "param": error.details.get("param")}}


def response(error: HttpError) -> Response:
    """The answer; `x-should-retry` is what the official libraries go by."""
    headers = {**error.headers, "x-should-retry": "true" if error.retryable else "false"}
    return json_response(shape(error), error.status, headers)


def invalid(param: str, message: str) -> HttpError:
    """A parameter that cannot be answered as it is."""
    return HttpError(400, INVALID_MESSAGE, f"{param}: {message}", details={"param": param})


def of_run(entry: Entry) -> HttpError | None:
    """Why a run has no answer; None where it has one, be it cut short by somebody who may do that."""
    if entry.state == "error":
        told = entry.outcome["error"]
    elif entry.state == "timeout":
        told = failures.OVERDUE
    elif entry.state == "aborted" and entry.outcome.get("stopReason") == RESTART:
        told = failures.INTERRUPTED
    else:
        return None
    return of_failure(told)


def of_failure(told: Json) -> HttpError:
    """What an agent, or the way to it, has failed with (`failures.told`)."""
    found = as_http(failures.error(told)) or HttpError(500, INTERNAL, told["message"])
    if of_agent := (told.get("details") or {}).get("code"):
        found.code = of_agent
    return found
