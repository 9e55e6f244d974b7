"""Something is said to an agent while it is at work."""

from pathlib import Path
from typing import Any

import pytest

from acp_wire.build_extensions import tool_result
from connector import AgentExited, AgentInterrupted, NotOffered
from tests.support.left_to_us import Hands, foreign, kill, supervised, waiting

# The second turn repeats what was said.
LOOKS = '=== turn\ncall read_file {"path": "a.py"}\n--- step\nsay: unsteered\n=== turn repeat\nsay: I heard $prompt\n'


def said(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}]


async def test_what_is_said_during_a_turn_joins_it_and_is_no_turn_of_its_own(tmp_path: Path) -> None:
    async with waiting(tmp_path, LOOKS, "read_file") as (_, session, turn, hands):
        assert await session.steer(said("look elsewhere"))
        hands.answer = tool_result("text")
        hands.go_on.set()
        assert await turn.result() == "end_turn"
        assert "I heard look elsewhere" in turn.text
        assert [it.text for it in session.turns] == [turn.text]


async def test_where_no_turn_runs_nothing_is_said(tmp_path: Path) -> None:
    async with supervised(tmp_path, LOOKS, Hands(None)) as agent:
        session = await agent.new_session(str(tmp_path))
        assert not await session.steer(said("anybody?"))
        await session.prompt("go")
        assert not await session.steer(said("still there?"))
        assert len(session.turns) == 1


async def test_an_agent_that_dies_of_it_is_an_error(tmp_path: Path) -> None:
    async with waiting(tmp_path, LOOKS, "read_file") as (agent, session, turn, _):
        kill(agent)
        with pytest.raises(AgentExited):
            await session.steer(said("look elsewhere"))
        with pytest.raises(AgentInterrupted):
            await turn.result()


async def test_an_agent_that_cannot_be_steered_is_not_asked(tmp_path: Path) -> None:
    async with foreign(tmp_path) as connector:
        session = await connector.new_session(str(tmp_path))
        with pytest.raises(NotOffered, match="takes no further message"):
            await session.steer(said("hello"))


async def test_what_was_said_during_a_turn_is_in_the_account_for_an_agent_that_has_lost_it(tmp_path: Path) -> None:
    async with waiting(tmp_path, LOOKS, "read_file") as (_, session, turn, hands):
        assert await session.steer(said("look elsewhere"))
        hands.answer = tool_result("text")
        hands.go_on.set()
        await turn.result()
        assert "User: go\n\nUser: look elsewhere\n\n" in session.record.recap()
        assert [it.steered for it in session.record.turns] == [turn.steered] == [said("look elsewhere")]


async def test_what_is_no_content_is_not_said(tmp_path: Path) -> None:
    async with supervised(tmp_path, LOOKS, Hands(None)) as agent:
        session = await agent.new_session(str(tmp_path))
        for blocks in ([], [{"type": "tune"}]):
            with pytest.raises(ValueError, match=r"a prompt needs|a block of type 'tune'"):
                await session.steer(blocks)
