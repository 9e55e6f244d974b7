"""What a model is to the rest of the agent: a stream of pieces that ends in one reply, or in one typed error."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Piece = tuple[str, str]  # ("text" | "thought", delta)
Finish = Literal["stop", "length", "refusal", "tool_calls"]
BATCH = 32


@dataclass(frozen=True, slots=True)
class ToolCallRequest:
    """One call that the model asks for. `arguments` is its JSON text as it was sent, which may be broken."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that the provider counted for one reply; None where it does not say."""

    input: int
    output: int
    cached: int | None = None
    thought: int | None = None


@dataclass(frozen=True, slots=True)
class Retrying:
    """An attempt failed before anything was shown; attempt number `attempt` (from 2) follows after `delay` seconds."""

    attempt: int
    delay: float
    reason: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The whole reply, the last event of a good stream. There are calls if and only if `finish` is "tool_calls"."""

    text: str
    thought: str
    tool_calls: list[ToolCallRequest]
    finish: Finish
    usage: Usage | None = None
    first_token: float | None = None
    seconds: float = 0.0


class ModelError(Exception):
    """The provider failed: no reply (LLM_ERROR), or half of one (LLM_STREAM_INTERRUPTED: details["partial_chars"]).

    The message is one redacted line. `retryable`: the same request may well succeed later, `retry_after_ms` says when.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool,
        retry_after_ms: int | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.retry_after_ms = retry_after_ms
        self.details = details or {}


class Model(Protocol):
    """A language model. One instance serves any number of streams at once."""

    name: str

    def stream(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]
    ) -> AsyncGenerator[list[Piece] | Retrying | Reply, None]:
        """Asks for one reply to `messages` (chat completions dicts) with `tools` offered.

        Yields lists of what has arrived together (1 to 32 pieces, never merged), `Retrying` before each wait, and at
        last the `Reply`. Raises ModelError. Iterate under `contextlib.aclosing`: closing ends the request at once.
        """
        ...

    async def warm(self) -> None:
        """Does beforehand what the first stream would otherwise wait for. May be called often, and by many at once."""
        ...

    async def resolve_name(self) -> str:
        """The model's name; asks the endpoint for its first where none was configured. Raises ModelError."""
        ...

    async def names(self) -> list[str]:
        """The names that `variant` takes, as the endpoint lists them. Raises ModelError."""
        ...

    async def reach(self) -> None:
        """Asks whether anybody answers there, by one small request. Raises ModelError; one with the detail `status` is
        an answer all the same."""
        ...

    def variant(self, name: str, effort: str | None) -> "Model":
        """The model of that name at the same place, over the same connections; `effort` is a level of thought."""
        ...

    async def aclose(self) -> None:
        """Lets go of connections. Streams still open end with an error."""
        ...
