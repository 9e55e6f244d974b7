"""An OpenAI client's messages as a prompt: what is told, what is shown, what is refused. Pure."""

from typing import Any

import pytest

from ars_gateway.http import chat_messages
from ars_gateway.http.errors import HttpError
from ars_gateway.sessions.history import BEHIND

PIXEL = "iVBORw0KGgo="


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def answer(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def texts(blocks: list[dict[str, Any]]) -> list[str]:
    return [block["text"] for block in blocks if block["type"] == "text"]


def param(call: Any) -> str:
    """Which parameter a refusal names."""
    with pytest.raises(HttpError) as refused:
        call()
    assert refused.value.status == 400
    assert refused.value.message.startswith(refused.value.details["param"])
    found: str = refused.value.details["param"]
    return found


def test_the_prompt_is_what_was_said_since_the_last_answer():
    found = chat_messages.said([user("one"), answer("two"), user("three"), user("four")])
    assert texts(found.prompt) == ["three", "four"]
    assert texts(found.before) == ["User: one", "Assistant: two"]
    assert found.instructions == ""


def test_instructions_are_gathered_wherever_they_stand():
    system, developer = {"role": "system", "content": "Be brief."}, {"role": "developer", "content": "In French."}
    found = chat_messages.said([system, user("one"), developer])
    assert found.instructions == "Be brief.\n\nIn French."
    assert texts(found.prompt) == ["one"]


def test_an_earlier_tool_of_another_agent_is_told_in_words():
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"at": "a"}'}}
    tool = {"role": "tool", "tool_call_id": "1", "content": "blue"}
    found = chat_messages.said([user("?"), answer(None, tool_calls=[call]), tool, user("And?")])
    assert texts(found.before) == [
        "User: ?",
        'Assistant: (used the tool look: {"at": "a"})',
        "Result of a tool: blue",
    ]


def test_pictures_sounds_and_files_become_content_of_acp():
    parts = [
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": PIXEL, "format": "wav"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PIXEL}"}},
    ]
    assert chat_messages.said([user(parts)]).prompt == [
        {"type": "text", "text": "Look"},
        {"type": "image", "mimeType": "image/png", "data": PIXEL},
        {"type": "audio", "mimeType": "audio/wav", "data": PIXEL},
        {"type": "resource", "resource": {"uri": "attachment:a.pdf", "mimeType": "application/pdf", "blob": PIXEL}},
    ]


def test_an_earlier_picture_goes_along_with_what_was_said():
    parts = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}]
    found = chat_messages.said([user(parts), answer("nice"), user("why?")])
    assert [block["type"] for block in found.before] == ["text", "image", "text"]


@pytest.mark.parametrize(
    ("part", "where"),
    [
        ({"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:image/png,plain"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,%%%"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": f"data:text/html;base64,{PIXEL}"}}, "image_url.url"),
        ({"type": "input_audio", "input_audio": {"data": PIXEL, "format": "ogg"}}, "input_audio.format"),
        ({"type": "file", "file": {"file_id": "file-1"}}, ""),
        ({"type": "image_url"}, ""),
        ({"type": "text", "text": 1}, ""),
        ({"type": "hologram"}, ""),
    ],
)
def test_a_part_that_cannot_be_told_is_refused_by_its_place(part: dict[str, Any], where: str):
    found = param(lambda: chat_messages.said([user([{"type": "text", "text": "x"}, part])]))
    assert found == ".".join(it for it in ("messages.0.content.1", where) if it)


def test_an_attachment_is_bounded():
    url = "data:image/png;base64," + "A" * (4 * (chat_messages.ATTACHMENT_BYTES // 3 + 2))
    assert "url" in param(lambda: chat_messages.said([user([{"type": "image_url", "image_url": {"url": url}}])]))


@pytest.mark.parametrize(
    "messages",
    [
        [answer("I begin")],
        [{"role": "system", "content": "Be brief."}],
        [user("one"), answer("two")],
        [user("")],
        [user(None)],
        [user([])],
        [user([{"type": "text", "text": ""}])],
    ],
)
def test_somebody_has_to_have_said_something(messages: list[dict[str, Any]]):
    assert param(lambda: chat_messages.said(messages)) == "messages"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2),
        ("tools", [{"type": "function"}]),
        ("functions", [{}]),
        ("tool_choice", "required"),
        ("tool_choice", {"type": "function"}),
        ("response_format", {"type": "json_schema"}),
        ("response_format", {"type": "json_object"}),
        ("logprobs", True),
        ("top_logprobs", 3),
        ("audio", {"voice": "alloy"}),
        ("modalities", ["text", "audio"]),
        ("stop", "\n"),
        ("stop", ["END"]),
    ],
)
def test_what_would_change_the_answer_is_refused_by_name(name: str, value: Any):
    assert param(lambda: chat_messages.refuse({name: value})) == name


def test_what_means_nothing_is_taken():
    chat_messages.refuse(
        {"n": 1, "tools": [], "tool_choice": "auto", "response_format": {"type": "text"}, "stop": None}
    )
    chat_messages.refuse({"logprobs": False, "modalities": ["text"], "temperature": 0.2, "max_tokens": 5, "seed": 1})


def test_what_stands_before_a_prompt_is_not_shown():
    blocks = [*chat_messages.instructions("Be brief."), *chat_messages.before([{"type": "text", "text": "User: a"}])]
    assert all(block["_meta"][BEHIND] for block in blocks)
    assert len(blocks) == 4
    assert chat_messages.instructions("") == chat_messages.before([]) == []
