"""What went wrong with one attempt, whether another attempt may help, and the typed error that it becomes."""

from collections.abc import Mapping
from typing import Any

from ars_acp.errors import LLM_ERROR, LLM_STREAM_INTERRUPTED
from ars_acp.models.model import ModelError
from ars_acp.models.retry import is_transient, retry_after
from ars_acp.redact import Redactor

MESSAGE_LIMIT = 500
CONTEXT_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error", "model_context_window_exceeded"})
CONTEXT_WORDS = (
    "maximum context length",
    "context length exceeded",
    "context window",
    "prompt is too long",
    "context size",
)
QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
LASTING_TYPES = frozenset({"invalid_request_error", "authentication_error", "permission_error", "not_found_error"})
INTERRUPTED_WORDS = {
    "error": "the model's endpoint ended the reply with an error",
    "eof": "the model's stream ended in the middle of the reply",
    "idle": "the model's stream stood still",
    "json": "the model's stream held something that is not JSON",
    "shape": "the model's stream held something that is not a chat completion chunk",
    "size": "the model's stream held an event that is too long",
    "connection": "the connection to the model broke in the middle of the reply",
}


class Fault(Exception):
    """One attempt has failed. `again`: another one is worth it, if nothing was shown, after `wait` seconds if given."""

    def __init__(self, error: ModelError, *, again: bool = False, wait: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.again = again
        self.wait = wait


class Faults:
    """Builds the faults of one endpoint, with its secrets taken out of whatever the endpoint says."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._redact = Redactor()
        for secret in secrets:
            self._redact.add(secret)

    def text(self, message: object) -> str:
        """One line of at most MESSAGE_LIMIT characters without secrets."""
        line = " ".join(self._redact(str(message)).split())
        printable = "".join(character if character.isprintable() else "?" for character in line)
        return printable if len(printable) <= MESSAGE_LIMIT else printable[: MESSAGE_LIMIT - 1] + "…"

    def status(self, status: int, headers: Mapping[str, str], body: object) -> Fault:
        """The endpoint answered with an HTTP error."""
        message, code, kind = _described(body)
        details: dict[str, Any] = {"status": status}
        if code:
            details["error"] = self.text(code)
        text = self.text(f"the model's endpoint answered HTTP {status}" + (f": {message}" if message else ""))
        if status in (400, 413, 422, 500) and _is_context_length(message, code, kind):
            return Fault(ModelError(LLM_ERROR, text, retryable=False, details={**details, "reason": "context_length"}))
        wait = retry_after(headers)
        again = is_transient(status) and code not in QUOTA_CODES and kind not in QUOTA_CODES
        return Fault(
            ModelError(LLM_ERROR, text, retryable=again, retry_after_ms=_ms(wait) if again else None, details=details),
            again=again,
            wait=wait if again else None,
        )

    def in_stream(self, body: object, partial_chars: int) -> Fault:
        """An error object stands where a chunk should be, after HTTP 200."""
        message, code, kind = _described(body)
        text = self.text("the model's stream reported an error" + (f": {message or code}" if message or code else ""))
        details: dict[str, Any] = {"partial_chars": partial_chars, "reason": "error"}
        if _is_context_length(message, code, kind):
            return Fault(ModelError(LLM_ERROR, text, retryable=False, details={**details, "reason": "context_length"}))
        lasting = kind in LASTING_TYPES or code in QUOTA_CODES
        if code.isdigit() and 400 <= int(code) < 600:
            lasting = not is_transient(int(code))
        if lasting:
            return Fault(ModelError(LLM_ERROR, text, retryable=False, details=details))
        return Fault(ModelError(LLM_STREAM_INTERRUPTED, text, retryable=True, details=details), again=True)

    def interrupted(self, reason: str, partial_chars: int, detail: object = "") -> Fault:
        """The stream broke off; `reason` is a key of INTERRUPTED_WORDS. One that stood still is not asked for again."""
        text = self.text(INTERRUPTED_WORDS[reason] + (f": {detail}" if detail else ""))
        details = {"partial_chars": partial_chars, "reason": reason}
        return Fault(ModelError(LLM_STREAM_INTERRUPTED, text, retryable=True, details=details), again=reason != "idle")

    def unreachable(self, message: object) -> Fault:
        """No answer came: refused, unknown host, TLS, no first byte in time."""
        return Fault(
            ModelError(LLM_ERROR, self.text(message), retryable=True, details={"reason": "connection"}), again=True
        )

    def unusable(self, reason: str, message: object, *, retryable: bool = False) -> Fault:
        """An answer came and says nothing that a turn can go on with."""
        return Fault(ModelError(LLM_ERROR, self.text(message), retryable=retryable, details={"reason": reason}))


def _described(body: object) -> tuple[str, str, str]:
    """Message, code and type out of the many shapes of an error body."""
    while isinstance(body, dict) and isinstance(body.get("error"), dict):
        body = body["error"]
    if isinstance(body, list) and body:
        return _described(body[0])
    if not isinstance(body, dict):
        return (body if isinstance(body, str) else "", "", "")
    message = body.get("message") or body.get("error") or body.get("detail") or ""
    return (
        message if isinstance(message, str) else str(message),
        str(body.get("code") or ""),
        str(body.get("type") or ""),
    )


def _is_context_length(message: str, code: str, kind: str) -> bool:
    if code in CONTEXT_CODES or kind in CONTEXT_CODES:
        return True
    lowered = message.lower()
    return any(words in lowered for words in CONTEXT_WORDS)


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
