"""prompt_user: a form, or a choice among permission options; whatever comes back is told to the model."""

from typing import Any

import pytest

from ars_acp.hands import Form, Timeout, Unsupported
from ars_acp.tools.tool import InvalidArguments
from tests.support.fake_hands import ALL
from tests.support.schema import check
from tests.tools.conftest import Bench

FIELDS = [
    {"name": "name", "title": "Project name"},
    {"name": "port", "type": "integer"},
    {"name": "ratio", "type": "number"},
    {"name": "tests", "type": "boolean"},
    {"name": "licence", "choices": ["MIT", "none"]},
]


def filled(action: str, **content: Any) -> Any:
    return lambda _message, _schema: Form(action, content)  # type: ignore[arg-type]


async def test_choices_make_a_form_with_titled_values(bench: Bench) -> None:
    bench.hands.fill = filled("accept", answer="blue")
    result = await bench.call("prompt_user", question="Which colour?", choices=["red", "blue"])
    ((_, message, schema, call_id),) = bench.hands.calls
    check("ElicitationSchema", schema)
    assert (message, call_id) == ("Which colour?", "call-1")
    assert schema["properties"]["answer"]["oneOf"] == [
        {"const": "red", "title": "red"},
        {"const": "blue", "title": "blue"},
    ]
    assert result.ok
    assert result.raw == {"answer": "blue"}
    assert result.text == "the person answered:\nblue"


async def test_free_text_and_fields_make_forms(bench: Bench) -> None:
    bench.hands.fill = filled("accept", answer="as you like")
    assert (await bench.call("prompt_user", question="How?")).raw == {"answer": "as you like"}
    answers = {"name": "x", "port": 80, "ratio": 0.5, "tests": True, "licence": "MIT"}
    bench.hands.fill = filled("accept", **answers, unasked="y")
    result = await bench.call("prompt_user", question="Details?", fields=FIELDS)
    assert result.raw == answers
    check("ElicitationSchema", bench.hands.calls[-1][2])


@pytest.mark.parametrize(
    "answers", [{"port": "80"}, {"port": True}, {"port": 1.5}, {"licence": "GPL"}, {"tests": "yes"}, {"name": 1}, {}]
)
async def test_answer_that_was_not_asked_for_is_none(bench: Bench, answers: dict[str, Any]) -> None:
    bench.hands.fill = filled("accept", **answers)
    result = await bench.call("prompt_user", question="Details?", fields=FIELDS)
    assert (result.ok, result.text) == (False, "the form came back empty")


async def test_decline_and_cancel_are_told(bench: Bench) -> None:
    bench.hands.fill = filled("decline")
    declined = await bench.call("prompt_user", question="Which?", choices=["a", "b"])
    assert (declined.ok, declined.raw) == (True, {"answer": None})
    bench.hands.fill = filled("cancel")
    assert not (await bench.call("prompt_user", question="Which?", choices=["a", "b"])).ok


async def test_without_forms_the_options_are_the_answers(bench: Bench) -> None:
    bench.hands.can = ALL - {"form"}
    bench.hands.answer = lambda _call, options: str(options[1]["optionId"])
    result = await bench.call("prompt_user", question="Which?", choices=["red", "blue"])
    ((_, call, options),) = bench.hands.calls
    check("RequestPermissionRequest", {"sessionId": "s", "toolCall": call, "options": options})
    assert [(it["name"], it["kind"]) for it in options] == [
        ("red", "allow_once"),
        ("blue", "allow_once"),
        ("None of these", "reject_once"),
    ]
    assert call["title"] == "Which?"
    assert (result.text, result.raw) == ("the person chose: blue", {"answer": "blue"})


@pytest.mark.parametrize(("answer", "ok"), [("none", True), (None, False), ("made up", False)])
async def test_without_forms_none_of_these_and_cancel_are_told(bench: Bench, answer: str | None, ok: bool) -> None:
    bench.hands.can = ALL - {"form"}
    bench.hands.answer = lambda _call, _options: answer
    result = await bench.call("prompt_user", question="Which?", choices=["red", "blue"])
    assert result.ok is ok
    assert "chose:" not in result.text


async def test_without_forms_free_text_is_unsupported(bench: Bench) -> None:
    bench.hands.can = ALL - {"form"}
    for arguments in ({"question": "How?"}, {"question": "How?", "fields": FIELDS}):
        with pytest.raises(Unsupported, match="ask with choices"):
            await bench.plan("prompt_user", **arguments)


@pytest.mark.parametrize("can", [ALL, ALL - {"form"}])
async def test_question_that_nobody_answers_ends_the_step(bench: Bench, can: frozenset[str]) -> None:
    def nobody(_message: Any, _options: Any) -> Any:
        raise Timeout("no answer")

    bench.hands.can = can
    bench.hands.answer = bench.hands.fill = nobody
    result = await bench.call("prompt_user", question="Which?", choices=["a", "b"])
    assert (result.ok, result.code, result.end_turn_step) == (False, "TOOL_TIMEOUT", True)


@pytest.mark.parametrize(
    "arguments",
    [
        {}, {"question": ""}, {"question": "?", "choices": ["a", "a"]}, {"question": "?", "choices": ["a", " "]},
        {"question": "?", "choices": ["a"], "fields": FIELDS}, {"question": "?", "fields": [FIELDS[0], FIELDS[0]]},
        {"question": "?", "url": "https://a.example", "choices": ["a"]}, {"question": "?", "url": ""},
        {"question": "?", "url": "file:///etc/passwd"}, {"question": "?", "url": "javascript:alert(1)"},
        {"question": "?", "url": "https://"}, {"question": "?", "url": "https://bank.example@evil.example/"},
        {"question": "?", "url": "https://a.example/a b"}, {"question": "?", "url": "https://\u0430.example"},
        {"question": "?", "url": "https://a.example:x"},
        {"question": "?", "fields": [{"name": "a", "type": "date"}]}, {"question": "?", "choices": ["x"] * 21},
    ],
)  # fmt: skip
async def test_question_that_cannot_be_asked_is_invalid(bench: Bench, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidArguments):
        await bench.plan("prompt_user", **arguments)


LINK = {"question": "Sign in, please", "url": "https://login.example/?a=1#b"}


@pytest.mark.parametrize(
    ("action", "ok", "told"), [("accept", True, "agreed"), ("decline", True, "without"), ("cancel", False, "closed")]
)
async def test_a_link_is_shown_whole_and_what_came_of_it_is_told(
    bench: Bench, action: str, ok: bool, told: str
) -> None:
    bench.hands.open = lambda _url: action  # type: ignore[assignment, return-value]
    act = await bench.plan("prompt_user", **LINK)
    assert LINK["url"] in str(act.content)
    result = await bench.call("prompt_user", **LINK)
    assert bench.hands.calls == [("link", LINK["url"], "Sign in, please", "call-1")]
    assert (result.ok, told in result.text) == (ok, True)


async def test_a_client_that_opens_no_links_is_not_asked_to(bench: Bench) -> None:
    bench.hands.can = ALL - {"link"}
    with pytest.raises(Unsupported, match="give it in your answer"):
        await bench.plan("prompt_user", **LINK)
