"""How endpoints differ, as data: one row for each kind, the first whose patterns fit is taken."""

import re
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Quirks:
    """One kind of endpoint. `url` and `model` are patterns searched for in the base URL and the model's name."""

    name: str
    url: str = ""
    model: str = ""
    usage_in_stream: bool = True  # takes stream_options.include_usage
    max_tokens: str = "max_tokens"
    temperature: bool = True
    parallel_tool_calls: bool | None = None  # sent when not None
    tool_choice: str | None = None  # sent when not None; "auto" is what every server means without it
    system_role: str = "system"
    reasoning_back: str | None = None  # the field in which an assistant message hands its reasoning back
    strict_tools: bool = False  # takes "strict" in a tool's function
    images: bool = False
    audio: bool = False
    tool_text: bool = False  # calls leak into the text and are repaired
    effort: str | None = "reasoning_effort"  # the field that takes a level of thought; "reasoning": {"effort": ...}
    effort_with_tools: str | None = None  # the one level with which it takes tools; sent with them, whatever is chosen

    def fits(self, base_url: str, model: str) -> bool:
        """Whether this row is for that endpoint."""
        return bool(re.search(self.url, base_url, re.IGNORECASE) and re.search(self.model, model, re.IGNORECASE))


DEFAULT = Quirks("default")
_OPENAI = Quirks("openai", strict_tools=True, images=True, max_tokens="max_completion_tokens", parallel_tool_calls=True)
_OPENAI_URL = r"//(api\.openai\.com|[^/]*\.azure\.com)"
_REASONING = replace(
    _OPENAI, name="openai-reasoning", model=r"(^|/)(o[1-9]|gpt-(?:[5-9]|[1-9]\d))(?![^-.:])", temperature=False
)
# From GPT-5.2 on OpenAI's own chat completions refuse tools together with any other level of thought than none.
_NO_THOUGHT = replace(
    _REASONING,
    name="openai-no-thought",
    url=_OPENAI_URL,
    model=r"(^|/)gpt-(5\.[2-9]|5\.\d\d|[6-9]|[1-9]\d)(?!\d)(?!.*chat)",
    system_role="developer",
    effort=None,
    effort_with_tools="none",
)

_AUDIO = replace(_OPENAI, name="openai-audio", model=r"(^|/)gpt-(4o-(mini-)?)?audio", images=False, audio=True)

ROWS = (
    Quirks("openrouter", url=r"//openrouter\.ai", reasoning_back="reasoning", images=True, effort="reasoning"),
    Quirks("claude", url=r"//api\.anthropic\.com", max_tokens="max_completion_tokens", images=True, effort=None),
    Quirks("deepseek", url=r"//api\.deepseek\.com", reasoning_back="reasoning_content", effort=None),
    _NO_THOUGHT,
    replace(_AUDIO, url=_OPENAI_URL),
    replace(_REASONING, url=_OPENAI_URL, system_role="developer"),
    replace(_OPENAI, url=_OPENAI_URL),
    Quirks("ollama", url=r":11434\b|//ollama\.com", tool_text=True),
    Quirks("llama.cpp", url=r":8080\b", parallel_tool_calls=True, tool_text=True),
    Quirks("llama.cpp", model=r"\.gguf$", parallel_tool_calls=True, tool_text=True),
    Quirks("llama-3", model=r"llama-?3|llama3", parallel_tool_calls=False, tool_choice="auto", tool_text=True),
    Quirks("qwen", model=r"qwen|hermes", tool_text=True),
    _REASONING,
    replace(_OPENAI, model=r"(^|/)gpt-4\.[1-9]"),
)


def quirks_for(base_url: str, model: str, row: str | None = None) -> Quirks:
    """The row for an endpoint, or the one called `row`. ValueError if there is none of that name."""
    if row is None:
        return next((quirks for quirks in ROWS if quirks.fits(base_url, model)), DEFAULT)
    for quirks in (*ROWS, DEFAULT):
        if quirks.name == row:
            return quirks
    raise ValueError(f"there is no quirks row called {row!r}; there are {', '.join(sorted({q.name for q in ROWS}))}")


def request_body(
    quirks: Quirks,
    model: str,
    messages: list[dict[str, Any]],
    tools: list[dict[str, Any]],
    *,
    max_tokens: int | None = None,
    temperature: float | None = None,
    effort: str | None = None,
) -> dict[str, Any]:
    """The body of a streaming chat completions request as such an endpoint wants it. The arguments stay untouched."""
    body: dict[str, Any] = {"model": model, "messages": _messages(quirks, messages), "stream": True}
    if quirks.usage_in_stream:
        body["stream_options"] = {"include_usage": True}
    if tools:
        body["tools"] = tools if quirks.strict_tools else [_without_strict(tool) for tool in tools]
        if quirks.parallel_tool_calls is not None:
            body["parallel_tool_calls"] = quirks.parallel_tool_calls
        if quirks.tool_choice is not None:
            body["tool_choice"] = quirks.tool_choice
    if max_tokens is not None:
        body[quirks.max_tokens] = max_tokens
    if temperature is not None and quirks.temperature:
        body["temperature"] = temperature
    if tools and quirks.effort_with_tools:
        body["reasoning_effort"] = quirks.effort_with_tools
    elif effort is not None and quirks.effort is not None:
        body[quirks.effort] = {"effort": effort} if quirks.effort == "reasoning" else effort
    return body


def _messages(quirks: Quirks, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """An assistant message may carry its `reasoning_content`: it goes back under the row's name, or not at all."""
    if quirks.reasoning_back != "reasoning_content":
        messages = [
            message if "reasoning_content" not in message else _hand_back(quirks, message) for message in messages
        ]
    if quirks.system_role != "system":
        messages = [
            message if message.get("role") != "system" else {**message, "role": quirks.system_role}
            for message in messages
        ]
    return messages


def _hand_back(quirks: Quirks, message: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in message.items() if key != "reasoning_content"}
    if quirks.reasoning_back is not None:
        rest[quirks.reasoning_back] = message["reasoning_content"]
    return rest


def _without_strict(tool: dict[str, Any]) -> dict[str, Any]:
    function = tool.get("function", {})
    if "strict" not in function:
        return tool
    return {**tool, "function": {key: value for key, value in function.items() if key != "strict"}}
