"""When an agent may be started again."""

import random

import pytest

from connector.backoff import Backoff, Restarts

MANY = Restarts(most=1000)


def delays(backoff: Backoff, times: int, apart: float = 0.0) -> list[float | None]:
    now, found = 0.0, []
    for _ in range(times):
        found.append(backoff.after_end(now))
        now += (found[-1] or 0.0) + apart
    return found


def test_the_first_restart_is_immediate_and_four_within_three_minutes_are_all() -> None:
    first, *later, last = delays(Backoff(), 5)
    assert (first, last) == (0, None)
    assert later == pytest.approx([0.25, 0.5, 1.0], rel=0.25)


def test_delays_double_up_to_the_longest_and_are_spread() -> None:
    whole = [0.0, 0.25, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    runs = [delays(Backoff(MANY, random.Random(seed)), 11) for seed in range(200)]
    for at, expected in enumerate(whole):
        found = [run[at] or 0.0 for run in runs]
        assert min(found) >= expected * 0.75
        assert max(found) <= expected * 1.25
        assert expected == 0 or max(found) - min(found) >= expected * 0.4


def test_an_agent_that_has_worked_for_a_while_is_restarted_at_once() -> None:
    backoff = Backoff(MANY)
    delays(backoff, 5)
    backoff.ready(100.0)
    assert backoff.after_end(109.0) != 0
    backoff.ready(200.0)
    assert backoff.after_end(210.0) == 0


def test_working_for_a_while_does_not_make_an_agent_that_keeps_ending_immortal() -> None:
    backoff, now = Backoff(), 0.0
    for _ in range(4):
        backoff.ready(now)
        now += 11
        assert backoff.after_end(now) == 0
    backoff.ready(now)
    assert backoff.after_end(now + 11) is None


def test_what_was_long_ago_does_not_count() -> None:
    backoff = Backoff(Restarts(jitter=0))
    assert delays(backoff, 4) == [0, 0.25, 0.5, 1.0]
    assert backoff.after_end(179.9) is None
    assert backoff.after_end(180.3) is not None
    assert backoff.used == 3


def test_a_reset_forgets_everything() -> None:
    backoff = Backoff()
    assert delays(backoff, 5)[-1] is None
    backoff.reset()
    assert backoff.after_end(3.0) == 0


def test_a_long_row_of_restarts_is_no_overflow() -> None:
    assert 22 < (delays(Backoff(Restarts(most=5000)), 3000)[-1] or 0) < 38
