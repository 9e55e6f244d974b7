"""The title that a session gets from its first prompt."""

import pytest

from ars_acp.title import LONGEST, title_of
from tests.support.in_memory import house

OK = "=== turn repeat\nsay: ok\n"


@pytest.mark.parametrize(
    ("prompt", "title"),
    [
        ("Fix the test", "Fix the test"),
        ("  Fix\tthe\n\n test  ", "Fix the test"),
        ("a\x1b[31mb\u202ec\x00d", "a [31mb c d"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 59 + "…"),
        ("word " * 30, ("word " * 12).strip() + "…"),
        ("one two, " + "y" * 80, "one two, " + "y" * 50 + "…"),
        ("a" * 40 + ", " + "b" * 40, "a" * 40 + "…"),
        ("\n\t\x07", ""),
        ("Привет, мир", "Привет, мир"),
    ],
)
def test_title(prompt: str, title: str) -> None:
    assert title_of(prompt) == title
    assert len(title_of(prompt)) <= LONGEST


async def test_the_first_turn_gives_the_title_before_its_answer_and_no_later_one_does() -> None:
    async with house(OK) as it:
        await it.prompt("Why does\nit fail?")
        infos = [p["update"] for p in it.client.updates if p["update"]["sessionUpdate"] == "session_info_update"]
        assert [info["title"] for info in infos] == ["Why does it fail?"]
        assert infos[0]["updatedAt"].endswith("+00:00")
        assert [entry["title"] for entry in await it.entries() if entry["type"] == "title"] == ["Why does it fail?"]
        before = len(it.client.updates)
        await it.prompt("Another")
        assert all("title" not in params["update"] for params in it.client.updates[before:])


async def test_a_prompt_of_no_words_leaves_the_title_to_the_next() -> None:
    async with house(OK) as it:
        link = {"type": "resource_link", "uri": "file:///project/a.py", "name": "a.py"}
        await it.prompt_with([link])
        await it.prompt("What is it?")
        assert [entry["title"] for entry in await it.entries() if entry["type"] == "title"] == ["What is it?"]
