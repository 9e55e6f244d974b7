"""Numbered streams: nothing is lost, nothing comes twice, and what is kept stays within its bounds."""

import random
from dataclasses import replace
from functools import partial

import pytest

from ars_gateway.limits import LIMITS
from ars_gateway.remote.outlets import ENTRY_BYTES, Forgotten, Outlet, Outlets, Reader


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def made(clock: Clock | None = None, **changed: float) -> Outlets:
    return Outlets(replace(LIMITS, **changed), clock or Clock())


def stream(outlets: Outlets, name: str | None = None) -> Outlet:
    found = outlets.of(name)
    assert found is not None
    return found


def texts(reader: Reader) -> list[bytes] | None:
    found = reader.ready()
    return None if found is None else [entry.data for entry in found]


def test_a_reader_gets_what_waits_then_what_comes_and_then_the_end():
    outlets = made()
    one = stream(outlets)
    one.put(b"a")
    reader = one.read(None)
    assert texts(reader) == [b"a"]
    assert texts(reader) == []
    one.put(b"b")
    outlets.finish()
    assert texts(reader) == [b"b"]
    assert texts(reader) is None


def test_a_new_reader_goes_on_where_it_says_or_where_the_last_one_was():
    one = stream(made())
    for data in (b"a", b"b", b"c"):
        one.put(data)
    before = one.read(None)
    assert texts(before) == [b"a", b"b", b"c"]
    assert texts(one.read(1)) == [b"b", b"c"]
    assert texts(before) is None
    one.put(b"d")
    assert texts(one.read(None)) == [b"d"]
    with pytest.raises(ValueError, match="5"):
        one.read(5)


def test_what_was_handed_out_is_kept_within_bounds_of_bytes_and_time():
    clock = Clock()
    outlets = made(clock, remote_kept_bytes=10 * (ENTRY_BYTES + 1), remote_kept_seconds=60)
    one, two = stream(outlets), stream(outlets, "s")
    for outlet, count in ((one, 30), (two, 5)):
        for _ in range(count):
            outlet.put(b"x")
        assert len(texts(outlet.read(None)) or ()) == count
        assert outlets.kept <= 10 * (ENTRY_BYTES + 1)
    with pytest.raises(Forgotten):
        one.read(24)
    assert len(texts(one.read(25)) or ()) == 5
    assert len(texts(two.read(0)) or ()) == 5
    clock.now = 61
    outlets.age(clock.now)
    assert (outlets.kept, outlets.waiting) == (0, 0)
    with pytest.raises(Forgotten):
        two.read(4)
    assert texts(two.read(5)) == []


def test_what_somebody_asks_for_again_is_kept_until_they_have_it():
    outlets = made(remote_kept_bytes=700_000)
    one, two = stream(outlets), stream(outlets, "s")
    for n in range(6):
        one.put(b"%d" % n * 100_000)
    first = one.read(None)
    while texts(first):
        pass
    again = one.read(0)
    assert [it[:1] for it in texts(again) or ()] == [b"0", b"1"]
    other = two.read(None)
    for _ in range(10):
        two.put(b"x" * 100_000)
        assert texts(other)
    outlets.age(1e9)
    got = [b"0", b"1"]
    while found := texts(again):
        got += [it[:1] for it in found]
    assert got == [b"%d" % n for n in range(6)]


def test_a_stream_that_was_silent_for_long_is_not_stalled_at_once():
    clock = Clock()
    outlets = made(clock, remote_waiting_bytes=1000)
    one = stream(outlets)
    clock.now = 1000.0
    one.put(b"x" * 900)
    assert outlets.full
    assert outlets.moved_at == 1000.0


def test_when_there_are_too_many_streams_one_that_is_of_no_use_gives_way():
    outlets = made(remote_streams=3)
    used, idle = stream(outlets, "used"), stream(outlets, "idle")
    used.put(b"a")
    idle.put(b"b")
    idle.read(None).ready()
    assert outlets.of("third") is None  # somebody reads the one, something waits in the other
    assert idle.reader is not None
    idle.reader.close()
    assert stream(outlets, "third").number > idle.number
    assert outlets.kept == 0


@pytest.mark.parametrize("seed", range(50))
def test_whatever_is_done_each_reader_gets_an_unbroken_sequence(seed):
    rng = random.Random(seed)
    clock = Clock()
    outlets = made(clock, remote_kept_bytes=20_000, remote_kept_seconds=50)
    names = [None, "a", "b"]
    put = dict.fromkeys(names, 0)
    readers: dict[str | None, Reader] = {}
    forgotten = 0
    for _ in range(2_000):
        clock.now += rng.random()
        name = rng.choice(names)
        outlet = stream(outlets, name)
        match rng.randrange(6):
            case 0 | 1:
                put[name] += 1
                outlet.put(b"%d " % put[name] + b"x" * rng.randrange(2_000))
            case 2 if name in readers:
                position = readers[name].position
                found = readers[name].ready() or []
                assert [int(it.data.split()[0]) for it in found] == [*range(position + 1, position + 1 + len(found))]
            case 3:
                after = rng.choice([None, rng.randint(0, outlet.sent)])
                try:
                    readers[name] = outlet.read(after)
                except Forgotten:
                    forgotten += 1
            case 4:
                outlets.age(clock.now)
            case 5 if name in readers and rng.random() < 0.2:
                readers.pop(name).close()
    for name, reader in readers.items():
        while reader.ready():
            pass
        assert reader.position == put[name]
    assert forgotten
    entries = [(it, outlet.sent) for outlet in map(partial(stream, outlets), names) for it in outlet._entries]
    assert outlets.waiting == sum(it.size for it, sent in entries if it.n > sent)
    assert outlets.kept == sum(it.size for it, sent in entries if it.n <= sent)
