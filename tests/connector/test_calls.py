"""Tools that the application carries out itself, for the real ars-acp: named when a session is opened, and kept."""

from pathlib import Path

import anyio
import pytest

from acp_wire.build_extensions import tool_result
from connector import AgentError, AgentInterrupted, AgentUnavailable, Client, NotOffered, launch
from tests.support.left_to_us import LIMITS, Hands, command, foreign, kill, results_of, supervised, waiting
from tests.support.waiting import until

READS = '=== turn repeat\ncall read_file {"path": "a.py"}\n--- step\nsay: $result\n'
WRITES = '=== turn repeat\ncall write_file {"path": "a.py", "content": "x"}\n--- step\nsay: $result\n'


async def test_the_application_carries_out_the_calls_of_the_tools_that_it_named(tmp_path: Path) -> None:
    hands = Hands(tool_result("text of the file"))
    (tmp_path / "a.py").write_text("of the disk")
    async with supervised(tmp_path, READS, hands) as agent:
        session = await agent.new_session(str(tmp_path), tools=["read_file"])
        assert "text of the file" in (await session.prompt("go")).text
        [call] = hands.calls
        assert (call.session, call.name, call.arguments) == (session.id, "read_file", {"path": "a.py"})
        other = await agent.new_session(str(tmp_path))
        assert "of the disk" in (await other.prompt("go")).text, (
            "a session without tools has the hands of its workspace"
        )
        assert len(hands.calls) == 1


async def test_a_tool_may_be_named_in_either_spelling(tmp_path: Path) -> None:
    hands = Hands(tool_result("diff --git"))
    script = "=== turn repeat\ncall git_diff {}\n--- step\nsay: $result\n"
    async with supervised(tmp_path, script, hands) as agent:
        for name in ("git.diff", "git_diff"):
            session = await agent.new_session(str(tmp_path), tools=[name])
            assert "diff --git" in (await session.prompt("go")).text
    assert [call.name for call in hands.calls] == ["git.diff"] * 2


async def test_an_agent_that_knows_nothing_of_it_is_told_nothing(tmp_path: Path) -> None:
    async with foreign(tmp_path) as connector:
        assert not connector.offers("ars/tools")
        with pytest.raises(NotOffered, match=r"cannot leave git\.diff, read_file to its client.*ars/tools"):
            await connector.new_session(str(tmp_path), tools=["read_file", "git.diff"])
        assert (await connector.new_session(str(tmp_path))).id


async def test_a_client_without_hands_for_it_is_the_callers_mistake(tmp_path: Path) -> None:
    with anyio.fail_after(30):
        async with launch(command(tmp_path, READS), Client(), cwd=str(tmp_path), limits=LIMITS) as connector:
            assert connector.offers("ars/tools")
            with pytest.raises(ValueError, match="call"):
                await connector.new_session(str(tmp_path), tools=["read_file"])


async def test_a_cancelled_turn_gives_the_call_up_at_once_and_the_next_one_works(tmp_path: Path) -> None:
    async with waiting(tmp_path, WRITES, "write_file") as (_, session, turn, hands):
        session.cancel()
        assert await turn.result() == "cancelled"
        assert hands.given_up == 1
        hands.answer = tool_result("written")
        assert (await session.prompt("again")).text == "written"
    assert results_of(tmp_path / "store") == [["CANCELLED"], [None]]


async def test_a_killed_agent_gives_the_call_up_and_its_session_keeps_its_tools(tmp_path: Path) -> None:
    async with waiting(tmp_path, WRITES, "write_file") as (agent, session, turn, hands):
        kill(agent)
        with pytest.raises(AgentInterrupted) as why:
            await turn.result()
        assert [call.what for call in why.value.calls] == ["outcome unknown"]
        assert hands.given_up == 1
        hands.answer = tool_result("written")
        assert (await session.prompt("again")).text == "written"
        assert [call.name for call in hands.calls] == ["write_file"] * 2
    assert results_of(tmp_path / "store") == [["UNKNOWN_OUTCOME"], [None]]


async def test_the_same_tools_or_others_are_named_when_a_conversation_is_taken_up_again(tmp_path: Path) -> None:
    hands = Hands(tool_result("by the application"))
    async with supervised(tmp_path, READS, hands) as agent:
        for tools, calls in ((["read_file"], 1), ([], 1), (["read_file", "git.diff"], 2)):
            session = await agent.ensure("work", str(tmp_path), tools=tools)
            await session.prompt("go")
            assert len(hands.calls) == calls
            await session.close()
        for take_up in (agent.load_session, agent.resume_session):
            session = await take_up(session.id, str(tmp_path), tools=["read_file"])
            calls += 1
            assert "by the application" in (await session.prompt("go")).text
            assert len(hands.calls) == calls
            await session.close()


async def test_a_session_that_was_lost_is_made_anew_with_its_tools(tmp_path: Path) -> None:
    hands = Hands(tool_result("by the application"))
    async with supervised(tmp_path, READS, hands) as agent:
        session = await agent.new_session(str(tmp_path), tools=["read_file"])
        await session.prompt("go")
        for file in (tmp_path / "store").rglob("*"):
            if file.is_file():
                file.unlink()
        kill(agent)
        await until(lambda: session.how == "recreated")
        assert "by the application" in (await session.prompt("go")).text
        assert len(hands.calls) == 2


async def test_the_tools_of_an_open_session_change_and_are_those_of_its_next_process_too(tmp_path: Path) -> None:
    hands = Hands(tool_result("by the application"))
    (tmp_path / "a.py").write_text("of the disk")
    async with supervised(tmp_path, READS, hands) as agent:
        session = await agent.new_session(str(tmp_path))
        assert "of the disk" in (await session.prompt("go")).text
        await session.retool(["read_file"])
        assert "by the application" in (await session.prompt("go")).text
        kill(agent)
        assert "by the application" in (await session.prompt("go")).text
        await session.retool([])
        assert "of the disk" in (await session.prompt("go")).text
        kill(agent)
        assert "of the disk" in (await session.prompt("go")).text
        assert len(hands.calls) == 2
        with pytest.raises(AgentError, match="nothing else"):
            await session.retool(["rm"])
        assert "of the disk" in (await session.prompt("go")).text


async def test_tools_of_an_open_session_stay_where_the_agent_cannot_change_them(tmp_path: Path) -> None:
    async with foreign(tmp_path) as connector:
        session = await connector.new_session(str(tmp_path))
        with pytest.raises(NotOffered, match="stay as they are"):
            await session.retool([])
    with anyio.fail_after(30):
        async with launch(command(tmp_path, READS), Client(), cwd=str(tmp_path), limits=LIMITS) as connector:
            session = await connector.new_session(str(tmp_path))
            await session.retool([])
            with pytest.raises(ValueError, match="call"):
                await session.retool(["read_file"])


async def test_an_agent_says_whether_its_model_can_be_reached_and_one_that_cannot_say_says_nothing(
    tmp_path: Path,
) -> None:
    async with supervised(tmp_path, READS, Hands(None)) as agent:
        await agent.reached("ready")
        health = await agent.health()
        assert health is not None
        assert (health.model, health.reachable) == ("scripted", True)
        await agent.stop()
        with pytest.raises(AgentUnavailable):
            await agent.health()
    async with foreign(tmp_path) as connector:
        assert await connector.health() is None
