"""A14: whatever prints inside the agent, stdout carries messages only."""

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import agent, script

POLLUTED = Path(__file__).parents[2] / "fixtures" / "agents" / "polluted.py"
ECHO = "=== turn repeat\nsay: $prompt\n"


@pytest.mark.faults("A14")
async def test_what_prints_in_the_agent_stays_off_the_wire(tmp_path: Path, record: Any, count: Any) -> None:
    lines = count(10_000, 500)
    argv = (sys.executable, str(POLLUTED), str(lines))
    said = " ".join(f"word{number}" for number in range(200))
    async with agent(tmp_path, *script(tmp_path, ECHO), argv=argv, within=60) as client:
        session_id = await client.new_session()
        turns = 0
        while not turns or "pollution is over" not in client.log_text():
            assert (await client.prompt(session_id, said)).text == said
            turns += 1
        # Whatever is no JSON object has ended up here, and would have failed the test long before.
        broken = len(client.faults)
        polluted = client.log_text()
    arrived = sum(
        polluted.count(what) for what in ("a child's line ", "UserWarning: a warning ", "printed ", "written ")
    )
    measured = f"{broken} non-JSON lines in {len(client.received)}, {arrived} of {lines} on stderr, {turns} turns"
    record(
        "A14",
        "0 non-JSON lines on stdout while 10,000 are printed",
        measured,
        broken == 0 and turns > 0 and arrived >= lines * 0.99,
    )
