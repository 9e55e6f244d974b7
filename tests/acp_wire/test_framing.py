"""Framing: bytes in, lines out; a message in, bytes out."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acp_wire.framing import Lines, LineTooLong, NotJson, StreamUnusable, decode, encode


def lines_of(data: bytes, cuts: list[int], limit: int = 1 << 20) -> list[bytes | LineTooLong]:
    """What comes out when `data` arrives in pieces cut at `cuts`."""
    lines, got, last = Lines(limit), [], 0
    for cut in [*sorted(cuts), len(data)]:
        got.extend(lines.feed(data[last:cut]))
        last = cut
    if rest := lines.finish():
        got.append(rest)
    return got


@given(st.lists(st.text().map(lambda text: text.replace("\n", " ").encode())), st.lists(st.integers(0, 400)))
def test_lines_are_the_same_however_the_bytes_arrive(written: list[bytes], cuts: list[int]) -> None:
    data = b"".join(line + b"\n" for line in written)

    assert lines_of(data, [min(cut, len(data)) for cut in cuts]) == written


def test_two_frames_in_one_write_are_two_lines_and_a_rest_is_the_last_one() -> None:
    assert lines_of(b"{}\n[]\n1", []) == [b"{}", b"[]", b"1"]


@pytest.mark.parametrize("size", [9, 10])
def test_a_line_up_to_the_limit_passes(size: int) -> None:
    assert lines_of(b"x" * size + b"\n", [3], limit=10) == [b"x" * size]


@pytest.mark.parametrize("cuts", [[], [5], [10], [11], list(range(15))])
def test_a_line_over_the_limit_is_reported_once_in_its_place_and_the_next_one_is_whole(cuts: list[int]) -> None:
    first, second = lines_of(b"x" * 15 + b"\n{}\n", cuts, limit=10)

    assert isinstance(first, LineTooLong)
    assert second == b"{}"


@pytest.mark.parametrize("step", [1, 7, 100])
def test_twice_the_limit_without_a_newline_is_the_end(step: int) -> None:
    lines = Lines(10)

    def feed_it_all() -> None:
        for _ in range(0, 22, step):
            list(lines.feed(b"x" * step))

    with pytest.raises(StreamUnusable):
        feed_it_all()


ROUND_TRIPS = [
    "\ud800",
    "a\udfffb",
    "\U0001f600",
    "я",
    "\x00\x1f",
    "\u2028",
    2**63,
    -(2**64),
    10**400,
    0.1,
    None,
    True,
    {"a": []},
]


@pytest.mark.parametrize("value", ROUND_TRIPS, ids=repr)
def test_what_is_encoded_is_one_line_of_json_and_decodes_to_the_same(value: object) -> None:
    line = encode({"id": 1, "v": value})

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line)["v"] == value or isinstance(value, int)  # a huge integer outside an id may come back as a float
    assert json.loads(line) == {"id": 1, "v": value}


@pytest.mark.parametrize("number", [2**53 + 1, 2**64, -(2**70)])
def test_an_id_over_64_bits_is_read_exactly(number: int) -> None:
    assert decode(b'{"id":%d}' % number)["id"] == number


@pytest.mark.parametrize(
    "line", [b"NaN", b'{"a":-Infinity}', b"1e999", b'"\xff"', b'"\xed\xa0\x80"', b"", b"[" * 200_000]
)
def test_what_json_cannot_carry_is_refused(line: bytes) -> None:
    with pytest.raises(NotJson):
        decode(line)


def test_nan_is_never_written_as_nan() -> None:
    assert b"NaN" not in encode({"v": float("nan")})


def test_what_is_not_json_raises_type_error() -> None:
    with pytest.raises(TypeError):
        encode({"v": object()})


@given(st.binary())
def test_any_bytes_either_decode_or_are_not_json(data: bytes) -> None:
    try:
        decode(data)
    except NotJson:
        return
    assert json.loads(data.removeprefix(b"\xef\xbb\xbf")) is not NotImplemented
