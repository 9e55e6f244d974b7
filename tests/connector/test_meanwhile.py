"""What comes in the middle of something else: of a recovery, of draining, of opening a session, of changing spares."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from connector import Client, Restarts, Supervised, Supervisor, launch, testing
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
