"""The application that runs a crew is killed at each thing that happens in it, and started again."""

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from connector.crew import open_crew
from connector.crew.crew import log_name
from connector.crew.given import AGAIN
from connector.stored import keeping
from tests.connector.crew.runner import ROUNDS, mocks, work
from tests.faults.conftest import Record

pytestmark = [pytest.mark.faults, pytest.mark.e2e]
ROOT = Path(__file__).parents[2]
THINGS = 54  # so many happen in the whole of it, a few more or less


def run(place: Path, last: int) -> subprocess.CompletedProcess[str]:
    place.mkdir()
    argv = [sys.executable, "-m", "tests.connector.crew.runner", str(place), str(last)]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


async def finish(place: Path) -> list[str]:
    """Opens the crew again and does the rest of its work. What is wrong afterwards, a line each."""
    crew_mocks = mocks(place)
    async with keeping(f"jsonl:{place}/store") as store, crew_mocks.agents(store) as agents:
        async with open_crew(agents, store, "chat", crew_mocks.roles, cwd=str(place)) as crew:
            await work(crew)
            messages, asks = crew.log(), crew.conversation.asks
        entries = [entry for _, entry in (await store.open(log_name("chat", str(place)))).read()]
    wrong = [f"left open: {ask}" for ask in asks.values()]
    said = Counter(message.text for message in messages if not message.by)
    if said != Counter([*ROUNDS]):
        wrong.append(f"the person said {said}")
    shown = {entry["ask"]: entry["shown"] for entry in entries if entry["type"] == "asked"}
    ended = {entry["ask"]: entry for entry in entries if entry["type"] in ("replied", "failed")}
    for role in crew_mocks.scripts:
        mine = [end for end in ended.values() if end["role"] == role]
        given = Counter(index for end in mine if end.get("seen", True) for index in shown[end["ask"]])
        last = max(end["ask"] for end in mine if end["type"] == "replied")
        meant = [message.index for message in messages if message.by != role and message.index <= max(shown[last])]
        wrong += [f"{role} was given {index} {given[index]} times" for index in meant if given[index] != 1]
        prompts = crew_mocks.heard(role)
        heard = Counter(line for prompt in prompts for line in prompt.splitlines())
        unwarned = Counter(line for prompt in prompts if AGAIN not in prompt for line in prompt.splitlines())
        wrong += [f"{role} was told {count} times: {line}" for line, count in unwarned.items() if line and count > 1]
        kept = {index for end in mine if end["type"] == "replied" for index in shown[end["ask"]]}
        lines = {message.index: f"Assistant ({message.by}): " if message.by else "User: " for message in messages}
        told = [f"{lines[index]}{messages[index].text}" for index in sorted(kept)]
        wrong += [f"{role} does not remember {line}" for line in told if line not in heard]
    return wrong


async def test_a_crew_whose_process_is_killed_anywhere_goes_on_where_it_was(
    tmp_path: Path, record: Record, count: Callable[[int, int], int]
) -> None:
    """Counted for each kill: what was said twice to a role, what was lost, what was left open."""
    kills = count(THINGS - 3, 3)
    killed, wrong = 0, list[str]()
    for number in range(kills):
        last = 3 + number * (THINGS - 4) // max(kills - 1, 1)
        place = tmp_path / str(last)
        ran = await anyio.to_thread.run_sync(run, place, last)
        killed += ran.returncode == -signal.SIGKILL
        with anyio.fail_after(60):
            wrong += [f"killed at {last}: {line}" for line in await finish(place)]
    measured = f"{killed} of {kills} killed, {len(wrong)} messages lost, or said twice without a word {wrong[:3] or ''}"
    record(
        "D2 crew",
        "killed anywhere: 0 messages lost, 0 said twice to a role",
        measured,
        not wrong and killed >= kills - 2,
    )
