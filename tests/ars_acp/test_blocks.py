"""A prompt's content blocks: what the model gets of them, and which are refused."""

from base64 import b64encode
from typing import Any

import pytest
from pydantic import TypeAdapter

from acp_wire.errors import INVALID_PARAMS, RpcError
from acp_wire.schema.content import ContentBlock
from ars_acp import blocks
from ars_acp.blocks import Takes, for_model, message_content, model_takes, said
from ars_acp.settings import Settings
from tests.support.in_memory import house

Json = dict[str, Any]
ALL = Takes(images=True, audio=True)
NOTHING = Takes()
PNG = b64encode(b"\x89PNG\r\n").decode()
IMAGE = {"type": "image", "data": PNG, "mimeType": "image/png"}
IMAGE_PART = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}


def text(words: str) -> Json:
    return {"type": "text", "text": words}


def blob(data: bytes, mime: str | None) -> Json:
    held = {"uri": "file:///a/thing", "blob": b64encode(data).decode()} | ({"mimeType": mime} if mime else {})
    return {"type": "resource", "resource": held}


def entry(sent: list[Json], takes: Takes = ALL) -> Json:
    return said("prompt", TypeAdapter(list[ContentBlock]).validate_python(sent, by_alias=True, by_name=False), takes)


def refusal(sent: list[Json], takes: Takes = ALL) -> str:
    with pytest.raises(RpcError) as error:
        entry(sent, takes)
    assert error.value.code == INVALID_PARAMS
    return error.value.message


def test_text_links_and_text_resources_are_one_text() -> None:
    found = entry(
        [
            text("see"),
            {"type": "resource_link", "uri": "file:///a.py", "name": "a.py"},
            {"type": "resource_link", "uri": "file:///b.py", "name": "b.py", "title": "The B"},
            {"type": "resource", "resource": {"uri": "file:///c.py", "text": "print()"}},
        ],
        NOTHING,
    )
    wanted = (
        "see\n\n[a.py](file:///a.py)\n\n[The B](file:///b.py)\n\n<resource uri='file:///c.py'>\nprint()\n</resource>"
    )
    assert message_content(found) == found["text"] == wanted


