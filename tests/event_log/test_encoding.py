import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_log.encoding import decode, encode

surrogates_too = st.text(st.characters(codec=None, exclude_categories=()))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | surrogates_too
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(surrogates_too, inner), max_leaves=10)
entries = st.dictionaries(surrogates_too.filter(lambda key: key != "n"), values, max_size=5)


@given(number=st.integers(1, 2**40), entry=entries)
def test_an_entry_of_any_json_values_comes_back_as_it_was(number, entry):
    assert decode(encode(number, entry)) == (number, entry)


@given(entry=entries)
def test_an_entry_is_one_line(entry):
    line = encode(1, entry)
    assert line.index(b"\n") == len(line) - 1


def test_the_number_comes_first():
    assert encode(7, {"a": "b"}) == b'{"n":7,"a":"b"}\n'
    assert encode(8, {}) == b'{"n":8}\n'


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, 10**40])
def test_an_integer_over_64_bits_is_not_rounded(value):
    _, entry = decode(encode(1, {"v": value}))
    assert entry == {"v": value}
    assert type(entry["v"]) is int


@pytest.mark.parametrize("value", [b"bytes", object(), {1, 2}, {"deep": b""}, 2**64 * 1j])
def test_what_is_not_json_is_refused(value):
    with pytest.raises(TypeError):
        encode(1, {"v": value})


def test_an_entry_may_not_bring_a_number_of_its_own():
    with pytest.raises(ValueError, match="log's own"):
        encode(1, {"n": 1})


def test_nesting_that_no_parser_takes_is_refused():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested too deeply"):
        encode(1, {"v": deep})


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"7", b"{}", b'{"n":"1"}', b'{"n":true}', b'{"n": 1,', b'{"n":1}x'])
def test_a_line_that_is_not_an_entry_is_a_value_error(line):
    with pytest.raises(ValueError):
        decode(line)
