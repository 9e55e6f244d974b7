"""D1: the agent is killed at any moment of a turn; another process takes the session up, and nothing seen is lost."""

import os
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ars_acp.models.script import Script
from fixtures.model_server import ModelServer, model_server
from tests.support.hands import NEVER, Hands
from tests.support.process import agent
from tests.support.servers import OWN

Json = dict[str, Any]
FIRST = " ".join(f"a{number}" for number in range(150))
SECOND = " ".join(f"b{number}" for number in range(150))
# The turn goes on until it is killed, however slow the test is.
WHOLE = FIRST + SECOND
SCRIPT = f"""
=== turn
pace 0.0005
say: {FIRST}
call run_command {{"argv": ["make"]}}
--- step
say: {SECOND}
wait 60
=== turn repeat
say: I go on
"""
NOTE = "the agent's process ended"


@pytest.fixture(params=["jsonl", *OWN])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a store; servers are this test's own."""
    with ExitStack() as stack:
        if request.param == "jsonl":
            yield f"jsonl:{tmp_path}/sessions"
        else:
            yield stack.enter_context(OWN[request.param]()).url


@pytest.fixture
async def models() -> AsyncIterator[ModelServer]:
    async with model_server(Script.parse(SCRIPT)) as server:
        yield server


@dataclass
class Killed:
    """What a client had seen of a session when its agent was killed."""

    session_id: str
    seen: list[Json]
    begun: list[Json]  # commands that its hands were given

    @property
    def text(self) -> str:
        return text_of(self.seen)

    @property
    def number(self) -> int:
        return max((int(params["_meta"]["ars/seq"]) for params in self.seen), default=0)


def text_of(updates: list[Json]) -> str:
    chunks = [it["update"] for it in updates if it["update"]["sessionUpdate"] == "agent_message_chunk"]
    return "".join(chunk["content"]["text"] for chunk in chunks)


async def killed(directory: Path, env: dict[str, str], moment: random.Random) -> Killed:
    """Kills the agent in the middle of a turn: at some update, or while its command runs."""
    in_command = moment.random() < 0.2
    hands = Hands(**({"terminal_wait_for_exit": lambda params: NEVER} if in_command else {}))
    async with agent(directory, env=env, hands=hands) as client:
        session_id = await client.new_session()
        turn = client.begin_turn(session_id, "go")
        shown = moment.randrange(1, 300)
        if in_command:
            await client.until(lambda: hands.times("terminal/wait_for_exit"), within=20)
        else:
            await client.until(lambda: len(turn.updates) >= shown, within=20)
        os.kill(client.pid, signal.SIGKILL)
        await client.finish()
        assert not turn.over, "it was in the middle"
        return Killed(session_id, list(client.updates), hands.executed)


async def taken_up(directory: Path, env: dict[str, str], models: ModelServer, left: Killed, method: str) -> list[str]:
    """What is wrong with that session in the next process, opened with `method`."""
    hands = Hands()
    async with agent(directory, env=env, hands=hands) as client:
        place = {"sessionId": left.session_id, "cwd": "/project", "mcpServers": []}
        await client.request(method, place, within=20)
        known, after = (left.text, left.number) if method == "session/resume" else ("", 0)
        loaded = list(client.updates)
        if method == "session/resume":
            asked = {"sessionId": left.session_id, "after": after}
            loaded = (await client.request("_ars/session/replay", asked))["updates"]
        await client.until(lambda: any(it["update"].get("title", "").endswith(NOTE) for it in client.updates))
        text = known + text_of(loaded)
        turn = await client.prompt(left.session_id, "and now?", within=20)
        told = str(models.chats()[-1].body["messages"])
        calls: dict[str, Json] = {}
        for params in left.seen + loaded:
            if call_id := params["update"].get("toolCallId"):
                calls.setdefault(call_id, {}).update(params["update"])
        faults = {
            "lost": not text.startswith(left.text),
            "doubled": not WHOLE.startswith(text),
            "numbers twice": any(params["_meta"]["ars/seq"] <= after for params in loaded),
            "not told": NOTE not in told and text != WHOLE,
            "an open call": any(call["status"] not in ("completed", "failed") for call in calls.values()),
            "run again": len(left.begun) + len(hands.executed) > 1,
            "outcome not marked": bool(left.begun) and not ("done" in told or "outcome is unknown" in told),
            "no next turn": (turn.stop, turn.text) != ("end_turn", "I go on"),
        }
    return [name for name, found in faults.items() if found]


@pytest.mark.faults("D1")
async def test_an_agent_killed_at_any_moment_loses_nothing_and_repeats_nothing(
    tmp_path: Path, store: str, models: ModelServer, record: Any, count: Any
) -> None:
    kills = count(100, 6)
    env = {"OPENAI_BASE_URL": models.base_url, "OPENAI_MODEL": "m", "ARS_MODE": "full", "ARS_STORE": store}
    scheme = store.partition(":")[0]
    wrong: list[tuple[int, list[str]]] = []
    in_command, seconds = 0, []
    for kill in range(kills):
        left = await killed(tmp_path, env, random.Random(f"{scheme} {kill}"))
        in_command += bool(left.begun)
        began = time.monotonic()
        method = ("session/load", "session/resume")[kill % 2]
        faults = await taken_up(tmp_path, env, models, left, method)
        seconds.append(time.monotonic() - began)
        if faults:
            wrong.append((kill, faults))
    measured = (
        f"{kills - len(wrong)}/{kills} recovered {wrong[:3] or ''}, {in_command} with a command begun; "
        f"taken up, with a turn and the end, in {sorted(seconds)[len(seconds) // 2]:.2f} s"
    )
    record(
        f"D1 {scheme}",
        "SIGKILL at any moment: 0 lost, 0 doubled, outcomes marked, nothing run again, the model told",
        measured,
        not wrong,
    )
