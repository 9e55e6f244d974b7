"""The closing of a session has an end, which whoever opens or deletes the same id waits for."""

import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from connector import Client, Connector, ConnectorError, Session, launch, testing
from event_log.stores.memory import MemoryStore
from tests.support.supervised import QUICK, command, mortal
from tests.support.waiting import until

OFFERS = ["close", "delete"]


@contextlib.asynccontextmanager
async def holding(home: Path, *methods: str, **more: Any) -> AsyncIterator[Connector]:
    """An agent that takes up those requests only when it is told to."""
    what = command(home, offers=OFFERS, holds={method: [1] for method in methods})
    with anyio.fail_after(20):
        async with launch(what, Client(), cwd=str(home), limits=QUICK, **more) as connector:
            yield connector


@contextlib.asynccontextmanager
async def meanwhile(home: Path, pid: int, *work: Callable[[], Awaitable[Any]]) -> AsyncIterator[None]:
    """All of it is begun, each when the one before has come as far as it can, and the agent does what it has held at
    the end of the block."""
    async with anyio.create_task_group() as tasks:
        for one in work:
            tasks.start_soon(one)
            await until((home / "held").exists, within=5)
            await anyio.wait_all_tasks_blocked()
        yield
        os.kill(pid, signal.SIGUSR1)


def closed(home: Path) -> list[str]:
    return (home / "closed").read_text().splitlines() if (home / "closed").exists() else []


async def test_a_session_that_is_being_closed_is_opened_again_when_that_has_come_to_its_end(tmp_path: Path) -> None:
    async with holding(tmp_path, "session/close") as connector:
        first = await connector.new_session(str(tmp_path))
        await first.prompt("say one")
        again: list[Session] = []

        async def resume() -> None:
            again.append(await connector.resume_session(first.id, str(tmp_path)))

        async with meanwhile(tmp_path, connector.pid, first.close, resume):
            assert not again
        assert (await again[0].prompt("hello")).text == "say one | hello"
        assert connector.sessions == {first.id: again[0]}


async def test_who_closes_a_session_that_is_being_closed_waits_for_the_same_end(tmp_path: Path) -> None:
    ends: list[str] = []
    async with holding(tmp_path, "session/close") as connector:
        session = await connector.new_session(str(tmp_path))

        async def close() -> None:
            await session.close()
            ends.append("closed")

        async with meanwhile(tmp_path, connector.pid, close, close):
            assert not ends
        assert ends == ["closed", "closed"]
        assert connector.sessions == connector.client._sessions == {}
        assert closed(tmp_path) == [f"session/close {session.id}"]


async def test_of_two_who_open_a_session_at_once_one_has_it(tmp_path: Path) -> None:
    outcomes: list[Any] = []
    async with holding(tmp_path, "session/resume") as connector:
        kept = await connector.new_session(str(tmp_path))
        await kept.prompt("say one")
        await kept.close()

        async def resume() -> None:
            try:
                outcomes.append(await connector.resume_session(kept.id, str(tmp_path)))
            except ConnectorError as why:
                outcomes.append(str(why))

        async with meanwhile(tmp_path, connector.pid, resume, resume):
            pass
        session, refused = outcomes
        assert refused == f"mortal: the session '{kept.id}' is open already"
        assert (await session.prompt("hello")).text == "say one | hello"


async def test_a_session_that_is_deleted_while_it_is_being_opened_is_closed_first(tmp_path: Path) -> None:
    async with holding(tmp_path, "session/resume") as connector:
        kept = await connector.new_session(str(tmp_path))
        await kept.prompt("say one")
        await kept.close()

        async def resume() -> None:
            await connector.resume_session(kept.id, str(tmp_path))

        async def delete() -> None:
            await connector.delete_session(kept.id)

        async with meanwhile(tmp_path, connector.pid, resume, delete):
            pass
        assert closed(tmp_path) == [f"session/{what} {kept.id}" for what in ("close", "close", "delete")]
        assert connector.sessions == connector.client._sessions == {}


async def test_a_session_that_is_closed_while_another_process_takes_it_up_is_closed_there_too(tmp_path: Path) -> None:
    told = {"offers": OFFERS, "holds": {"session/resume": [2]}}
    with anyio.fail_after(20):
        async with mortal(tmp_path, told=told) as it:
            session = await it.agent.new_session(str(tmp_path))
            await session.prompt("say one")
            it.kill()
            await until((tmp_path / "held").exists, within=5)
            await session.close()
            os.kill(it.starts()[1][0], signal.SIGUSR1)
            await it.agent.reached("ready")
            assert closed(tmp_path) == [f"session/close {session.id}"] * 2
            assert it.agent.connector.sessions == {}


