"""A prompt's content blocks: checked when they come, kept as ACP has them, and handed to the model as it takes them.

What reads as text becomes one text, as ever. An image, or a resource that is one, becomes an `image_url` part, audio an
`input_audio` part. A conversation keeps them whole: to a model that cannot take them a note stands in their place.
"""

import binascii
import contextlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from acp_wire.errors import INVALID_PARAMS, RpcError
from ars_acp.errors import invalid_message

if TYPE_CHECKING:
    from acp_wire.schema.content import ContentBlock
    from ars_acp.settings import Settings

Json = dict[str, Any]
BLOCK_LIMIT = 20 * 1024 * 1024
IMAGES = {"image/png", "image/jpeg", "image/gif", "image/webp"}
AUDIO = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}
NOT_TAKEN = {
    "image_url": "[An image stood here. This model takes no images.]",
    "input_audio": "[Audio stood here. This model takes no audio.]",
}
_TEXT = re.compile(r"text/|application/([\w.+-]+\+)?(json|xml|yaml|toml|javascript)$")


@dataclass(frozen=True, slots=True)
class Takes:
    """What a model reads besides text."""

    images: bool = False
    audio: bool = False

    def prompt_capabilities(self) -> dict[str, bool]:
        """As `initialize` answers them."""
        return {"image": self.images, "audio": self.audio, "embeddedContext": True}


def model_takes(settings: "Settings", name: str | None) -> Takes:
    """What the model of that name takes at the settings' endpoint; nothing but text where that is not known."""
    if settings.script:
        return Takes(images=True, audio=True)  # a script reads the text and lets the rest be
    from ars_acp.models.choose import OPENAI
    from ars_acp.models.quirks import quirks_for

    quirks = quirks_for(settings.base_url or OPENAI, name or "", settings.quirks)
    return Takes(images=quirks.images, audio=quirks.audio)


def said(kind: str, blocks: "Sequence[ContentBlock]", takes: Takes) -> Json:
    """The log's entry for these blocks: `content` as it came, `text` what can be read of it.

    Raises `RpcError` for an empty prompt, and for a block that is broken, too large or nothing that this model takes.
    """
    content = [block.model_dump(by_alias=True, exclude_none=True) for block in blocks]
    for at, block in enumerate(content):
        _check(f"prompt[{at}]", block, takes)
    text = _joined(_as_text(block) for block in content)
    if not text.strip():
        raise RpcError(INVALID_PARAMS, "prompt: there is nothing in it; send some text")
    return {"type": kind, "content": content, "text": text}


def message_content(entry: Json) -> str | list[Json]:
    """What a user message of the model's history holds for an entry that `said` made."""
    parts: list[Json] = []
    texts: list[str] = []
    for block in entry.get("content", ()):
        part = _part(block)
        if part is None:
            texts.append(_as_text(block))
        else:
            parts += [*_text_part(texts), part]
            texts = []
    return [*parts, *_text_part(texts)] if parts else str(entry["text"])


def for_model(messages: list[Json], takes: Takes) -> list[Json]:
    """The messages with a note in place of each part that this model does not take."""
    refused = {kind for kind, taken in (("image_url", takes.images), ("input_audio", takes.audio)) if not taken}
    return [
        message if not isinstance(message["content"], list) else {**message, "content": _left(message, refused)}
        for message in messages
    ]


def _left(message: Json, refused: set[str]) -> list[Json]:
    return [
        {"type": "text", "text": NOT_TAKEN[part["type"]]} if part["type"] in refused else part
        for part in message["content"]
    ]


def _check(where: str, block: Json, takes: Takes) -> None:
    kind = block["type"]
    resource = block.get("resource", {})
    if kind == "image":
        if not takes.images:
            raise _refused(where, "this model takes no images; send text, or choose a model that sees", kind)
        if _mime(block) not in IMAGES:
            raise _refused(where, "this kind of image is not taken; send PNG, JPEG, GIF or WebP", kind)
    elif kind == "audio":
        if not takes.audio:
            raise _refused(where, "this model takes no audio; send text, or choose a model that hears", kind)
        if _mime(block) not in AUDIO:
            raise _refused(where, "this kind of audio is not taken; send WAV or MP3", kind)
    encoded = block.get("data", resource.get("blob"))
    if encoded is not None:
        size = len(_decoded(where, encoded, kind))
    else:
        size = len(block.get("text", resource.get("text", "")))
    if size > BLOCK_LIMIT:
        raise _refused(where, f"more than {BLOCK_LIMIT >> 20} MiB in one block; send less, or a link", kind)


def _decoded(where: str, encoded: str, kind: str) -> bytes:
    try:
        data = binascii.a2b_base64(encoded.encode("ascii"), strict_mode=True)
    except (ValueError, UnicodeError):  # binascii.Error is a ValueError
        raise _refused(where, "its data is not base64; send plain base64, without a `data:` prefix", kind) from None
    if not data and kind != "resource":
        raise _refused(where, "there is no data in it", kind)
    return data


def _refused(where: str, why: str, kind: str) -> RpcError:
    return invalid_message(INVALID_PARAMS, f"{where}: {why}", type=kind)


def _part(block: Json) -> Json | None:
    """The block as a part of its own; None for what is text."""
    if block["type"] == "audio":
        return {"type": "input_audio", "input_audio": {"data": block["data"], "format": AUDIO[_mime(block)]}}
    if block["type"] == "image":
        return _image(_mime(block), block["data"])
    resource = block.get("resource", {})
    if resource.get("blob") and _mime(resource) in IMAGES:
        return _image(_mime(resource), resource["blob"])
    return None


def _image(mime: str, data: str) -> Json:
    return {"type": "image_url", "image_url": {"url": f"data:{mime};base64,{data}"}}


def _as_text(block: Json) -> str:
    match block["type"]:
        case "text":
            return str(block["text"])
        case "resource_link":
            return f"[{block.get('title') or block['name']}]({block['uri']})"
        case "resource":
            return _resource_text(block["resource"])
        case kind:
            return f"[{kind}: {_mime(block)}]"


def _resource_text(resource: Json) -> str:
    text = resource.get("text")
    if text is None:
        data = binascii.a2b_base64(resource["blob"])
        text = f"[{_mime(resource) or 'binary'}, {len(data)} bytes]"
        if _TEXT.match(_mime(resource)):
            with contextlib.suppress(UnicodeDecodeError):  # then it is bytes after all
                text = data.decode("utf-8")
    return f"<resource uri={resource['uri']!r}>\n{text}\n</resource>"


def _text_part(texts: list[str]) -> list[Json]:
    text = _joined(texts)
    return [{"type": "text", "text": text}] if text else []


def _joined(texts: Iterable[str]) -> str:
    return "\n\n".join(text for text in texts if text)


def _mime(holder: Json) -> str:
    mime = str(holder.get("mimeType") or "").partition(";")[0].strip().lower()
    return "image/jpeg" if mime == "image/jpg" else mime
