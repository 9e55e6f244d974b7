"""When a silent agent is asked, and when it is given up."""

from connector.probe import Pulse


def run(pulse: Pulse, until: float, *, heard: float = 0.0, answers: bool = True, begin: float = 0.0) -> list[tuple]:
    """What is done with an agent that stays silent, and when."""
    now, done = begin, []
    while now < until:
        what, later = pulse.next(now, heard, answers=answers)
        if what != "wait":
            done.append((what, now))
        if what == "wedged":
            break
        now = later
    return done


def test_a_silent_agent_is_asked_at_half_the_limit_and_given_up_at_the_limit() -> None:
    assert run(Pulse(10), 60) == [("ask", 5), ("wedged", 10)]


def test_whatever_is_heard_is_a_sign_of_life() -> None:
    pulse = Pulse(10)
    assert pulse.next(5, 0, answers=True)[0] == "ask"
    assert pulse.next(10, 9.9, answers=True) == ("wait", 14.9)
    assert run(pulse, 60, heard=9.9, begin=10) == [("ask", 14.9), ("wedged", 19.9)]


def test_an_answer_to_the_question_itself_is_one() -> None:
    pulse = Pulse(10)
    assert pulse.next(5, 0, answers=True)[0] == "ask"
    assert pulse.next(10, 5, answers=True) == ("ask", 15)


def test_where_no_answer_is_expected_it_is_not_asked() -> None:
    assert run(Pulse(10), 600, answers=False) == []


def test_it_has_half_the_limit_for_its_answer_however_long_it_was_not_asked() -> None:
    pulse = Pulse(10)
    assert run(pulse, 100, answers=False) == []
    assert run(pulse, 200, begin=100) == [("ask", 100), ("wedged", 105)]


def test_a_question_that_was_asked_in_time_is_answered_though_a_turn_begins() -> None:
    pulse = Pulse(10)
    assert pulse.next(5, 0, answers=True)[0] == "ask"
    assert pulse.next(10, 0, answers=False)[0] == "wedged"


def test_when_we_stood_still_ourselves_it_gets_its_time_again() -> None:
    pulse = Pulse(10)
    assert pulse.next(5, 0, answers=True)[0] == "ask"
    pulse.stood_still(1000)
    assert pulse.next(1000, 0, answers=True) == ("wait", 1005)
    assert pulse.next(1005, 0, answers=True)[0] == "wedged"
