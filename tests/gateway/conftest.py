"""A gateway for every test that asks for one."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.host import TOKEN, Running, Start, Told, starter

__all__ = ["TOKEN", "Running", "Start", "Told"]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """`start(limits=…, methods=…, port=…)`: a gateway with other settings, limits or further methods."""
    return starter(tmp_path / "state")


@pytest.fixture
async def running(start: Start) -> AsyncIterator[Running]:
    """A gateway as it comes. In a task of its own: what opens a task group has to close it, and a fixture may not."""
    ready: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def host() -> None:
        async with start() as one:
            ready.set_result(one)
            await over.wait()

    hosting = asyncio.ensure_future(host())
    await asyncio.wait([hosting, ready], return_when=asyncio.FIRST_COMPLETED)
    if hosting.done():
        hosting.result()
    yield ready.result()
    over.set()
    await hosting
