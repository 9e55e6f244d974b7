"""Everybody at all doors at once: each run has one end, told alike to all who follow it, and nothing is left of it."""

import random
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from tests.gateway.conftest import Running, Start
from tests.gateway.crowd import Crowd, agents


def left(running: Running) -> dict[str, int]:
    """What there still is of what has ended."""
    gateway, talks = running.gateway, running.gateway.talks
    found = {
        "runs": len(talks.runs.live) + len(talks.ledger.left_open()),
        "questions": len(talks.approvals.pending) + len(talks.forms.pending),
        "calls": len(talks.hands._waiting),
        "asked": len(talks._asked),
        "followers": gateway.watching.count,
        "connections": len(gateway.hub.connections),
        "passing": sum(bool(room.facts.get("passing")) for room in talks.rooms.all()),
    }
    return {name: count for name, count in found.items() if count}


@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_a_crowd_does_each_run_has_one_end_that_all_are_told(start: Start, tmp_path: Path, seed: int):
    async with start(**agents(tmp_path)) as gateway:
        crowd = Crowd(gateway, random.Random(seed))
        with anyio.fail_after(120):
            await crowd.run()
            while left(gateway):
                await checkpoint()
        assert crowd.faults() == []
        assert [it for it in gateway.log.lines if it["level"] == "error"] == []
