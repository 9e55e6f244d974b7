"""The queue of a session: its order is to be seen, has priorities, and what waits in it can be taken back."""

import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio

from connector import Client, Command, Limits, Session, Turn, launch
from tests.support.waiting import until

ABLE = Path(__file__).parents[2] / "fixtures" / "agents" / "able.py"


@contextlib.asynccontextmanager
async def opened(tmp_path: Path) -> AsyncIterator[Session]:
    command = Command("able", [sys.executable, "-S", str(ABLE)])
    with anyio.fail_after(20):
        async with launch(command, Client(), cwd=str(tmp_path), limits=Limits(late=0)) as connector:
            yield await connector.new_session(str(tmp_path))


def words(turns: list[Turn]) -> list[str]:
    return [turn.prompt[0]["text"] for turn in turns]


async def sent(session: Session) -> list[str]:
    heard = json.loads((await session.prompt("report")).text)
    return [it["params"]["prompt"][0]["text"] for it in heard if it["method"] == "session/prompt"][:-1]


async def test_the_higher_priority_goes_first_and_equals_as_they_came(tmp_path: Path) -> None:
    async with opened(tmp_path) as session:
        running = session.start("wait")
        await anext(aiter(running))
        for text, priority in (("a", 0), ("low", -1), ("b", 0), ("high", 5), ("c", 0), ("higher", 6)):
            session.start(text, priority)
        assert words(session.queue) == ["higher", "high", "a", "b", "c", "low"]
        assert words(session.turns) == ["wait", *words(session.queue)]
        last = session.queue[-1]
        session._tell_to_stop()
        await last.ended()
        assert await sent(session) == ["wait", "higher", "high", "a", "b", "c", "low"]
        assert words(session.turns) == ["wait", "higher", "high", "a", "b", "c", "low", "report"]
        priorities = [entry.get("priority", 0) for _, entry in session.record.read() if entry["type"] == "prompt"]
        assert priorities[:7] == [0, 0, -1, 0, 5, 0, 6]


async def test_what_waits_can_be_taken_back_and_what_runs_cannot(tmp_path: Path) -> None:
    async with opened(tmp_path) as session:
        running = session.start("wait")
        await anext(aiter(running))
        mistake, wanted = session.start("mistake"), session.start("wanted")
        assert mistake.withdraw()
        assert not mistake.withdraw()
        assert not running.withdraw()
        assert (words(session.queue), mistake.state, mistake.unsent) == (["wanted"], "done", True)
        assert await mistake.result() == "cancelled"
        session._tell_to_stop()
        await wanted.ended()
        assert await sent(session) == ["wait", "wanted"]
        ended = [entry for _, entry in session.record.read() if entry["type"] == "ended" and entry.get("withdrawn")]
        assert [entry["turn"] for entry in ended] == [mistake.id]
        assert [turn.unsent for turn in session.record.turns] == [turn.unsent for turn in session.turns]


async def test_a_prompt_that_came_while_the_last_turn_settled_is_carried_out(tmp_path: Path) -> None:
    async with opened(tmp_path) as session:
        for number in range(20):
            turn = session.start(f"{number}")
            await turn.ended()
            for _ in range(number):
                await anyio.lowlevel.checkpoint()
            assert (await session.prompt("next")).text == "you said next"


async def test_whoever_leaves_a_prompt_that_runs_leaves_those_of_others_in_the_queue(tmp_path: Path) -> None:
    async with opened(tmp_path) as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.prompt, "wait")
            await until(lambda: session.running is not None and bool(session.running.text))
            other = session.start("wanted")
            tasks.cancel_scope.cancel()
        assert await other.result() == "end_turn"
        assert session.turns[0].stop_reason == "cancelled"


async def test_one_turn_is_cancelled_and_no_other(tmp_path: Path) -> None:
    async with opened(tmp_path) as session:
        turns = [session.start(text) for text in ("wait", "unwanted", "wanted")]
        await anext(aiter(turns[0]))
        session.cancel(turns[1])
        assert (words(session.queue), turns[0].cancelled) == (["wanted"], False)
        session.cancel(turns[0])
        assert [await turn.result() for turn in turns] == ["cancelled", "cancelled", "end_turn"]
        session.cancel(turns[0])
        assert await sent(session) == ["wait", "wanted"]
