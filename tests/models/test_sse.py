import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ars_acp.models.sse import EventStream, EventTooLong

PAYLOADS = st.lists(
    st.text(alphabet=st.characters(blacklist_categories=("Cs",)), max_size=20).map(lambda text: json.dumps({"t": text}))
    | st.text(max_size=20).map(lambda text: json.dumps(text, ensure_ascii=True)),
    max_size=8,
)


def fed(*parts: bytes) -> list[bytes]:
    stream = EventStream()
    return [event for part in parts for event in stream.feed(part)]


def test_an_event_comes_out_with_its_blank_line_and_not_before():
    stream = EventStream()
    assert stream.feed(b'data: {"a":1}\n') == []
    assert stream.feed(b"\n") == [b'{"a":1}']


@pytest.mark.parametrize(
    ("sent", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"id: 1\ndata:  a\n\n", [b" a"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b": comment\n\ndata: a\n\n:\n\n", [b"a"]),
        (b": comment\ndata: a\n\n", [b"a"]),
        (b"event: message\nid: 7\nretry: 10\nother: x\ndata: a\n\n", [b"a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data\ndata: a\n\n", [b"\na"]),
        (b"data\n\ndata:\n\nid: 1\n\n", []),
        (b"\n\n\ndata: a\n\n\n\n", [b"a"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"dataset: a\n\n", []),
        (b'event: error\ndata: {"m":1}\n\n', [b'{"error":{"m":1}}']),
        (b'error: {"m":1}\n\n', [b'{"error":{"m":1}}']),
    ],
)
def test_the_standard_says_what_is_an_event(sent: bytes, events: list[bytes]):
    assert fed(sent) == events


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@settings(deadline=None)
@given(payloads=PAYLOADS, data=st.data())
def test_events_are_the_same_however_the_bytes_are_cut(newline: str, payloads: list[str], data: st.DataObject):
    sent = "".join(f": hm{newline}{newline}data: {payload}{newline}{newline}" for payload in payloads).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=12)))
    parts = [sent[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    assert fed(*parts) == [payload.encode() for payload in payloads]


def test_a_line_end_cut_in_two_is_one_line_end():
    assert fed(b"data: a\r", b"\ndata: b\r\n\r\n") == [b"a\nb"]


def test_one_byte_at_a_time_gives_the_same_events():
    sent = "data: Grüße 🌍\r\n\r\ndata: x\n\n".encode()
    assert fed(*(bytes([byte]) for byte in sent)) == ["Grüße 🌍".encode(), b"x"]


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 200))
def test_no_bytes_can_break_the_reader(noise: bytes, cut: int):
    assert b"".join(fed(noise[:cut], noise[cut:])).count(b"\r") == 0


def test_what_lacks_only_its_blank_line_comes_out_at_the_end():
    stream = EventStream()
    assert stream.feed(b"data: a\n\ndata: b") == [b"a"]
    assert stream.end() == [b"b"]
    assert stream.end() == []


def test_an_endless_event_is_refused_at_the_limit():
    stream = EventStream(limit=1000)
    stream.feed(b"data: " + b"x" * 900)
    with pytest.raises(EventTooLong):
        stream.feed(b"x" * 200)


def test_only_comments_and_blank_lines_are_quiet():
    stream = EventStream()
    for part in (b"", b": keep", b"-alive\n\n", b":\n", b"\n"):
        stream.feed(part)
        assert stream.quiet
    stream.feed(b"dat")
    assert not stream.quiet


def test_a_long_event_in_many_parts_is_not_searched_again_and_again():
    # These 16 MiB take 0.03 s; searched from the start with every part, 28 s.
    began = time.process_time()
    stream = EventStream()
    stream.feed(b"data: ")
    for _ in range(4096):
        assert stream.feed(b"x" * 4095 + b"\n") == []
    assert len(stream.feed(b"\n")) == 1
    assert time.process_time() - began < 1
