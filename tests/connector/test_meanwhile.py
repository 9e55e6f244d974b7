"""What comes in the middle of something else: of a recovery, of draining, of opening a session, of changing spares."""

import os
import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from connector import (
    AgentInterrupted,
    AgentTimeout,
    AgentUnavailable,
    Client,
    Restarts,
    Supervised,
    Supervisor,
    ToolCall,
    launch,
    testing,
)
from connector.errors import SignInNeeded
from connector.recovery import make_anew
from event_log.stores.memory import MemoryStore
from tests.support.supervised import QUICK, command, mortal
from tests.support.waiting import until


async def test_a_session_that_is_closed_while_it_is_made_anew_in_vain_leaves_nothing_behind(tmp_path: Path) -> None:
    told = {"keeps": "", "hangs": {"session/new": [2]}}
    with anyio.fail_after(20):
        async with mortal(tmp_path, told=told, limits=replace(QUICK, session=1)) as it:
            cancelled = await it.agent.new_session(str(tmp_path))
            closed = await it.agent.new_session(str(tmp_path))
            turn = cancelled.start("wait")
            await until(lambda: cancelled.running is not None)
            sessions = it.agent.connector.sessions
            it.kill()
            await until(lambda: cancelled.id not in sessions)
            cancelled.cancel()
            await closed.close()
            assert await turn.result() == "cancelled"
            await it.agent.reached("ready")
            assert (await cancelled.prompt("say on")).text == "on"
            assert list(sessions.values()) == [cancelled]
            assert [*it.agent.connector.client._sessions] == [cancelled.id]


async def test_a_lost_session_that_was_closed_before_it_is_made_anew_is_not(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with launch(command(tmp_path), Client(), cwd=str(tmp_path), limits=QUICK) as connector:
            session = await connector.new_session(str(tmp_path))
            await session.close()
            await make_anew({session: "gone"}, connector.sessions, connector._link, connector._ask_session)
            assert connector.sessions == {}
            assert session.how == "new"


async def test_an_agent_can_be_reset_by_whoever_is_told_that_it_has_failed(tmp_path: Path) -> None:
    failed: list[dict[str, Any]] = []

    def on_event(name: str, fields: dict[str, Any]) -> None:
        if name == "agent.state" and fields["state"] == "failed":
            failed.append(fields)
            agent.reset()

    dies = command(tmp_path, dies={"initialize": [1, 2]})
    with anyio.fail_after(20):
        async with Supervisor(on_event=on_event) as supervisor:
            agent: Supervised = supervisor.add(
                "m", dies, Client(), cwd=str(tmp_path), limits=QUICK, restarts=Restarts(most=1)
            )
            await agent.reached("ready")
            assert len(failed) == 1


async def test_an_agent_whose_last_prompt_is_withdrawn_is_drained(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path, limits=replace(QUICK, late=1.0)) as it:
            session = await it.agent.new_session(str(tmp_path))
            await session.prompt("say one")
            turn = session.start("say two")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(it.agent.drain)
                await it.agent.reached("draining")
                turn.withdraw()
            assert it.agent.state == "stopped"


@pytest.mark.parametrize("asked", ["twice", "and nobody waits"])
async def test_an_agent_is_drained_when_its_turn_has_ended_whoever_waits_for_it(tmp_path: Path, asked: str) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path) as it:
            session = await it.agent.new_session(str(tmp_path))
            turn = session.start("say begun;wait")
            await until(lambda: turn.text == "begun")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(it.agent.drain)
                await it.agent.reached("draining")
                if asked == "twice":
                    tasks.start_soon(it.agent.drain)
                    await anyio.wait_all_tasks_blocked()
                else:
                    tasks.cancel_scope.cancel()
                assert (turn.state, turn.cancelled) == ("running", False)
                session.cancel()
            await until(lambda: it.agent.state == "stopped")


async def test_an_agent_that_is_just_coming_back_does_what_is_queued_before_it_is_drained(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path) as it:
            session = await it.agent.new_session(str(tmp_path))
            it.kill()
            await it.agent.reached("backoff", "starting")
            turns = [session.start(f"say {number}") for number in range(3)]
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(it.agent.drain)
                await anyio.lowlevel.checkpoint()
                with pytest.raises(AgentUnavailable, match="its state is draining"):
                    session.start("one more")
            assert [turn.stop_reason for turn in turns] == ["end_turn"] * 3
            assert it.states()[-2:] == ["draining", "stopped"]


