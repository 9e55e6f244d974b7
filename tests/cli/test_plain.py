"""Nothing that an agent says reaches the terminal as anything but letters."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ars_cli.plain import clean, visible

HOSTILE = [
    ("\x1b[31mred\x1b[0m", "red"),
    ("\x1b[2J\x1b[Hhome", "home"),
    ("\x1b]0;title\x07text", "text"),
    ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
    ("\x1b]52;c;ZXZpbA==\x07copied", "copied"),
    ("\x1bP1$r0m\x1b\\dcs", "dcs"),
    ("\x1b_apc\x1b\\x", "x"),
    ("\x9b31mc1\x9d0;t\x9cend", "c1end"),
    ("\x1bcreset", "reset"),
    ("\x1b(0lines", "lines"),
    ("over\rwritten", "overwritten"),
    ("a\x08\x08b\x07\x00\x7f", "ab"),
    ("one\r\ntwo\tthree\n", "one\ntwo\tthree\n"),
    ("abc\u202egnp.exe\u202c", "abcgnp.exe"),
    ("\u2066x\u2069\u200f\u061c", "x"),
    ("\u2028line\u2029", "line"),
    ("tag\U000e0041", "tag"),
    ("half \ud83d", "half \ufffd"),
    ("unfinished \x1b", "unfinished "),
    ("unfinished \x1b[3", "unfinished "),
    ("unfinished \x1b]0;t", "unfinished 0;t"),
    ("e\u0301 👩\u200d🚀 שלום", "e\u0301 👩\u200d🚀 שלום"),
]


@pytest.mark.parametrize(("said", "shown"), HOSTILE)
def test_control_sequences_are_dropped_and_letters_stay(said: str, shown: str) -> None:
    assert clean(said) == shown


@given(st.text(st.sampled_from("\x1b[]PX^_\\;0m\x07\x9b\x9d\x9c\x90ab\r\n\t\u202e\u200f\ud800\x00\x85é")))
def test_no_string_keeps_a_control_character(said: str) -> None:
    """S29: 0 raw."""
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", clean(said)
    )
    assert not re.search("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff]", visible(said))


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("rm -rf /\x1b[2K\rls", "rm -rf /\\x1b[2K\\rls"),
        ("ls\n rm", "ls\\n rm"),
        ("ls\u202e", "ls\\u{202e}"),
        ("a\u200bb", "a\\u{200b}b"),
        ("\ud800", "\\u{d800}"),
        ("plain é", "plain é"),
    ],
)
def test_what_is_to_be_agreed_to_shows_what_hides_in_it(said: str, shown: str) -> None:
    assert visible(said) == shown
