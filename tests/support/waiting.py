"""Waiting for what another task or process does, where nothing tells that it has been done."""

from collections.abc import Callable

import anyio


async def until(condition: Callable[[], bool], within: float = 20) -> None:
    """Returns when the condition holds, and fails the test when that takes longer than `within` seconds."""
    with anyio.fail_after(within):
        while not condition():
            with anyio.move_on_after(0.005):
                await anyio.sleep_forever()
