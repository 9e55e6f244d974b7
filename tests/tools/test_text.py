"""Cutting, framing and cleaning of text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ars_acp.tools import text

ANY = st.text(st.characters() | st.sampled_from("\ud800\udfff\n`é€😀"), max_size=60)


@given(ANY, st.integers(0, 200))
def test_ends_are_whole_characters_within_the_limit(whole: str, limit: int) -> None:
    first, last = text.head(whole, limit), text.tail(whole, limit)
    assert whole.startswith(first)
    assert whole.endswith(last)
    assert max(text.size(first), text.size(last)) <= limit
    if text.size(whole) <= limit:
        assert first == last == whole
    else:  # nothing more would have fitted
        assert text.size(first) > limit - 4
        assert text.size(last) > limit - 4


@given(ANY, st.integers(8, 100))
def test_middle_cut_keeps_both_ends_and_counts_what_it_leaves_out(whole: str, limit: int) -> None:
    cut = text.middle_cut(whole, limit)
    if text.size(whole) <= limit:
        assert cut == whole
        return
    first, _, rest = cut.rpartition("\n[... ")
    note, _, last = rest.partition(" bytes left out here ...]\n")
    assert whole.startswith(first)
    assert whole.endswith(last)
    assert int(note) == text.size(whole) - text.size(first) - text.size(last)


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("a\r\nb\r", "a\nb\r"),
        ("\x1b]0;title\x07x\x1b]8;;u\x1b\\y", "xy"),
        ("\x1bMz", "z"),
    ],
)
def test_plain_output_has_no_escapes(raw: str, plain: str) -> None:
    assert text.plain(raw) == plain


@pytest.mark.parametrize("inner", ["a", "```\nb\n```", "````", "a\n`````x\n"])
def test_fence_is_longer_than_any_within(inner: str) -> None:
    first, *lines, last = text.fenced(inner, "sh").split("\n")
    assert first == f"{last}sh"
    assert not any(line.startswith(last) for line in lines)


@given(ANY)
def test_data_ends_with_a_line_that_is_not_in_it(inner: str) -> None:
    framed = text.data(inner)
    assert framed.count(framed.split("\n")[-1]) == 1
    assert inner in framed