async def test_two_who_reconnect_at_once_start_one_process(tmp_path: Path) -> None:
    async with holding(tmp_path) as connector:
        session = await connector.new_session(str(tmp_path))
        await session.prompt("say one")
        os.kill(connector.pid, signal.SIGKILL)
        await until(lambda: not connector.is_alive(), within=5)
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(connector.reconnect)
        assert len((tmp_path / "starts").read_text().splitlines()) == 2
        assert (await session.prompt("hello")).text == "say one | hello"


async def test_an_agent_that_gives_a_new_session_the_id_of_an_open_one_leaves_that_alone(tmp_path: Path) -> None:
    async with holding(tmp_path) as connector:
        one, two = [await connector.new_session(str(tmp_path)) for _ in range(2)]
        await one.close()
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(ConnectorError, match=f"the id of one that is open, '{two.id}'"):
            await connector.new_session(str(tmp_path))
        assert len(os.listdir("/proc/self/fd")) == before
        assert connector.sessions == {two.id: two}
        assert (await two.prompt("say two")).text == "two"


async def test_a_conversation_is_free_when_its_session_is_gone_though_nobody_waited_for_its_turn(
    tmp_path: Path,
) -> None:
    limits = replace(QUICK, cancel=0.2, late=0.0)
    hangs = command(tmp_path, offers=OFFERS, hangs={"session/cancel": [1], "session/close": [1]})
    with anyio.fail_after(20):
        async with launch(hangs, Client(), cwd=str(tmp_path), limits=limits, store=MemoryStore()) as connector:
            session = await connector.ensure("c", str(tmp_path))
            turn = session.start("wait")
            await until(lambda: session.running is not None, within=5)
            with anyio.move_on_after(0.01):
                await session.close()
            assert not session.gone.is_set()
            await session.gone.wait()
            assert turn.stop_reason == "cancelled"
            (await connector.open_record(str(tmp_path), "c")).close()


async def test_of_two_who_stop_an_agent_each_goes_on_though_it_is_started_again_at_once(tmp_path: Path) -> None:
    with anyio.fail_after(20):
        async with mortal(tmp_path) as it:
            await it.agent.reached("ready")

            async def again() -> None:
                await it.agent.stop()
                it.agent.start()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(again)
                tasks.start_soon(it.agent.stop)
            await it.agent.reached("ready")


async def test_what_was_said_after_a_session_was_closed_is_not_said_again_when_it_is_loaded(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("=== turn\nsay: one\nlate: two\n")
    row = testing.mock_agent("ars", script)
    with anyio.fail_after(20):
        async with launch(row, Client(), cwd=str(tmp_path), limits=QUICK) as connector:
            session = await connector.new_session(str(tmp_path))
            connector.client.take_out(session.id, session.hands)
            await session.prompt("go")
            await connector.list_sessions()
            await session.close()
            loaded = await connector.load_session(session.id, str(tmp_path))
            assert [turn.text for turn in loaded.turns] == ["one"]


@pytest.mark.parametrize("method", ["session/new", "session/resume"])
async def test_a_session_that_the_agent_opens_when_nobody_waits_for_it_any_more_is_closed(
    tmp_path: Path, method: str
) -> None:
    async with holding(tmp_path, method) as connector:
        (tmp_path / "sessions.json").write_text('{"s1-1": []}')
        async with anyio.create_task_group() as tasks:
            if method == "session/new":
                tasks.start_soon(connector.new_session, str(tmp_path))
            else:
                tasks.start_soon(connector.resume_session, "s1-1", str(tmp_path))
            await until((tmp_path / "held").exists)
            tasks.cancel_scope.cancel()
        os.kill(connector.pid, signal.SIGUSR1)
        await until(lambda: closed(tmp_path) == ["session/close s1-1"])
        assert connector.sessions == {}


async def test_a_session_that_somebody_else_has_opened_meanwhile_stays_open(tmp_path: Path) -> None:
    async with holding(tmp_path, "session/resume") as connector:
        (tmp_path / "sessions.json").write_text('{"s1-1": []}')
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as left:
                tasks.start_soon(cancelling, left, tmp_path)
                await connector.resume_session("s1-1", str(tmp_path))
            again: list[Session] = []

            async def resume() -> None:
                again.append(await connector.resume_session("s1-1", str(tmp_path)))

            tasks.start_soon(resume)
            await until(lambda: len((tmp_path / "held").read_text().splitlines()) == 2)
            os.kill(connector.pid, signal.SIGUSR1)
        assert (await again[0].prompt("hello")).text == "hello"
        assert not (tmp_path / "closed").exists()


async def cancelling(scope: anyio.CancelScope, home: Path) -> None:
    await until((home / "held").exists)
    scope.cancel()
