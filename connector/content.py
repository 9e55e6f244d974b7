"""What a prompt is made of, and what an agent has said that it takes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from connector.link import Link

# Kinds that need a capability: its name here, and in the specification.
NEEDS = {
    "image": ("prompt_capabilities.image", "promptCapabilities.image"),
    "audio": ("prompt_capabilities.audio", "promptCapabilities.audio"),
    "resource": ("prompt_capabilities.embedded_context", "promptCapabilities.embeddedContext"),
}
FIELDS: dict[str, tuple[str, ...]] = {
    "text": ("text",),
    "resource_link": ("uri", "name"),
    "image": ("data", "mimeType"),
    "audio": ("data", "mimeType"),
    "resource": ("resource",),
}


def check(blocks: Sequence[dict[str, Any]], link: "Link") -> None:
    """Raises ValueError for what is no content of ACP, and `NotOffered` for what this agent does not take."""
    if not blocks:
        raise ValueError("a prompt needs a text or some content")
    for block in blocks:
        kind = block.get("type")
        if not isinstance(kind, str) or kind not in FIELDS:
            raise ValueError(f"a block of type {kind!r}: there are {', '.join(FIELDS)}")
        if missing := [name for name in FIELDS[kind] if name not in block]:
            raise ValueError(f"a block of type {kind} needs {' and '.join(missing)}")
        if kind in NEEDS:
            link.need(*NEEDS[kind], f"the prompt holds a block of type {kind}")


def joined(blocks: Sequence[dict[str, Any]], block: dict[str, Any]) -> list[dict[str, Any]]:
    """`blocks` with one more, where the pieces of one text are one block."""
    if blocks and blocks[-1].get("type") == block.get("type") == "text":
        return [*blocks[:-1], {**blocks[-1], "text": blocks[-1]["text"] + block["text"]}]
    return [*blocks, block]
