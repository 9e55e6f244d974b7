"""A disk that takes nothing more, and files that go: clients still come in and are told, and nothing hangs."""

from pathlib import Path

import pytest

from ars_gateway.observation.journal import Journal, tail
from tests.gateway.client import Device, Refusal
from tests.gateway.conftest import Running, Start
from tests.gateway.talking import last, mock, send


def full(running: Running, yes: bool = True) -> None:
    """From here on the index takes no write, or does again."""
    running.gateway.index.execute(f"PRAGMA query_only={'ON' if yes else 'OFF'}")


async def test_a_paired_device_comes_in_though_nothing_can_be_written(running: Running):
    device = Device()
    async with running.client(device=device) as client:
        token = client.hello["auth"]["deviceToken"]
    full(running)
    async with running.client(device=device, token=token) as client:
        assert client.hello["auth"]["deviceToken"] == token


@pytest.mark.parametrize("loaded", [True, False])
async def test_a_device_that_cannot_be_written_down_is_told_so_and_nobody_else_suffers(running: Running, loaded: bool):
    running.gateway.crypto_loaded = loaded
    async with running.client() as other:
        full(running)
        with pytest.raises(Refusal) as refused:
            async with running.client(device=Device()):
                pass
        assert refused.value.code == "UNAVAILABLE"
        assert await other.request("system-presence")
        full(running, False)
        async with running.client(device=Device()) as client:
            assert client.hello["auth"]["deviceToken"]


async def test_a_run_has_its_end_though_its_session_cannot_be_written(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, "=== turn repeat\nsay: hello\n")) as gateway, gateway.client() as client:
        await send(client, "first")
        await last(client, "first")
        rooms = gateway.gateway.talks.rooms
        save = rooms.save

        def refuse(room: object) -> None:
            full(gateway)
            try:
                save(room)  # type: ignore[arg-type]
            finally:
                full(gateway, False)

        rooms.save = refuse  # type: ignore[method-assign]
        assert (await send(client, "second"))["status"] == "started"
        await last(client, "second")
        assert gateway.log.named("run.not_written")
        assert (await client.request("agent.wait", {"runId": "second"}))["status"] == "ok"


async def test_the_end_of_a_run_that_cannot_be_written_is_told_all_the_same(start: Start, tmp_path: Path):
    agent = mock(tmp_path, "=== turn repeat\nsay: hello\nwait 0.2\n")
    async with start(agent=agent) as gateway, gateway.client() as client:
        await send(client, "first")
        full(gateway)
        await last(client, "first")
        assert (await client.request("agent.wait", {"runId": "first"}))["status"] == "ok"
        full(gateway, False)
        assert (await send(client, "first"))["status"] == "ok"


def test_a_journal_whose_directory_has_gone_writes_into_no_file_of_others(tmp_path: Path):
    journal = Journal(tmp_path / "log", segment_bytes=20)
    journal.write("x" * 15)
    (tmp_path / "log").rename(tmp_path / "elsewhere")
    for _ in range(2):
        with pytest.raises(OSError):
            journal.write("y" * 15)
        # Whoever opens a file now may get the number of the journal's.
        with open(tmp_path / "other", "w+") as other:
            with pytest.raises(OSError):
                journal.write("y" * 15)
            other.seek(0)
            assert other.read() == ""
    (tmp_path / "elsewhere").rename(tmp_path / "log")
    journal.write("z" * 15)
    assert tail(tmp_path / "log", None, 10, 1000).lines[-1] == "z" * 15
    journal.close()
