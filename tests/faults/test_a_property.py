"""A16: any bytes whatever, and then a valid request that must be answered."""

import time
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from tests.support.noise import bombard
from tests.support.process import Client, agent, script


async def answered(client: Client, data: bytes, number: int) -> float:
    """Seconds that a valid request takes after these bytes."""
    client.write(data + b"\n")
    request = {"jsonrpc": "2.0", "id": f"valid-{number}", "method": "initialize", "params": {"protocolVersion": 1}}
    began = time.monotonic()
    client.send(request)
    await client.answer(f"valid-{number}", within=20)
    client.settle()
    return time.monotonic() - began


@pytest.mark.faults("A16")
def test_after_any_bytes_a_valid_request_is_answered(tmp_path: Path, record: Any, count: Any, at_most: Any) -> None:
    examples = count(20_000, 300)
    play = script(tmp_path, "=== turn repeat\nsay: yes\n")
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(agent(tmp_path, *play, within=600)) as client,
    ):
        client.lenient = True
        took = bombard(examples, lambda data, number: portal.call(answered, client, data, number))
        alive = client.ended is None
        exceptions = len(client.logged("handler.failed"))
    measured = f"{not alive:d} exits in {len(took)}, slowest {max(took) * 1000:.0f} ms, {exceptions} exceptions logged"
    held = alive and len(took) >= examples * 0.9 and max(took) <= at_most(1) and exceptions == 0
    record("A16", "0 crashes in 20,000 byte sequences, 0 hangs > 1 s", measured, held)
