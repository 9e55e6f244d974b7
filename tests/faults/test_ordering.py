"""C12: the order of updates for a client that reads slowly, answers late and cancels at random."""

import random
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.hands import Hands
from tests.support.process import Client, Json, Turn, agent, script, stored

WORDS = 250
FIRST, SECOND = (" ".join(f"{part}{number}" for number in range(WORDS)) for part in "ab")
TURN = f"""=== turn repeat
say: {FIRST}
call read_file {{"path": "a.txt"}}
call read_file {{"path": "b.txt"}}
--- step
pace 0.0002
think: Hm.
say: {SECOND}
"""
WHOLE = FIRST + SECOND


class Late(Hands):
    """Answers everything, after a while that differs."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance

    def answer(self, method: str, params: Any) -> Any:
        async def later() -> Any:
            with anyio.move_on_after(self._chance.random() * 0.03):
                await anyio.sleep_forever()
            return result

        result = {"content": "x\n"} if method == "fs/read_text_file" else super().answer(method, params)
        return later()


async def reads_slowly(client: Client, chance: random.Random) -> None:
    """Reads and rests in turn, until cancelled."""
    try:
        while True:
            client.pause()
            await client.nothing_for(chance.random() * 0.03)
            client.resume()
            await client.nothing_for(chance.random() * 0.01)
    finally:
        client.resume()


async def one_turn(client: Client, session_id: str, chance: random.Random) -> Turn:
    """A turn, every other one of which is cancelled at some moment."""
    running = client.begin_turn(session_id, "go")
    if chance.random() < 0.5:
        await client.nothing_for(chance.random() * 0.25)
        client.cancel(session_id)
    return await running.end(30)


def lost_or_reordered(turns: list[Turn], params: list[Json], entries: list[Json]) -> list[str]:
    """What is wrong with the updates of one session, by its turns and by its log."""
    wrong = [f"turn {at} shows {it.text[-40:]!r}" for at, it in enumerate(turns) if not WHOLE.startswith(it.text)]
    wrong += [f"turn {at} lacks its end" for at, it in enumerate(turns) if it.stop == "end_turn" and it.text != WHOLE]
    previous = next(it["_meta"]["ars/prev"] for it in params if "_meta" in it)
    for it in params:
        meta = it.get("_meta", {})
        if "ars/seq" not in meta:
            continue
        if meta["ars/prev"] != previous or meta["ars/seq"] <= previous:
            wrong.append(f"after {previous} came {meta}")
        previous = meta["ars/seq"]
    for kind, update in (("text", "agent_message_chunk"), ("thought", "agent_thought_chunk")):
        kept = "".join(it["text"] for it in entries if it["type"] == kind)
        shown = "".join(it["update"]["content"]["text"] for it in params if it["update"]["sessionUpdate"] == update)
        if kept != shown:
            wrong.append(f"{len(kept)} characters of {kind} are in the log, {len(shown)} were shown")
    return wrong


@pytest.mark.faults("C12")
async def test_updates_keep_their_order_whatever_the_client_does(tmp_path: Path, record: Any, count: Any) -> None:
    updates, chance = count(10_000, 500), random.Random(7)
    turns: list[Turn] = []
    shown = late = 0
    async with agent(tmp_path, *script(tmp_path, TURN), hands=Late(chance), within=170) as client:
        session_id = await client.new_session()
        await client.request("session/list", {})
        before = len(client.updates)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reads_slowly, client, chance)
            while shown < updates or {it.stop for it in turns} != {"cancelled", "end_turn"}:
                turns.append(await one_turn(client, session_id, chance))
                shown += len(turns[-1].updates)
                # Whatever came between this answer and the next prompt.
                await client.request("session/list", {})
                late += len(client.updates) - before - shown
            tasks.cancel_scope.cancel()
        params = client.updates[before:]
    wrong = lost_or_reordered(turns, params, stored(tmp_path, session_id))
    stops = [it.stop for it in turns]
    measured = (
        f"{len(params):,} updates in {len(turns)} turns, {stops.count('cancelled')} cancelled: {len(wrong)} lost or "
        f"reordered, {late} late {wrong[:2]}"
    )
    record("C12", "10,000 updates: none lost, none reordered, none after the answer", measured, not wrong and not late)
