"""Content blocks: what prompts, message chunks and tool calls are made of."""

from typing import Annotated, Any, Literal

from pydantic_core import CoreSchema, core_schema

from acp_wire.schema._base import SKIP_INVALID, Int64, Lenient, Model, OptionalText, Tagged

Role = Literal["assistant", "user"]


class Annotations(Model):
    audience: Annotated[list[Annotated[Role, SKIP_INVALID]] | None, Lenient()] = None
    last_modified: OptionalText = None
    priority: Annotated[float | None, Lenient()] = None


OptionalAnnotations = Annotated[Annotations | None, Lenient()]


class TextContent(Model):
    type: Literal["text"] = "text"
    text: str
    annotations: OptionalAnnotations = None


class ImageContent(Model):
    """`data` is base64."""

    type: Literal["image"] = "image"
    data: str
    mime_type: str
    uri: OptionalText = None
    annotations: OptionalAnnotations = None


class AudioContent(Model):
    """`data` is base64."""

    type: Literal["audio"] = "audio"
    data: str
    mime_type: str
    annotations: OptionalAnnotations = None


class ResourceLink(Model):
    type: Literal["resource_link"] = "resource_link"
    uri: str
    name: str
    title: OptionalText = None
    description: OptionalText = None
    mime_type: OptionalText = None
    size: Annotated[Int64 | None, Lenient()] = None
    annotations: OptionalAnnotations = None


class TextResourceContents(Model):
    uri: str
    text: str
    mime_type: OptionalText = None


class BlobResourceContents(Model):
    """`blob` is base64."""

    uri: str
    blob: str
    mime_type: OptionalText = None


class _TextOrBlob:
    __slots__ = ()

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        text, blob = handler.generate_schema(TextResourceContents), handler.generate_schema(BlobResourceContents)
        return core_schema.union_schema([(text, "<text>"), (blob, "<blob>")], mode="left_to_right")


EmbeddedResourceResource = Annotated[TextResourceContents | BlobResourceContents, _TextOrBlob()]


class EmbeddedResource(Model):
    type: Literal["resource"] = "resource"
    resource: EmbeddedResourceResource
    annotations: OptionalAnnotations = None


ContentBlock = Annotated[
    TextContent | ImageContent | AudioContent | ResourceLink | EmbeddedResource,
    Tagged(
        "type",
        {
            "text": TextContent,
            "image": ImageContent,
            "audio": AudioContent,
            "resource_link": ResourceLink,
            "resource": EmbeddedResource,
        },
    ),
]
