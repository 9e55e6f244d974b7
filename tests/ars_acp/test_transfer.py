"""A session as one file: what is written is read again as it was, and what is not whole is refused."""

import json
from typing import Any

import pytest

from ars_acp.transfer import Refused, lines, read

Json = dict[str, Any]
SESSION: Json = {"type": "session", "version": 1, "cwd": "/project", "directories": [], "mode": "ask"}
ENTRIES: list[Json] = [
    SESSION,
    {"type": "prompt", "content": [{"type": "text", "text": "gö\n\u2028"}], "text": "gö\n\u2028"},
    {"type": "text", "text": "lone \ud800"},
    {"type": "reply", "finish": "stop", "calls": [], "model": "m"},
    {"type": "turn", "stop": "end_turn"},
]
HEAD: Json = {"ars": "session", "version": 1, "id": "sess_1", "entries": 1}


def exported(*entries: Json) -> bytes:
    return b"".join(lines("sess_1", enumerate(entries or ENTRIES, 1)))


def file(head: Json, *entries: Json) -> bytes:
    numbered = [{"n": number, **entry} for number, entry in enumerate(entries, 1)]
    return b"".join(json.dumps(line).encode() + b"\n" for line in (head, *numbered))


def test_what_was_exported_comes_back_as_it_was() -> None:
    brought = read(exported())
    assert (brought.id, brought.entries) == ("sess_1", ENTRIES)
    assert brought.state["last_user_message"] == "gö\n\u2028"


def test_a_file_that_went_over_a_system_with_other_line_ends_is_still_whole() -> None:
    assert read(exported().replace(b"\n", b"\r\n")).entries == ENTRIES


def test_every_cut_of_a_file_is_refused() -> None:
    whole = exported()
    for end in range(len(whole)):
        with pytest.raises(Refused):
            read(whole[:end])


def test_a_missing_a_doubled_and_a_moved_line_are_refused() -> None:
    head, *rest = exported().splitlines(keepends=True)
    for damaged in (rest[:2] + rest[3:], rest[:2] + rest[1:], [rest[0], rest[2], rest[1], *rest[3:]]):
        with pytest.raises(Refused, match=r"not whole|line \d+ is damaged"):
            read(b"".join([head, *damaged]))


def test_a_damaged_line_is_named() -> None:
    head, first, second, *rest = exported().splitlines(keepends=True)
    with pytest.raises(Refused, match="line 3 is damaged"):
        read(b"".join([head, first, second[:-9] + b"\0" * 8 + b"\n", *rest]))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (file({**HEAD, "version": 2}, SESSION), "format 2, of a newer version"),
        (file(HEAD, {**SESSION, "version": 2}), "line 2 is of a newer version"),
        (b"", "first line"),
        (b"# a session as Markdown\n", "first line"),
        (b"[]\n", "first line"),
        (b"\xff\xfe\n", "first line"),
        (file({**HEAD, "ars": "agent"}, SESSION), "first line"),
        (file({**HEAD, "id": "../sess_1"}, SESSION), "first line"),
        (file({**HEAD, "id": 7}, SESSION), "first line"),
        (file({**HEAD, "entries": "1"}, SESSION), "first line"),
        (file({**HEAD, "entries": 0}), "not those of a session"),
        (file(HEAD, {"type": "text", "text": "a"}), "not those of a session"),
        (file({**HEAD, "entries": 2}, SESSION, {"type": "text"}), "not those of a session"),
        (file({**HEAD, "entries": 2}, SESSION, {"type": "text", "text": 7}), "not those of a session"),
        (file({**HEAD, "entries": 2}, SESSION, {"kind": "text"}), "not those of a session"),
        (file({**HEAD, "entries": 2}, SESSION, {"type": "update", "update": []}), "not those of a session"),
        (file({**HEAD, "entries": 2}, SESSION, {"type": "config", "id": "mode", "value": "all"}), "not those"),
    ],
)
def test_what_is_no_session_s_file_or_a_newer_one_s_is_refused_with_one_line(data: bytes, told: str) -> None:
    with pytest.raises(Refused, match=told) as refused:
        read(data)
    assert "\n" not in str(refused.value)