async def test_an_agent_that_ends_while_it_is_drained_comes_back_for_what_is_queued(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path) as it:
            session = await it.agent.new_session(str(tmp_path))
            turns = [session.start(text) for text in ("say begun;wait", "say later")]
            await until(lambda: turns[0].text == "begun")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(it.agent.drain)
                await it.agent.reached("draining")
                it.kill()
            assert isinstance(turns[0].failure, AgentInterrupted)
            assert (turns[1].stop_reason, turns[1].text) == ("end_turn", "later")


async def test_an_agent_is_drained_though_who_is_told_of_it_fails(tmp_path: Path) -> None:
    def on_event(name: str, fields: dict[str, Any]) -> None:
        if fields.get("state") == "draining":
            raise OSError("No space left on device")

    with anyio.fail_after(20):
        async with Supervisor(on_event=on_event) as supervisor:
            agent = supervisor.add("m", command(tmp_path), Client(), cwd=str(tmp_path), limits=QUICK)
            await agent.reached("ready")
            with pytest.raises(OSError, match="No space"):
                await agent.drain()
            await until(lambda: agent.state == "stopped")


async def test_a_drained_agent_is_stopped_when_its_time_is_over(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path) as it:
            session = await it.agent.new_session(str(tmp_path))
            turn = session.start("say begun;wait")
            await until(lambda: turn.text == "begun")
            await it.agent.drain(within=0.1)
            assert (it.agent.state, turn.stop_reason) == ("stopped", "cancelled")


async def test_a_turn_takes_no_longer_than_it_may_though_its_agent_does_not_come_back(tmp_path: Path) -> None:
    told = {"hangs": {"session/resume": [2]}}
    with anyio.fail_after(20):
        async with mortal(tmp_path, told=told, limits=replace(QUICK, turn=1.5)) as it:
            session = await it.agent.new_session(str(tmp_path))
            with pytest.raises(AgentTimeout, match=r"no answer to session/prompt within 1\.5 s"):
                await session.prompt("say begun;die")
            assert it.agent.state == "starting"


@pytest.mark.parametrize(("limits", "told"), [({}, "200 answers"), ({"session": 2}, "within 2 s")])
async def test_an_agent_that_has_ever_more_to_tell_of_a_session_does_not_keep_it(
    tmp_path: Path, limits: dict[str, Any], told: str
) -> None:
    holds: dict[str, Any] = {"holds": {"_ars/session/replay": [2]}} if limits else {}
    with anyio.fail_after(20):
        async with mortal(tmp_path, told={"ours": ["ars/replay"], **holds}, limits=replace(QUICK, **limits)) as it:
            session = await it.agent.new_session(str(tmp_path))
            await session.prompt("say one")
            it.kill()
            await it.agent.reached("backoff", "starting")
            assert (await session.prompt("say on")).text == "on"
            [event] = it.told("session.not_caught_up")
            assert re.search(told, event["why"])


async def test_tools_that_an_agent_has_changed_are_changed_though_nobody_waits_for_its_answer(tmp_path: Path) -> None:
    async def call(what: ToolCall) -> dict[str, Any]:
        return {}

    told = {"ours": ["ars/retool", "ars/tools"], "holds": {"_ars/session/retool": [1]}}
    with anyio.fail_after(20):
        async with mortal(tmp_path, told=told, client=Client(call=call)) as it:
            session = await it.agent.new_session(str(tmp_path))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(session.retool, ["read_file"])
                await until((tmp_path / "held").exists)
                tasks.cancel_scope.cancel()
            assert not session.hands.tools
            it.kill(signal.SIGUSR1)
            await until(lambda: session.hands.tools == {"read_file"})
            assert session.params["_meta"] == {"ars/tools": ["read_file"]}


