"""Failures to sign in are counted, and whom that stops."""

import pytest

from ars_gateway.access.limiter import FAILURES, GLOBAL_FAILURES, LOCKED, MOST_BUCKETS, WINDOW, Limiter, Rate
from tests.gateway.client import Device, Refusal, connect_params
from tests.gateway.host import TOKEN

WRONG = "wrong-wrong-wrong"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limiter(clock: Clock) -> Limiter:
    return Limiter(clock)


def fail(limiter: Limiter, bucket: str, times: int) -> None:
    for _ in range(times):
        limiter.failed(bucket)


def test_five_failures_in_a_minute_close_a_bucket_for_five(limiter, clock):
    fail(limiter, "a", FAILURES - 1)
    assert limiter.wait("a") == 0
    fail(limiter, "a", 1)
    assert limiter.wait("a") == LOCKED
    assert limiter.wait("b") == 0
    clock.now += LOCKED
    assert limiter.wait("a") == 0


def test_failures_that_are_far_apart_close_nothing(limiter, clock):
    for _ in range(20):
        limiter.failed("a")
        clock.now += WINDOW / (FAILURES - 1)
    assert limiter.wait("a") == 0


def test_signing_in_takes_the_failures_back(limiter):
    fail(limiter, "a", FAILURES - 1)
    limiter.entered("a")
    fail(limiter, "a", FAILURES - 1)
    assert limiter.wait("a") == 0


def test_fifty_failures_from_everywhere_stop_strangers_and_nobody_else(limiter, clock):
    limiter.entered("home")
    for number in range(GLOBAL_FAILURES):
        limiter.failed(f"stranger {number}")
    assert limiter.wait("another stranger") == LOCKED
    assert limiter.wait("home") == 0
    clock.now += LOCKED
    assert limiter.wait("another stranger") == 0


def test_a_lock_on_everybody_is_no_pardon_for_one(limiter):
    limiter.entered("home")
    fail(limiter, "home", FAILURES)
    assert limiter.wait("home") == LOCKED


def test_what_is_counted_is_bounded(limiter):
    for number in range(MOST_BUCKETS + 500):
        limiter.failed(f"{number}")
        limiter.entered(f"{number} too")
    assert len(limiter._failures) == MOST_BUCKETS
    assert len(limiter._trusted) <= 1000


def test_a_rate_says_how_long_to_wait(clock):
    rate = Rate(3, 60, clock)
    assert [rate.wait("me") for _ in range(3)] == [0, 0, 0]
    clock.now += 20
    assert rate.wait("me") == 40
    assert rate.wait("you") == 0
    clock.now += 40
    assert rate.wait("me") == 0


async def refused(running, token: str, **options) -> Refusal:
    with pytest.raises(Refusal) as raised:
        async with running.client(token=token, **options):
            pass
    return raised.value


async def test_after_five_wrong_tokens_the_right_one_has_to_wait_too(start, clock, tmp_path):
    path = tmp_path / "state" / "g.sock"
    async with start(clock=clock, socket_path=path) as running:
        for _ in range(FAILURES):
            assert "mismatch" in (await refused(running, WRONG)).message
        found = await refused(running, TOKEN)
        assert found.message == "unauthorized: too many failed authentication attempts (retry later)"
        assert (found.error["retryable"], found.error["retryAfterMs"]) == (True, 300_000)
        async with running.client(options={"unix": path, "url": "ws://localhost/"}):
            pass  # from elsewhere it lets in
        assert len(running.log.named("gateway.sign_in_failed")) == FAILURES
        clock.now += LOCKED
        async with running.client():
            pass


async def test_a_missing_token_is_no_failure(running):
    for _ in range(20):
        with pytest.raises(Refusal, match="device identity required"):
            async with running.client(token=None):
                pass
    async with running.client():
        pass


async def test_a_paired_device_is_let_in_while_strangers_beside_it_are_locked_out(running):
    device = Device()
    async with running.client(device=device):
        pass
    for _ in range(FAILURES + 1):
        await refused(running, WRONG)
    async with running.client(device=device) as client:
        assert client.hello["type"] == "hello-ok"


async def test_a_paired_device_that_guesses_is_locked_out_by_itself(running):
    device = Device()
    async with running.client(device=device):
        pass
    for _ in range(FAILURES):
        assert "mismatch" in (await refused(running, WRONG, device=device)).message
    assert "too many" in (await refused(running, TOKEN, device=device)).message
    async with running.client():
        pass


async def test_a_device_that_is_not_paired_shares_the_bucket_of_its_address(running):
    for _ in range(FAILURES):
        await refused(running, WRONG, device=Device())
    assert "too many" in (await refused(running, TOKEN, device=Device())).message


async def test_one_page_cannot_lock_out_another(start):
    origins = frozenset({"https://a.example", "https://b.example"})
    async with start(allowed_origins=origins) as running:
        for _ in range(FAILURES):
            await refused(running, WRONG, options={"origin": "https://a.example"})
        assert "too many" in (await refused(running, TOKEN, options={"origin": "https://a.example"})).message
        async with running.client(options={"origin": "https://b.example"}):
            pass


async def test_another_kind_of_credential_does_not_switch_the_counting_off(running):
    for _ in range(FAILURES):
        async with running.socket() as client:
            with pytest.raises(Refusal):
                await client.connect(connect_params(auth={"token": WRONG, "password": "anything"}))
    assert "too many" in (await refused(running, TOKEN)).message
