"""The index while another program holds its file: nobody waits for that but who needs it, and nothing is lost."""

import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from ars_gateway.index import Index, open_index
from ars_gateway.sessions.ledger import Ledger
from tests.gateway.client import Refusal
from tests.gateway.conftest import Running, Start
from tests.gateway.http.asking import asking
from tests.gateway.talking import heard, last, mock, send
from tests.gateway.test_ledger import entry
from tests.support.waiting import until

# More than a machine that is busy with tests takes for one answer, less than a file is waited for with patience.
STALLED = 1.8
HOLDS = """import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN IMMEDIATE")
print(flush=True)
sys.stdin.read()"""


@asynccontextmanager
async def held(path: Path) -> AsyncIterator[None]:
    """The file as it is while another process writes into it."""
    async with await anyio.open_process([sys.executable, "-S", "-c", HOLDS, str(path)], stderr=None) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with anyio.fail_after(20):
            await process.stdout.receive()
        yield
        await process.stdin.aclose()
        await process.wait()


@asynccontextmanager
async def answering(running: Running) -> AsyncIterator[list[float]]:
    """How long /healthz takes, asked one time after the other."""
    took: list[float] = []

    async def ask() -> None:
        async with asking(running) as client:
            while True:
                asked = time.monotonic()
                assert (await client.get("/healthz")).status_code == 200
                took.append(time.monotonic() - asked)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await until(lambda: len(took) > 0)
        yield took
        tasks.cancel_scope.cancel()


async def twenty_more(took: list[float]) -> None:
    before = len(took)
    await until(lambda: len(took) >= before + 20)


def kept(running: Running, query: str) -> list[Any]:
    """What another program reads in the file."""
    other = sqlite3.connect(running.gateway.settings.index_path)
    try:
        return other.execute(query).fetchall()
    finally:
        other.close()


async def test_a_run_that_goes_on_ends_and_is_written_when_the_file_is_free(start: Start, tmp_path: Path):
    agent = mock(tmp_path, "=== turn\nsay: hello\nusage 7 0.5\nwait 60\n")
    async with start(agent=agent) as running, running.client() as client:
        path = running.gateway.settings.index_path
        await send(client, "first")
        await client.until(lambda: client.named("chat"))
        async with answering(running) as took:
            async with held(path):
                assert (await client.request("chat.abort", {"sessionKey": "main", "runId": "first"}))["aborted"]
                await last(client, "first", "aborted")
                assert (await client.request("sessions.patch", {"key": "main", "label": "Held"}))["ok"]
                assert (await send(client, "first"))["status"] != "started"
                assert kept(running, "SELECT state FROM runs") == [("open",)]
                busy = running.log.named("index.busy")
                await twenty_more(took)
            await until(lambda: bool(running.log.named("index.caught_up")))
        assert max(took) < STALLED
        assert kept(running, "SELECT id, state FROM runs") == [("first", "aborted")]
        ((facts,),) = kept(running, "SELECT facts FROM sessions")
        assert b'"label":"Held"' in facts
        assert len(busy) == len(running.log.named("index.busy")) == 1


async def test_a_run_that_begins_meanwhile_does_nothing_before_it_is_in_the_ledger(start: Start, tmp_path: Path):
    agent = mock(tmp_path, "=== turn repeat\nsay: hello\n")
    async with start(agent=agent) as running, running.client() as client, answering(running) as took:
        await send(client, "k0", "so that its agent is there")
        await last(client, "k0")
        async with held(running.gateway.settings.index_path):
            for _ in range(2):
                await send(client, "k1", "one")
            await send(client, "k2", "two")
            with pytest.raises(Refusal):
                await send(client, "k1", "another body")
            await twenty_more(took)
            assert kept(running, "SELECT id, state FROM runs") == [("k0", "ok")]
            assert len(heard(tmp_path)) == 1
        for run in ("k1", "k2"):
            await last(client, run)
        assert ["two" in line for line in heard(tmp_path)] == [False, False, True]
        assert kept(running, "SELECT state FROM runs") == [("ok",)] * 3
        assert max(took) < STALLED


async def test_the_gateway_takes_prompts_while_the_file_is_held_for_a_moment(running: Running):
    async with asking(running) as client, anyio.create_task_group() as tasks:
        found = []

        async def ready() -> None:
            found.append((await client.get("/readyz")).status_code)

        async with held(running.gateway.settings.index_path):
            tasks.start_soon(ready)
            await until(lambda: bool(running.log.named("index.busy")))
            assert found == []
        await until(lambda: bool(found))
        assert found == [200]


@pytest.mark.parametrize("entered", [False, True])
async def test_a_run_is_settled_once_also_while_nothing_can_be_written(tmp_path: Path, entered: bool):
    index = open_index(tmp_path / "index", [])
    index.execute("PRAGMA busy_timeout=1")
    ledger = Ledger(index)
    one, late = entry(), entry()
    if entered:
        assert ledger.enter(one) is None
    async with held(tmp_path / "index"):
        if not entered:
            assert ledger.enter(one) is None
        one.state, late.state = "ok", "error"
        assert [ledger.settle(one), ledger.settle(late)] == [True, False]
        assert ledger.find("owner", "r1") is one
    index.finish()
    again = Ledger(open_index(tmp_path / "index", [])).find("owner", "r1")
    assert again is not None
    assert again.state == "ok"


async def test_what_the_file_refuses_for_another_reason_is_told_and_holds_up_nothing_behind_it(tmp_path: Path):
    index = open_index(tmp_path / "index", ["CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY)"])
    index.execute("PRAGMA busy_timeout=1")
    told = []
    index.tell = lambda event, **fields: told.append(event)
    async with anyio.create_task_group() as tasks:
        async with held(tmp_path / "index"):
            _, twice, behind = [index.write(("INSERT INTO t VALUES (?)", (n,))) for n in (1, 1, 2)]
            tasks.start_soon(index.keep_up)
            assert written(index) == []
        with anyio.fail_after(20):
            await behind.wait()
        tasks.cancel_scope.cancel()
    with pytest.raises(sqlite3.IntegrityError):
        await twice.wait()
    assert written(index) == [1, 2]
    assert told == ["index.busy", "index.not_written", "index.caught_up"]


def written(index: Index) -> list[int]:
    return [n for (n,) in index.execute("SELECT n FROM t ORDER BY n")]