async def test_two_prompts_at_once_start_an_agent_again_once(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with launch(command(tmp_path), Client(), cwd=str(tmp_path), limits=QUICK) as connector:
            os.kill(connector.pid, signal.SIGKILL)
            await until(lambda: not connector.is_alive())
            async with anyio.create_task_group() as tasks:
                for _ in range(2):
                    tasks.start_soon(connector.execute, "say one")
            assert len(connector.sessions) == 1
        started = [line.split()[0] for line in (tmp_path / "starts").read_text().splitlines()]
        assert len(started) == 2
        assert not any(os.path.exists(f"/proc/{pid}") for pid in started)


async def test_what_spares_an_agent_had_goes_with_it_and_others_have_the_room(tmp_path: Path) -> None:
    what = command(tmp_path)
    with anyio.fail_after(20):
        async with Supervisor(most_spares=1) as supervisor:
            agent = supervisor.add("a", what, Client(), cwd=str(tmp_path), limits=QUICK, spares=1)
            shared = supervisor.add("b", what, Client(), cwd=str(tmp_path), limits=QUICK, spares=1)
            await agent.prepared()
            await supervisor.remove("a")
            assert shared.status().spares == 1
            await supervisor.remove("b")
            other = supervisor.add("c", what, Client(), cwd="/", limits=QUICK, spares=1)
            await other.prepared()
            assert other.status().spares == 1


async def test_whoever_waits_for_spares_does_not_wait_for_one_that_is_given_up(tmp_path: Path) -> None:
    dies = {"initialize": list(range(3, 30))}  # whatever comes after the agent and its first spare
    with anyio.fail_after(20):
        async with mortal(tmp_path, told={"dies": dies}, spares=1) as it:
            await it.agent.prepared()
            (spare,) = {pid for pid, _ in it.starts()} - {it.agent.status().pid}
            os.kill(spare, signal.SIGKILL)
            await until(lambda: it.agent.status().spares == 0)
            await it.agent.prepared()
            assert it.agent.status().spares == 0
            assert it.told("spare.failed")[-1]["given_up"]


async def test_all_spares_that_were_let_go_come_back_with_the_next_prompt(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path, spares=3, spare_idle=0.3) as it:
            session = await it.agent.new_session(str(tmp_path))
            await until(lambda: len(it.told("spare.released")) == 3)
            started = len(it.starts())
            await session.prompt("say hello")
            await until(lambda: len(it.starts()) == started + 3)


async def test_a_session_whose_opening_is_cancelled_leaves_nothing_open(tmp_path: Path) -> None:
    hangs = command(tmp_path, hangs={"session/new": [1], "session/resume": [1]})
    with anyio.fail_after(20):
        async with launch(hangs, Client(), cwd=str(tmp_path), limits=QUICK) as connector:
            before = len(os.listdir("/proc/self/fd"))
            with anyio.move_on_after(0.2):
                await connector.new_session(str(tmp_path))
            with anyio.move_on_after(0.2):
                await connector.resume_session("s", str(tmp_path))
            assert len(os.listdir("/proc/self/fd")) == before


async def test_sessions_that_were_closed_are_not_kept(tmp_path: Path) -> None:
    store = MemoryStore()
    with anyio.fail_after(20):
        async with launch(command(tmp_path), Client(), cwd=str(tmp_path), limits=QUICK, store=store) as connector:
            for _ in range(5):
                session = await connector.new_session(str(tmp_path))
                await session.prompt("say one")
                await session.close()
            assert connector.sessions == {}
            assert [entry["type"] for _, entry in session.record.read()][-1] == "ended"
            assert await store.names() == []


async def test_a_sign_in_that_is_asked_for_at_the_first_prompt_costs_no_system_prompt(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text('=== turn\nerror {"code": -32000, "message": "Sign in"}\n=== turn repeat\nsay: $prompt\n')
    row = testing.mock_agent("qwen", script)
    with anyio.fail_after(20):
        async with launch(row, Client(), cwd=str(tmp_path), limits=QUICK, system_prompt="Be brief.") as connector:
            session = await connector.new_session(str(tmp_path))
            with pytest.raises(SignInNeeded):
                await session.prompt("first")
            assert (await session.prompt("second")).text == "Be brief.\nsecond"


async def test_one_conversation_of_a_supervised_agent_leaves_its_restart_to_the_supervisor(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path, restarts=Restarts(delay=0.2, stable=100)) as it:
            connector = it.agent.connector
            await it.agent.reached("ready")
            assert await connector.execute("say one") == "one"
            for number in (2, 3):
                it.kill()
                await it.agent.reached("backoff")
                assert await connector.execute(f"say {number}") == str(number)
                assert len(it.starts()) == number
            await it.agent.stop()
            it.agent.start()
            assert await connector.execute("say again") == "again"
