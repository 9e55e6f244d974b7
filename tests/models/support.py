"""What tests of models share: one prompt, one tool, and all that a stream gives."""

from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import anyio

from ars_acp.models.model import Model, ModelError, Piece, Reply, Retrying

KEY = "sk-very-secret-0123456789"
QUICK = {"connect_seconds": 2.0, "first_byte_seconds": 2.0, "idle_seconds": 2.0, "backoff_seconds": 0.001}
PROMPT = [{"role": "system", "content": "You help."}, {"role": "user", "content": "hello"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "read_file",
            "description": "Reads a file",
            "parameters": {
                "type": "object",
                "properties": {"path": {"type": "string"}, "line": {"type": "integer"}},
                "required": ["path"],
            },
        },
    }
]


@dataclass
class Streamed:
    """Everything that came out of one stream."""

    lists: list[list[Piece]] = field(default_factory=list)
    retries: list[Retrying] = field(default_factory=list)
    reply: Reply | None = None
    error: ModelError | None = None

    @property
    def text(self) -> str:
        """The text as it was shown."""
        return "".join(delta for pieces in self.lists for kind, delta in pieces if kind == "text")

    @property
    def thought(self) -> str:
        """The reasoning as it was shown."""
        return "".join(delta for pieces in self.lists for kind, delta in pieces if kind == "thought")


async def streamed(model: Model, messages: list[dict[str, Any]] | None = None, tools: Any = TOOLS) -> Streamed:
    """Runs one stream to its end, a ModelError included, within 5 seconds."""
    result = Streamed()
    with anyio.fail_after(5):
        try:
            async with aclosing(model.stream(messages or PROMPT, tools)) as events:
                async for event in events:
                    assert result.reply is None, "the reply is the last event"
                    if isinstance(event, Reply):
                        result.reply = event
                    elif isinstance(event, Retrying):
                        result.retries.append(event)
                    else:
                        result.lists.append(event)
        except ModelError as error:
            result.error = error
    return result


async def reply_of(model: Model, messages: list[dict[str, Any]] | None = None, tools: Any = TOOLS) -> Reply:
    """The reply of a stream that has to end well."""
    result = await streamed(model, messages, tools)
    assert result.error is None
    assert result.reply is not None
    return result.reply


async def error_of(model: Model) -> ModelError:
    """The error of a stream that has to fail."""
    result = await streamed(model)
    assert result.error is not None
    assert result.reply is None
    return result.error
