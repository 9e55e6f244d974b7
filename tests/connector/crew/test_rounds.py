"""The rounds: who is asked when, and what with."""

from collections.abc import Sequence

import anyio
import anyio.lowlevel
import pytest

from connector.crew import ROUNDS, Reply, all_end_with, debate, parallel, pipeline, sequential


class Table:
    """A Floor whose roles answer at once with `says`, or fail where that is None. What each was asked is in `asked`."""

    first = 4

    def __init__(self, **says: Sequence[str | None]) -> None:
        self.roles = tuple(says)
        self.messages = self.first + 1
        self.asked: list[tuple[str, int | None, tuple[int, ...] | None]] = []
        self.at_work = self.most_at_work = 0
        self._says = {role: iter(words) for role, words in says.items()}

    async def ask(self, role: str, *, upto: int | None = None, only: Sequence[int] | None = None) -> Reply:
        self.asked.append((role, upto, None if only is None else tuple(only)))
        self.at_work += 1
        self.most_at_work = max(self.at_work, self.most_at_work)
        await anyio.lowlevel.checkpoint()
        self.at_work -= 1
        text = next(self._says[role])
        if text is None:
            return Reply(role, kind="AgentExited")
        self.messages += 1
        return Reply(role, text, "end_turn", index=self.messages - 1)


async def test_sequential_asks_one_after_the_other() -> None:
    table = Table(Ann=["a"], Bob=[None], Cid=["c"])
    await sequential(table)
    assert table.asked == [("Ann", None, None), ("Bob", None, None), ("Cid", None, None)]
    assert table.most_at_work == 1


async def test_parallel_asks_all_at_once_about_the_same() -> None:
    table = Table(Ann=["a"], Bob=[None], Cid=["c"])
    await parallel(table)
    assert sorted(table.asked) == [("Ann", 5, None), ("Bob", 5, None), ("Cid", 5, None)]
    assert table.most_at_work == 3


async def test_a_pipeline_hands_on_what_the_last_one_that_did_not_fail_has_made() -> None:
    table = Table(Ann=["a"], Bob=[None], Cid=[" "], Dan=["d"], Eve=["e"])
    await pipeline(table)
    handed = [only for _, _, only in table.asked]
    assert handed == [(4, 4), (4, 5), (4, 5), (4, 5), (4, 7)]
    assert table.most_at_work == 1


async def test_a_debate_gives_each_the_replies_of_the_time_before() -> None:
    table = Table(Ann=["a1", "a2"], Bob=["b1", "b2"])
    await debate(rounds=2)(table)
    assert [upto for _, upto, _ in table.asked] == [5, 5, 7, 7]
    assert table.most_at_work == 2


async def test_a_debate_ends_when_the_callers_rule_says_that_they_agree() -> None:
    seen: list[list[str]] = []

    def until(replies: Sequence[Reply]) -> bool:
        seen.append([reply.text for reply in replies])
        return all(reply.text == "yes" for reply in replies)

    table = Table(Ann=["no", "yes", "yes"], Bob=["yes", "yes", "yes"])
    await debate(rounds=3, until=until)(table)
    assert seen == [["no", "yes"], ["yes", "yes"]]


async def test_a_debate_does_not_take_silence_for_agreement() -> None:
    table = Table(Ann=["yes", "yes"], Bob=[None, None])
    await debate(rounds=2, until=lambda replies: True)(table)
    assert len(table.asked) == 4


@pytest.mark.parametrize(
    ("texts", "agreed"),
    [
        (["Well. AGREED", "I am, too: agreed."], True),
        (["**Agreed.**\n", "agreed!"], True),
        (["AGREED", "Not AGREED yet"], False),
        (["AGREED", ""], False),
    ],
)
def test_a_rule_for_agreement_is_a_plain_function_over_the_replies(texts: list[str], agreed: bool) -> None:
    assert all_end_with("Agreed")([Reply("x", text) for text in texts]) is agreed


def test_rounds_are_found_by_their_names_and_a_debate_has_one_at_least() -> None:
    assert {name: round.__name__ for name, round in ROUNDS.items()} == {name: name for name in ROUNDS}
    with pytest.raises(ValueError, match="at least one"):
        debate(0)
