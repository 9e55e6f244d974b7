"""What an OpenAI client asks, as a prompt of ACP: messages in, content blocks out. Pure.

What was said before is told to the agent in words, unless its session knows it; instructions (roles `system` and
`developer`) stand before it. Neither is shown in the session's history, which has the prompt alone.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ars_gateway.http.openai_errors import invalid
from ars_gateway.sessions.history import BEHIND

Json = dict[str, Any]

ATTACHMENT_BYTES = 5 * 1024 * 1024
INSTRUCTIONS = ("system", "developer")
_SPEAKERS = {"user": "User", "assistant": "Assistant", "tool": "Result of a tool", "function": "Result of a tool"}
_AUDIO = {"wav": "audio/wav", "mp3": "audio/mpeg"}

# What would make the answer another one than is asked for, and what may be said of it all the same. Other parameters
# that an agent has no use for (temperature, seed, max_tokens, …) are taken and mean nothing.
_CANNOT: dict[str, Callable[[Any], bool]] = {
    "n": lambda it: it == 1,
    "tools": lambda it: it == [],
    "functions": lambda it: it == [],
    "tool_choice": lambda it: it in ("none", "auto"),
    "function_call": lambda it: it in ("none", "auto"),
    "response_format": lambda it: isinstance(it, dict) and it.get("type") == "text",
    "logprobs": lambda it: it is False,
    "top_logprobs": lambda it: it == 0,
    "audio": lambda it: False,
    "modalities": lambda it: it == ["text"],
    "stop": lambda it: it in ("", []),
}
_WHY = {
    "n": "an agent gives one answer",
    "tools": "an agent has its own tools and carries them out itself",
    "functions": "an agent has its own tools and carries them out itself",
    "response_format": "an agent answers in text; ask for the format in the prompt",
}


class Said(NamedTuple):
    """A request's messages: the instructions, the blocks of what was said before, those of the prompt."""

    instructions: str
    before: list[Json]
    prompt: list[Json]


def refuse(asked: Json) -> None:
    """Raises `HttpError` for a parameter that would change the answer and cannot."""
    for name, means_nothing in _CANNOT.items():
        if (value := asked.get(name)) is not None and not means_nothing(value):
            raise invalid(name, f"not supported here: {_WHY.get(name, 'no agent can be told that')}")


def said(messages: Sequence[Json]) -> Said:
    """What messages say. The prompt is all that the user has said since the last answer. Raises `HttpError`."""
    talk = [(number, it) for number, it in enumerate(messages) if it["role"] not in INSTRUCTIONS]
    if not talk or talk[-1][1]["role"] != "user":
        raise invalid("messages", "the last one has to be the user's")
    begins = max((at + 1 for at, (_, it) in enumerate(talk) if it["role"] != "user"), default=0)
    prompt = [block for number, it in talk[begins:] for block in _blocks(it, number)]
    if not prompt:
        raise invalid("messages", "the last one is empty")
    told = [(number, it) for number, it in enumerate(messages) if it["role"] in INSTRUCTIONS]
    instructions = "\n\n".join(text for number, it in told if (text := _text(_blocks(it, number))))
    return Said(instructions, [block for number, it in talk[:begins] for block in _earlier(it, number)], prompt)


def behind(blocks: Sequence[Json], heading: str) -> list[Json]:
    """Blocks under a heading that the agent is told, and nobody is shown."""
    return [{**block, "_meta": {BEHIND: True}} for block in (_of_text(heading), *blocks)] if blocks else []


def instructions(text: str) -> list[Json]:
    """Instructions, for the agent."""
    return behind([_of_text(text)] if text else [], "These instructions hold for this conversation:")


def before(blocks: Sequence[Json]) -> list[Json]:
    """An earlier conversation, for an agent that does not know it."""
    return behind(blocks, "This was said before, the oldest first. What follows it is new:")


def _earlier(message: Json, number: int) -> list[Json]:
    blocks = _blocks(message, number)
    words = [_text(blocks), *(_called(it) for it in message.get("tool_calls") or ())]
    text = "\n\n".join(word for word in words if word)
    attached = [block for block in blocks if block["type"] != "text"]
    return [_of_text(f"{_SPEAKERS[message['role']]}: {text}"), *attached] if text or attached else []


def _called(call: Any) -> str:
    function = call.get("function") if isinstance(call, dict) else None
    return f"(used the tool {function.get('name')}: {function.get('arguments')})" if isinstance(function, dict) else ""


def _blocks(message: Json, number: int) -> list[Json]:
    content = message.get("content")
    if isinstance(content, list):
        found = [_part(part, f"messages.{number}.content.{place}") for place, part in enumerate(content)]
    else:
        found = [_of_text(content or "")]
    return [block for block in found if block != _of_text("")]


def _part(part: Json, where: str) -> Json:
    kind = part["type"]
    about = part.get(kind)
    if kind in ("text", "refusal") and isinstance(about, str):
        return _of_text(about)
    if kind == "image_url" and isinstance(about, dict) and isinstance(url := about.get("url"), str):
        mime, data = _data_url(url, f"{where}.image_url.url")
        if not mime.startswith("image/"):
            raise invalid(f"{where}.image_url.url", "that is no image")
        return {"type": "image", "mimeType": mime, "data": data}
    if kind == "input_audio" and isinstance(about, dict) and isinstance(heard := about.get("data"), str):
        if (format := str(about.get("format"))) not in _AUDIO:
            raise invalid(f"{where}.input_audio.format", f"one of {', '.join(_AUDIO)}")
        return {"type": "audio", "mimeType": _AUDIO[format], "data": _base64(heard, f"{where}.input_audio.data")}
    if kind == "file" and isinstance(about, dict) and isinstance(url := about.get("file_data"), str):
        mime, data = _data_url(url, f"{where}.file.file_data")
        uri = f"attachment:{about.get('filename') or 'unnamed'}"
        return {"type": "resource", "resource": {"uri": uri, "mimeType": mime, "blob": data}}
    raise invalid(where, f"a part of type {kind} is text, image_url, input_audio or file, with its contents")


def _data_url(url: str, where: str) -> tuple[str, str]:
    head, comma, data = url.partition(",")
    mime, *parameters = head.removeprefix("data:").split(";")
    if not url.startswith("data:") or not comma or parameters[-1:] != ["base64"]:
        raise invalid(where, "only data: URLs in base64: what lies elsewhere is not fetched")
    return mime or "application/octet-stream", _base64(data, where)


def _base64(data: str, where: str) -> str:
    try:
        size = len(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        raise invalid(where, "invalid base64 content") from None
    if size > ATTACHMENT_BYTES:
        raise invalid(where, f"{size} bytes exceed {ATTACHMENT_BYTES}")
    return data


def _text(blocks: Sequence[Json]) -> str:
    return "\n".join(block["text"] for block in blocks if block["type"] == "text")


def _of_text(text: str) -> Json:
    return {"type": "text", "text": text}