def test_images_and_audio_are_parts_where_they_stood() -> None:
    audio = {"type": "audio", "data": PNG, "mimeType": "audio/x-wav"}
    found = entry([text("a"), text("b"), IMAGE, text("c"), audio])
    assert message_content(found) == [
        text("a\n\nb"),
        IMAGE_PART,
        text("c"),
        {"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}},
    ]
    assert found["text"] == "a\n\nb\n\n[image: image/png]\n\nc\n\n[audio: audio/x-wav]"


def test_a_prompt_may_be_an_image_and_nothing_else() -> None:
    assert message_content(entry([IMAGE])) == [IMAGE_PART]


@pytest.mark.parametrize(("mime", "kept"), [("image/jpg", "image/jpeg"), ("IMAGE/PNG; x=y", "image/png")])
def test_types_are_read_as_clients_write_them(mime: str, kept: str) -> None:
    [part] = message_content(entry([{**IMAGE, "mimeType": mime}]))
    assert isinstance(part, dict)
    assert part["image_url"]["url"].startswith(f"data:{kept};base64,")


def test_a_resource_that_is_an_image_is_one_and_any_other_a_note_unless_it_is_text() -> None:
    assert message_content(entry([blob(b"\x89PNG\r\n", "image/png")])) == [IMAGE_PART]
    assert "[application/pdf, 3 bytes]" in entry([blob(b"\xff\x00\x01", "application/pdf")])["text"]
    assert "[binary, 3 bytes]" in entry([blob(b"abc", None)])["text"]
    assert '{"a": 1}' in entry([blob(b'{"a": 1}', "application/json")])["text"]
    assert "[text/plain, 1 bytes]" in entry([blob(b"\xff", "text/plain")])["text"]


def test_what_a_model_cannot_take_is_refused_with_what_to_send_instead() -> None:
    assert "takes no images; send text" in refusal([text("x"), IMAGE], NOTHING)
    assert refusal([text("x"), IMAGE], NOTHING).startswith("prompt[1]: ")
    audio = {"type": "audio", "data": PNG, "mimeType": "audio/wav"}
    assert "takes no audio" in refusal([audio], Takes(images=True))
    assert "send PNG" in refusal([{**IMAGE, "mimeType": "image/tiff"}])
    assert "send WAV or MP3" in refusal([{**audio, "mimeType": "audio/ogg"}])


@pytest.mark.parametrize("data", ["a", "data:image/png;base64,aGk=", "aGk", "a Gk=", "aGk=\u00e9", "====", ""])
def test_data_that_is_not_base64_is_refused(data: str) -> None:
    assert "data" in refusal([{**IMAGE, "data": data}])
    if data:
        assert "base64" in refusal([{"type": "resource", "resource": {"uri": "u:x", "blob": data}}])


def test_a_block_of_20_mib_is_taken_and_a_larger_one_is_not() -> None:
    most = b"\0" * blocks.BLOCK_LIMIT
    entry([blob(most, None)])
    assert "20 MiB" in refusal([blob(most + b"\0", None)])
    assert "20 MiB" in refusal([text("x" * (blocks.BLOCK_LIMIT + 1))])


def test_optional_rubbish_in_a_block_is_not_kept() -> None:
    found = entry([{**IMAGE, "uri": 5, "annotations": {"audience": ["user", 3]}, "other": 1}])
    assert found["content"] == [{**IMAGE, "annotations": {"audience": ["user"]}}]


def test_a_model_that_takes_less_gets_a_note_and_the_history_keeps_the_part() -> None:
    messages = [{"role": "user", "content": [text("a"), IMAGE_PART]}, {"role": "assistant", "content": None}]
    assert for_model(messages, ALL) == messages
    [seen, _] = for_model(messages, NOTHING)
    assert seen["content"] == [text("a"), text("[An image stood here. This model takes no images.]")]
    assert messages[0]["content"] == [text("a"), IMAGE_PART]


def test_a_model_that_hears_is_known() -> None:
    assert model_takes(Settings(), "gpt-4o-audio-preview") == Takes(images=False, audio=True)


@pytest.mark.parametrize(
    ("base_url", "model", "images"),
    [
        (None, "gpt-5", True),
        (None, None, True),
        ("https://api.deepseek.com", "deepseek-chat", False),
        ("http://localhost:9/v1", "nobody-knows", False),
        ("http://localhost:9/v1", None, False),
    ],
)
async def test_capabilities_are_those_of_the_configured_model(
    base_url: str | None, model: str | None, images: bool
) -> None:
    settings = Settings(base_url=base_url, model=model)
    wanted = {"image": images, "audio": False, "embeddedContext": True}
    assert model_takes(settings, model).prompt_capabilities() == wanted


async def test_an_image_reaches_the_model_and_comes_back_when_the_session_is_loaded() -> None:
    async with house("=== turn\nsay: I see $prompt\n=== turn\nsay: still\n") as it:
        assert await it.prompt_with([text("this"), IMAGE]) == "end_turn"
        assert it.said() == "I see this"
        [session] = it.agent._sessions.active.values()
        assert session.history.messages[0] == {"role": "user", "content": [text("this"), IMAGE_PART]}
        params = {"cwd": "/project", "mcpServers": [], "sessionId": it.session}
        it.client.updates.clear()
        from acp_wire import methods

        await it.wire.request(methods.SESSION_LOAD, params)
        shown = [params["update"]["content"] for params in it.client.updates[:2]]
        assert shown == [text("this"), IMAGE]
        assert await it.prompt() == "end_turn"


async def test_an_image_for_a_model_that_takes_none_is_refused_and_the_session_goes_on() -> None:
    async with house("=== turn\nsay: ok\n", script=None, base_url="http://127.0.0.1:9/v1", model="nobody-knows") as it:
        with pytest.raises(RpcError) as error:
            await it.prompt_with([IMAGE])
        assert (error.value.code, "no images" in error.value.message) == (INVALID_PARAMS, True)
        assert await it.prompt() == "end_turn"
        assert [kind["type"] for kind in await it.entries()].count("prompt") == 1
