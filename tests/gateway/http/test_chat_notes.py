"""What an OpenAI client is told of what waits for a person. Pure, but for the address of the page."""

from typing import Any

import pytest
from starlette.requests import Request

from ars_gateway.access.origins import peer_of
from ars_gateway.http.chat_notes import LONGEST, Notes, where
from ars_gateway.http.pages import origin_of
from ars_gateway.sessions.feed import Entry
from tests.gateway.conftest import Start

HERE = "http://localhost:1/#s=agent:main:x"
TIMES = {"createdAtMs": 1000, "expiresAtMs": 121_000}


def question(command: str, id: str = "q") -> Entry:
    return Entry(1, "r", "question", {"id": id, "request": {"command": command}, **TIMES})


def answered(by: str | None, kind: str = "answered", id: str = "q") -> Entry:
    return Entry(2, "r", kind, {"id": id, "resolvedBy": by})


def test_what_waits_is_a_paragraph_of_its_own_on_one_line():
    note = Notes(HERE).waits(question("rm `-rf`\n> x\n\n" + "y" * 900))
    assert note.startswith("\n\n> The agent waits for permission: `rm '-rf' > x y")
    assert note.endswith(f"…`. Give it at {HERE} within 120 s.\n\n")
    assert note.strip("\n").count("\n") == 0
    assert len(note) < LONGEST + 150


def test_a_form_waits_for_an_answer():
    form = Entry(1, "r", "form", {"id": "f", "message": "Which\nbranch?", **TIMES})
    notes = Notes(HERE)
    assert "> The agent waits for an answer: `Which branch?`. Give it" in notes.waits(form)
    assert "> Nobody gave an answer: `Which branch?`, so" in notes.missed(answered(None, "filled", "f"))


def test_what_somebody_has_decided_needs_no_note():
    notes = Notes(HERE)
    notes.waits(question("ls"))
    assert notes.missed(answered("Ada")) == ""
    assert [notes.waits(it) or notes.missed(it) for it in (Entry(1, "r", "text", "hi"), Entry(2, "r", "end", {}))] == [
        ""
    ] * 2


def test_who_may_not_see_a_question_hears_that_there_is_one():
    notes = Notes(HERE, frozenset({"question", "answered", "form", "filled"}))
    told = [notes.waits(question("secret")), notes.missed(answered(None))]
    told += [notes.waits(Entry(1, "r", "form", {"id": "f", "message": "secret", **TIMES}))]
    assert "secret" not in "".join(told)
    assert "waits for permission. Give it" in told[0]
    assert "waits for an answer. Give it" in told[2]


def test_a_session_is_named_in_the_fragment_whatever_it_is_called():
    assert where("http://h:1", "agent:main:x y&#é") == "http://h:1/#s=agent:main:x%20y%26%23%C3%A9"


@pytest.mark.parametrize(
    ("host", "unix", "origin"),
    [
        ("localhost:{port}", False, "http://localhost:{port}"),
        ("Agents.example", False, "https://agents.example"),
        ("localhost", True, "http://127.0.0.1:{port}"),
    ],
)
async def test_the_page_is_where_the_client_has_come_from(start: Start, host: str, unix: bool, origin: str):
    async with start(allowed_origins=frozenset({"https://agents.example"})) as running:
        port = str(running.addresses.port)
        headers = [(b"host", host.replace("{port}", port).encode())]
        app = type("App", (), {"state": type("State", (), {"gateway": running.gateway})})
        state: dict[str, Any] = {"peer": peer_of("" if unix else "127.0.0.1", unix, headers)}
        request = Request({"type": "http", "headers": headers, "app": app, "state": state})
        assert origin_of(request) == origin.replace("{port}", port)
