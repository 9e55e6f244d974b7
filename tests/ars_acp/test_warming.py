"""When an agent has been left alone for long enough."""

import anyio
import pytest

from ars_acp import warming
from ars_acp.log import open_log
from ars_acp.warming import Warming


async def test_it_is_quiet_when_no_request_has_come_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warming, "QUIET_SECONDS", 0.6)
    of_one = Warming(open_log("error", None))
    of_one.asked()
    ended = anyio.Event()

    async def wait() -> None:
        await of_one.quiet()
        ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        asking_until = anyio.current_time() + 0.9
        while anyio.current_time() < asking_until:
            of_one.asked()
            with anyio.move_on_after(0.01):
                await ended.wait()
            assert not ended.is_set()
        with anyio.fail_after(5):
            await ended.wait()
        assert anyio.current_time() >= asking_until + 0.5
        of_one.asked()
