"""Questions that several may answer: one decision each, and all of them in the record."""

import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from acp_wire.schema.tool_calls import ToolCallUpdate
from connector import Client, Command, Limits, Session, Turn, launch
from connector.approvals import Approvals, Question
from connector.permissions import Act, Answer

ASKS = Path(__file__).parents[2] / "fixtures" / "agents" / "asks.py"
OPTIONS = [
    {"optionId": "yes", "name": "Yes", "kind": "allow_once"},
    {"optionId": "always", "name": "Always", "kind": "allow_always"},
    {"optionId": "no", "name": "No", "kind": "reject_once"},
]
ASK = ["ask", "session/request_permission", {"sessionId": "$session", "toolCall": {"toolCallId": "t"}}]
WRITE = ["ask", "fs/write_text_file", {"sessionId": "$session", "content": "x"}]


class Talk:
    """A session whose agent asks, and the questions that were shown."""

    def __init__(self, approvals: Approvals, session: Session, shown: list[str]) -> None:
        self.approvals = approvals
        self.session = session
        self.shown = shown

    def begin(self, *steps: Any) -> Turn:
        return self.session.start(json.dumps(steps))

    async def question(self) -> Question:
        while not self.approvals.pending:
            await anyio.lowlevel.checkpoint()
        return self.approvals.pending[0]

    def entries(self, kind: str) -> list[dict[str, Any]]:
        return [entry for _, entry in self.session.record.read() if entry["type"] == kind]


@contextlib.asynccontextmanager
async def talk(cwd: Path, seconds: float | None = 20) -> AsyncIterator[Talk]:
    shown: list[str] = []
    approvals = Approvals(seconds=seconds, on_change=lambda question: shown.append(question.id))
    command = Command("asks", [sys.executable, "-S", str(ASKS)])
    with anyio.fail_after(20):
        async with launch(command, Client(policy=approvals), cwd=str(cwd), limits=Limits(late=0)) as connector:
            yield Talk(approvals, await connector.new_session(str(cwd)), shown)


def ask() -> Any:
    return [*ASK[:2], {**ASK[2], "options": OPTIONS}]


@pytest.mark.parametrize(
    ("answer", "picked", "allowed"),
    [("yes", "yes", True), ("always", "always", True), (Answer.ALLOW, "yes", True), (Answer.REFUSE, "no", False)],
)
async def test_the_first_answer_wins_and_late_readers_see_whose_it_was(
    tmp_path: Path, answer: Any, picked: str, allowed: bool
) -> None:
    async with talk(tmp_path) as it:
        turn = it.begin(ask())
        question = await it.question()
        with pytest.raises(ValueError, match="no option 'maybe'; there are yes, always, no"):
            it.approvals.answer(question.id, "maybe", "A")
        assert it.approvals.answer(question.id, answer, "A")
        assert it.approvals.pending == []
        assert not it.approvals.answer(question.id, "no", "B")
        assert not it.approvals.answer("unheard of", "no", "B")
        await turn.ended()
        assert json.loads(turn.text) == [{"outcome": {"outcome": "selected", "optionId": picked}}]
        asked, decided = it.entries("asked"), it.entries("decided")
        assert [(entry["turn"], entry["id"], entry["options"]) for entry in asked] == [(turn.id, question.id, OPTIONS)]
        assert [(entry["turn"], entry["id"], entry["option"], entry["allowed"], entry["who"]) for entry in decided] == [
            (turn.id, question.id, picked, allowed, "A")
        ]
        assert it.shown == [question.id] * 2


async def test_nobody_answering_in_time_is_a_no(tmp_path: Path) -> None:
    async with talk(tmp_path, seconds=0.05) as it:
        turn = it.begin(ask())
        question = await it.question()
        await turn.ended()
        assert json.loads(turn.text) == [{"outcome": {"outcome": "selected", "optionId": "no"}}]
        assert not it.approvals.answer(question.id, "yes", "A")
        assert [(entry["allowed"], entry["who"]) for entry in it.entries("decided")] == [(False, "time limit")]


@pytest.mark.parametrize("answered", [False, True])
async def test_a_cancelled_turn_ends_its_questions_also_one_that_was_answered_just_before(
    tmp_path: Path, answered: bool
) -> None:
    async with talk(tmp_path) as it:
        turn = it.begin(ask(), ["cancelled"])
        question = await it.question()
        if answered:
            assert it.approvals.answer(question.id, "yes", "A")
        it.session.cancel()
        await turn.ended()
        assert json.loads(turn.text) == [{"outcome": {"outcome": "cancelled"}}]
        assert not it.approvals.answer(question.id, "yes", "A")
        assert [(entry["id"], entry["allowed"], entry["by"]) for entry in it.entries("decided")] == [
            (question.id, False, "cancel")
        ]


async def test_what_the_agent_does_without_asking_is_asked_as_well(tmp_path: Path) -> None:
    path = str(tmp_path / "a.txt")
    async with talk(tmp_path) as it:
        turn = it.begin([*WRITE[:2], {**WRITE[2], "path": path}])
        question = await it.question()
        assert (question.act.kind, question.act.paths) == ("edit", (path,))
        assert it.approvals.answer(question.id, Answer.ALLOW, "A")
        await turn.ended()
        assert (tmp_path / "a.txt").read_text() == "x"
        assert [(entry["paths"], entry["who"]) for entry in it.entries("decided")] == [([path], "A")]


async def test_a_question_that_could_not_be_shown_waits_for_nobody() -> None:
    def broken(question: Question) -> None:
        if approvals.pending:
            raise RuntimeError("no screen")

    approvals = Approvals(on_change=broken)
    with pytest.raises(RuntimeError):
        await approvals(Act("edit", (), (), "s", "Edit", (), ToolCallUpdate(toolCallId="t")))
    assert approvals.pending == []
