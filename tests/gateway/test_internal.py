"""The signature of a service's request, without a request."""

import hmac
from hashlib import sha256

import pytest

from ars_gateway.access import internal
from ars_gateway.access.internal import MOST, WINDOW_MS, Busy, Internal, NotSigned

NOW = 1_700_000_000_000
DIGEST = sha256(b"{}").hexdigest()


def header(at: int = NOW, nonce: str = "n" * 22, secret: str = "s3cret", target: str = "/x?y=1") -> str:
    """By the contract, written down once more."""
    text = f"ars-internal-v1\n{at}\n{nonce}\nPOST\n{target}\n{DIGEST}"
    return f"v1 {at} {nonce} {DIGEST} {hmac.new(secret.encode(), text.encode(), sha256).hexdigest()}"


class Clock:
    now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def door(clock: Clock) -> Internal:
    clock.now -= 10 * WINDOW_MS
    door = Internal(b"s3cret", clock)
    clock.now = NOW
    return door


def test_a_signed_request_says_what_its_body_has_to_be(door):
    assert door.check(header(), "POST", "/x?y=1") == DIGEST


@pytest.mark.parametrize("skew", [-WINDOW_MS, WINDOW_MS])
def test_a_minute_of_difference_is_allowed(door, skew):
    assert door.check(header(NOW + skew), "POST", "/x?y=1")


@pytest.mark.parametrize(
    ("given", "method", "target", "guessed"),
    [
        (header(secret="other"), "POST", "/x?y=1", True),
        (header(), "GET", "/x?y=1", True),
        (header(), "POST", "/x", True),
        (header(), "POST", "/x?y=2", True),
        (header()[:-1] + "g", "POST", "/x?y=1", False),
        (header().replace(str(NOW), str(NOW + 1)), "POST", "/x?y=1", True),
        (header().replace("n" * 22, "m" * 22), "POST", "/x?y=1", True),
        (header().replace(DIGEST, DIGEST[::-1]), "POST", "/x?y=1", True),
        (header().replace("v1", "v2"), "POST", "/x?y=1", False),
        (header(NOW - WINDOW_MS - 1), "POST", "/x?y=1", False),
        (header(NOW + WINDOW_MS + 1), "POST", "/x?y=1", False),
        (header(nonce="short"), "POST", "/x?y=1", False),
        (header(nonce="x" * 65), "POST", "/x?y=1", False),
        (header().upper(), "POST", "/x?y=1", False),
        (header() + "\n", "POST", "/x?y=1", False),
        ("", "POST", "/x?y=1", False),
    ],
)
def test_anything_else_lets_nobody_in(door, given, method, target, guessed):
    with pytest.raises(NotSigned) as refused:
        door.check(given, method, target)
    assert refused.value.guessed is guessed
    assert door.check(header(), "POST", "/x?y=1")


def test_a_nonce_is_good_once_for_as_long_as_its_time_could_come_again(door, clock):
    assert door.check(header(NOW + WINDOW_MS), "POST", "/x?y=1")
    for later in (0, 1, WINDOW_MS, 2 * WINDOW_MS):
        clock.now = NOW + later
        with pytest.raises(NotSigned, match="used before"):
            door.check(header(NOW + WINDOW_MS), "POST", "/x?y=1")
    with pytest.raises(NotSigned, match="used before"):
        door.check(header(clock.now), "POST", "/x?y=1")
    clock.now += 1
    assert door.check(header(clock.now), "POST", "/x?y=1")


def test_a_clock_that_is_set_back_brings_nothing_back(door, clock):
    once = header()
    assert door.check(once, "POST", "/x?y=1")
    clock.now += 10 * WINDOW_MS
    assert door.check(header(clock.now, nonce="m" * 22), "POST", "/x?y=1")
    clock.now = NOW
    with pytest.raises(NotSigned, match="before the gateway's start"):
        door.check(once, "POST", "/x?y=1")


def test_what_was_signed_before_the_start_is_not_taken(clock):
    door = Internal(b"s3cret", clock)
    with pytest.raises(NotSigned, match="before the gateway's start"):
        door.check(header(NOW - 1), "POST", "/x?y=1")
    assert door.check(header(NOW), "POST", "/x?y=1")


def test_a_flood_forgets_no_nonce(door, clock):
    for number in range(MOST):
        door._use(f"nonce-{number:020d}", clock.now)
    with pytest.raises(Busy):
        door.check(header(), "POST", "/x?y=1")
    with pytest.raises(NotSigned, match="used before"):
        door._use("nonce-00000000000000000000", clock.now)
    clock.now += 2 * WINDOW_MS + 1
    assert door.check(header(clock.now), "POST", "/x?y=1")
    assert len(door._used) == 1


def test_the_contract_says_what_is_asked_for():
    assert internal.__doc__ is not None
    assert internal.SCHEME in internal.__doc__
