"""A15: an agent that floods its stderr neither hangs nor slows its turns down."""

import sys
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from connector.client import Client
from connector.launching import launch
from connector.process import Command

FLOODED = Path(__file__).parents[2] / "fixtures" / "agents" / "flooded.py"
MIB = 1 << 20
RING = 64 << 10


@pytest.mark.faults("A15")
async def test_a_flood_on_stderr_does_not_slow_a_turn_down(tmp_path: Path, record: Any, count: Any) -> None:
    flood, seen, events = count(100 * MIB, 10 * MIB), [], []
    took = []
    command = Command("flooded", [sys.executable, "-S", str(FLOODED)])
    with anyio.fail_after(60):
        async with launch(
            command,
            Client(),
            cwd=str(tmp_path),
            on_stderr=lambda data: seen.append(len(data)),
            on_event=lambda name, fields: events.append(repr((name, fields))),
        ) as connector:
            session = await connector.new_session(str(tmp_path))
            for size in (0, flood, 0, flood):
                began = time.monotonic()
                turn = await session.prompt(str(size))
                took.append(time.monotonic() - began)
                assert turn.text.split() == [str(number) for number in range(100)]
            tail = len(connector._link.process.stderr_tail(10 * RING))
    change = min(took[1], took[3]) / max(took[0], took[2]) - 1
    told = sum(map(len, events))
    measured = f"{sum(seen) // MIB} MiB drained, turn {change:+.1%}, {tail} characters kept, {told} bytes of events"
    held = sum(seen) == 2 * flood and change < count(0.1, 5) and tail <= RING and told <= MIB
    record("A15", "100 MiB drained, turn latency change < 10 %, 64 KiB kept, log <= 1 MiB", measured, held)
