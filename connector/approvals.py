"""Questions that several may answer: the first one wins, and everybody else learns who that was."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio

from connector.permissions import ANSWER_SECONDS, Act, Answer, Said

TIME_LIMIT = "time limit"
_KINDS = {Answer.ALLOW: "allow_once", Answer.REFUSE: "reject_once"}


@dataclass(eq=False)
class Question:
    """One act that waits for an answer. `id` is that of the `asked` and `decided` entries in its session's record.

    `deadline` is when it is answered with no, by the monotonic clock; None: never.
    """

    id: str
    act: Act
    deadline: float | None
    said: Said | None = None
    answered: anyio.Event = field(default_factory=anyio.Event)


def _nobody(question: Question) -> None:
    """Whoever shows questions says so."""


class Approvals:
    """A policy that lets whoever may approve answer: `Client(policy=Approvals())`.

    Without an answer within `seconds` it is a no, given by `time limit`; when the turn is cancelled the question is
    gone. `on_change(question)` is called when there is a new one, and when one is over (it is not in `pending` then).
    What was asked and decided is in the session's record, for those who come late.
    """

    def __init__(
        self, *, seconds: float | None = ANSWER_SECONDS, on_change: Callable[[Question], None] = _nobody
    ) -> None:
        self._seconds = seconds
        self._on_change = on_change
        self._pending: dict[str, Question] = {}

    @property
    def pending(self) -> list[Question]:
        """What waits for an answer, the oldest first."""
        return list(self._pending.values())

    def answer(self, question_id: str, answer: Answer | str, by: str = "") -> bool:
        """Answers with one of the question's options, by its id, or with yes or no for this time; `by` says who.

        True for the first answer, which is the one that counts, whatever becomes of whoever gave it; False where there
        is no such question (any more). Raises ValueError for an option that the question does not have.
        """
        question = self._pending.get(question_id)
        if question is None:
            return False
        question.said = Said(_option(question.act, answer), by)
        self._over(question)
        return True

    async def __call__(self, act: Act) -> Said:
        """Waits for an answer."""
        deadline = None if self._seconds is None else time.monotonic() + self._seconds
        question = Question(act.id, act, deadline)
        self._pending[act.id] = question
        try:
            self._on_change(question)
            with anyio.move_on_after(self._seconds):
                await question.answered.wait()
        finally:
            self._over(question)
        return question.said or Said(Answer.REFUSE, TIME_LIMIT)

    def _over(self, question: Question) -> None:
        """From here on nobody answers it any more."""
        if self._pending.pop(question.id, None) is not None:
            question.answered.set()
            self._on_change(question)


def _option(act: Act, answer: Answer | str) -> Answer | str:
    """A person's yes or no picks the option that stands for it."""
    if isinstance(answer, str):
        known: list[Any] = [option.option_id for option in act.options]
        if answer not in known:
            raise ValueError(f"there is no option {answer!r}; there are {', '.join(known)}")
        return answer
    fitting = [option.option_id for option in act.options if option.kind == _KINDS.get(answer)]
    if answer is Answer.ALLOW and len(fitting) != 1:
        raise ValueError("there is no single option for this time: pick one by its id")
    return fitting[0] if len(fitting) == 1 else answer
