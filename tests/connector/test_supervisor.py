"""A supervised agent: its states, its end at every moment, and what becomes of its sessions and of its turn."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from connector import AgentInterrupted, AgentUnavailable, CallKnown, Client, Command, Restarts, Session, Supervisor
from tests.support.supervised import QUICK, command, mortal
from tests.support.waiting import until

SOON = Restarts(most=100, delay=0.01, stable=0)


async def test_an_ordinary_life_goes_through_the_states_and_each_change_is_an_event(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path) as it:
            assert it.agent.state == "starting"
            session = await it.agent.new_session(str(tmp_path))
            assert it.agent.state == "ready"
            assert (await session.prompt("hello")).text == "hello"
            status = it.agent.status()
            assert (status.name, status.state, status.sessions, status.queued) == ("m", "ready", 1, 0)
            assert status.pid == it.starts()[0][0]
            assert it.supervisor.status() == [status] or it.supervisor.status()[0].pid == status.pid
        assert it.states() == ["starting", "ready", "busy", "ready", "draining", "stopped"]
        first = it.told("agent.state")[0]
        assert (first["agent"], first["was"], first["why"]) == ("m", "stopped", "it was asked for")
        assert session.closed


async def test_an_agent_that_dies_when_it_is_at_nothing_is_back_with_its_sessions(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path) as it:
            session = await it.agent.new_session(str(tmp_path))
            await session.prompt("first")
            it.kill()
            await it.agent.reached("backoff", "starting")
            await it.agent.reached("ready")
            assert (await session.prompt("second")).text == "first | second"
            assert it.states()[3:] == ["ready", "backoff", "starting", "ready", "busy", "ready"]
            why = next(event["why"] for event in it.told("agent.state") if event["state"] == "backoff")
            assert why == "it ended (killed by SIGKILL)"
            noted = [entry["state"] for _, entry in session.record.read() if entry["type"] == "state"]
            assert noted == ["backoff", "starting", "ready"]


async def test_what_was_said_before_the_agent_died_is_kept_and_the_prompt_is_not_sent_again(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path) as it:
            session = await it.agent.new_session(str(tmp_path))
            turn = session.start("say one;call a completed;call b in_progress;call c pending;call d failed;die")
            with pytest.raises(AgentInterrupted) as why:
                await turn.result()
            assert (why.value.text, turn.text) == ("one", "one")
            assert why.value.calls == (
                CallKnown("a", "Do a", "done"),
                CallKnown("b", "Do b", "outcome unknown"),
                CallKnown("c", "Do c", "outcome unknown"),
                CallKnown("d", "Do d", "failed"),
            )
            assert "3 characters of its reply are kept" in str(why.value)
            assert "Do b: outcome unknown" in str(why.value)
            assert why.value.exit is not None
            assert it.agent.state == "ready"
            assert (await session.prompt("and?")).text.endswith("| and?")
            assert len(it.starts()) == 2


async def test_a_prompt_without_any_effect_is_sent_once_more(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path) as it:
            session = await it.agent.new_session(str(tmp_path))
            turn = await session.prompt("die 1;say done")
            assert (turn.text, turn.stop_reason) == ("done", "end_turn")


async def test_a_prompt_at_which_the_agent_dies_twice_is_given_back(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path, restarts=SOON) as it:
            session = await it.agent.new_session(str(tmp_path))
            with pytest.raises(AgentInterrupted, match="0 characters"):
                await session.prompt("die")
            assert len(it.starts()) == 3
            assert (await session.prompt("say on")).text == "on"


async def test_a_prompt_for_which_the_agent_has_read_a_file_is_not_sent_again(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with anyio.fail_after(20):
        async with mortal(tmp_path) as it:
            session = await it.agent.new_session(str(tmp_path))
            with pytest.raises(AgentInterrupted):
                await session.prompt(f"read {tmp_path}/a.txt;die 1;say done")


@pytest.mark.parametrize("keeps", ["load", ""])
async def test_a_session_is_loaded_else_made_anew_with_what_was_said_and_told(tmp_path: Path, keeps: str) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path, told={"keeps": keeps}, system_prompt="Be brief.") as it:
            session = await it.agent.new_session(str(tmp_path))
            before = session.id
            await session.prompt("say one")
            with pytest.raises(AgentInterrupted):
                await session.prompt("say two;die 1")
            heard = (await session.prompt("three")).text
            anew = it.told("session.recreated")
            if keeps:
                assert (anew, session.id) == ([], before)
                assert heard == "Be brief.\nsay one | say two;die 1 | three"
            else:
                assert [(event["was"], event["session"]) for event in anew] == [(before, session.id)]
                assert "neither session/resume nor session/load" in anew[0]["why"]
                assert session.id != before
                assert "Be brief." in heard
                assert "User: say one\n\nAssistant: one\n\nUser: say two;die 1\n\nAssistant: two\n\n" in heard
                assert "[this reply was interrupted]" in heard
                assert heard.endswith("three")
                assert (await session.prompt("four")).text == f"{heard} | four"
            assert list(it.agent.connector.sessions) == [session.id]


async def test_a_session_that_the_agent_no_longer_knows_is_made_anew_and_its_prompt_sent_again(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path) as it:
            session = await it.agent.new_session(str(tmp_path))
            await session.prompt("say one")
            (tmp_path / "sessions.json").write_text("{}")
            it.kill(signal.SIGSTOP)
            turn = session.start("two")
            it.kill()
            await turn.result()
            assert "Assistant: one" in turn.text
            assert turn.text.endswith("\ntwo")
            assert "User: two" not in turn.text
            assert "Resource not found" in it.told("session.recreated")[0]["why"]


async def test_an_agent_that_forgets_what_it_had_not_finished_is_told(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path, like="qwen") as it:
            session = await it.agent.new_session(str(tmp_path))
            with pytest.raises(AgentInterrupted):
                await session.prompt("say the first half;die 1")
            heard = (await session.prompt("go on")).text.split(" | ")
            assert heard[1].endswith("this is what you had said of it:\n\nthe first half\ngo on")


async def test_the_mode_that_was_chosen_is_chosen_again(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path) as it:
            session = await it.agent.new_session(str(tmp_path))
            await session.prompt("say one")
            await session.set_mode("plan")
            (tmp_path / "mode").unlink()
            it.kill()
            await it.agent.reached("starting")
            await it.agent.reached("ready")
            assert (tmp_path / "mode").read_text() == "plan"
            assert session.modes is not None
            assert session.modes.current_mode_id == "plan"


async def test_all_sessions_that_were_at_work_go_on(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path) as it:
            sessions = [await it.agent.new_session(str(tmp_path)) for _ in range(3)]
            turns = [session.start("say begun;wait") for session in sessions[:2]]
            for turn in turns:
                async for _ in turn:
                    break
            it.kill()
            for turn in turns:
                with pytest.raises(AgentInterrupted, match="5 characters"):
                    await turn.result()
            texts = [(await session.prompt("say on")).text for session in sessions]
            assert texts == ["on"] * 3
            assert len(it.starts()) == 2


async def begun(session: Session, prompt: str) -> None:
    """Returns once the agent is at it."""
    async for _ in session.start(prompt):
        return


@pytest.mark.parametrize("moment", ["initialize", "session/resume"])
async def test_an_agent_that_dies_again_while_it_comes_back_is_started_once_more(tmp_path: Path, moment: str) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path, told={"dies": {moment: [2, 3]}}, restarts=SOON) as it:
            session = await it.agent.new_session(str(tmp_path))
            await begun(session, "say begun;wait")
            it.kill()
            with pytest.raises(AgentInterrupted):
                await session.turns[0].result()
            assert len(it.starts()) == 4
            assert (await session.prompt("say on")).text == "on"


@pytest.mark.parametrize(
    ("keeps", "moment"), [("resume", "session/resume"), ("load", "session/load"), ("", "session/new")]
)
async def test_a_cancel_while_the_agent_comes_back_ends_the_turn_at_once(
    tmp_path: Path, keeps: str, moment: str
) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path, told={"keeps": keeps, "hangs": {moment: [2]}}) as it:
            session = await it.agent.new_session(str(tmp_path))
            await begun(session, "say begun;wait")
            waits = session.start("say later")
            it.kill()
            # The next process has shaken hands: it is asked for the session now.
            await until(lambda: len(it.starts()) == 2 and it.agent.status().pid == it.starts()[1][0])
            session.cancel()
            assert [await turn.result() for turn in (session.turns[0], waits)] == ["cancelled"] * 2
            assert it.agent.state == "starting"
            assert session.turns[0].text == "begun"


async def test_prompts_are_taken_while_the_agent_comes_back_and_wait_their_turn(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path) as it:
            session = await it.agent.new_session(str(tmp_path))
            it.kill()
            await it.agent.reached("backoff", "starting")
            turns = [session.start(f"say {number}") for number in range(3)]
            assert len(session.queue) == 3
            assert [await turn.result() for turn in turns] == ["end_turn"] * 3


async def test_an_agent_that_keeps_dying_has_failed_after_five_starts_until_it_is_reset(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        told = {"dies": {"session/resume": [2, 3, 4, 5]}}
        async with mortal(tmp_path, told=told, restarts=Restarts(delay=0.01)) as it:
            session = await it.agent.new_session(str(tmp_path))
            await begun(session, "say begun;wait")
            it.kill()
            with pytest.raises(AgentInterrupted, match=r"its state is failed: it ended \(killed by SIGKILL\)") as why:
                await session.turns[0].result()
            assert why.value.unavailable is not None
            assert it.agent.state == "failed"
            assert len(it.starts()) == 5
            with pytest.raises(AgentUnavailable, match="its state is failed"):
                session.start("x")
            with pytest.raises(AgentUnavailable, match="failed"):
                await it.agent.new_session(str(tmp_path))
            with pytest.raises(AgentUnavailable):
                await it.agent.reached("ready")

            it.agent.reset()
            await it.agent.reached("starting")
            await it.agent.reached("ready")
            assert (await session.prompt("say on")).text == "on"
            assert len(it.starts()) == 6


async def test_queued_prompts_of_an_agent_that_has_failed_end_with_that(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        told = {"dies": {"initialize": [2, 3]}}
        async with mortal(tmp_path, told=told, restarts=Restarts(most=2, delay=0.01)) as it:
            session = await it.agent.new_session(str(tmp_path))
            it.kill()
            await it.agent.reached("backoff", "starting")
            turn = session.start("say x")
            with pytest.raises(AgentUnavailable, match="failed"):
                await turn.result()


async def test_a_command_that_cannot_be_started_has_failed_at_once(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with Supervisor() as supervisor:
            agent = supervisor.add("x", Command("x", [f"{tmp_path}/missing"]), Client(), cwd=str(tmp_path))
            with pytest.raises(AgentUnavailable, match="No such file"):
                await agent.new_session(str(tmp_path))
            assert agent.state == "failed"
            with pytest.raises(ValueError, match="already"):
                supervisor.add("x", "ars", Client(), cwd=str(tmp_path))
            await supervisor.remove("x")
            assert "x" not in supervisor


async def test_the_end_does_not_wait_for_a_back_off(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path, told={"dies": {"initialize": [1, 2]}}, restarts=Restarts(delay=60, jitter=0)) as it:
            await it.agent.reached("backoff")
            await it.agent.reached("starting")
            await it.agent.reached("backoff")
            began = time.monotonic()
        assert time.monotonic() - began < 10
        assert it.states()[-1] == "stopped"


async def test_draining_lets_the_queue_end_and_takes_no_more(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path) as it:
            session = await it.agent.new_session(str(tmp_path))
            turns = [session.start(f"say {number}") for number in range(3)]
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(it.agent.drain)
                await it.agent.reached("draining")
                with pytest.raises(AgentUnavailable, match="its state is draining"):
                    session.start("one more")
            assert [turn.text for turn in turns] == ["0", "1", "2"]
            assert it.agent.state == "stopped"
            it.agent.start()
            again = await it.agent.new_session(str(tmp_path))
            assert (await again.prompt("say on")).text == "on"


async def test_stopping_cancels_what_runs(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path) as it:
            session = await it.agent.new_session(str(tmp_path))
            await begun(session, "say begun;wait")
            await it.agent.stop()
            assert session.turns[0].stop_reason == "cancelled"
            assert it.states()[-2:] == ["draining", "stopped"]


async def test_an_agent_that_stands_still_is_noticed_by_its_silence(tmp_path: Path) -> None:
    """SIGSTOP while it is at nothing, and wedged in its turn where it answers in turns."""
    limits = replace(QUICK, probe=1.5)
    with anyio.fail_after(20):
        async with mortal(tmp_path, limits=limits, like="ars") as it:
            session = await it.agent.new_session(str(tmp_path))
            await session.prompt("say one")
            it.kill(signal.SIGSTOP)
            began = time.monotonic()
            await it.agent.reached("backoff", "starting")
            assert 1.4 < time.monotonic() - began < 15
            await it.agent.reached("ready")
            with pytest.raises(AgentInterrupted, match=r"no sign of life for 1\.5 s and was killed"):
                await session.prompt("say half;stop")
            assert (await session.prompt("say on")).text == "on"


async def test_what_the_block_raises_is_raised_and_everything_is_gone(tmp_path: Path) -> None:
    pids: list[int | None] = []

    async def failing() -> None:
        async with mortal(tmp_path) as it:
            await it.agent.reached("ready")
            pids.append(it.agent.status().pid)
            raise KeyError("mine")

    with anyio.fail_after(20), pytest.raises(KeyError, match="mine"):
        await failing()
    assert not os.path.exists(f"/proc/{pids[0]}")


@pytest.mark.parametrize("state", ["draining", "stopped"])
async def test_who_is_told_may_fail_and_the_end_comes_all_the_same(tmp_path: Path, state: str) -> None:
    pids: list[int | None] = []

    def full(name: str, fields: dict[str, Any]) -> None:
        if fields.get("state") == state:
            raise OSError("the disk is full")

    async def told() -> None:
        async with Supervisor(on_event=full) as supervisor:
            agent = supervisor.add("m", command(tmp_path), Client(), cwd=str(tmp_path), limits=QUICK)
            await agent.reached("ready")
            pids.append(agent.status().pid)
            await agent.stop()

    with anyio.fail_after(20), pytest.raises(ExceptionGroup, match="unhandled errors"):
        await told()
    assert not os.path.exists(f"/proc/{pids[0]}")
