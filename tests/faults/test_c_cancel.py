"""C4: cancel at any moment of a turn, twice, for nobody, and with a prompt right behind it."""

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.hands import Hands
from tests.support.process import Client, agent, script

# Half a second and more, with a wait of every kind in it.
EVERYTHING = """=== turn if "go"
pace 0.015
think: I have to look at this first.
call read_file {"path": "a.txt"}
call read_file {"path": "b.txt"}
--- step
pace 0.015
say: Now I ask.
call write_file {"path": "a.txt", "content": "x"}
--- step
call run_command {"argv": ["make"]}
--- step
retry 0.05 "busy"
pace 0.015
say: And this is the end of it, with a few words more than one would need.
=== turn if "next"
say: Next is here.
"""
NEXT = "Next is here."
WORKERS = 8


class Slow(Hands):
    """Answers everything, after a while."""

    def answer(self, method: str, params: Any) -> Any:
        async def later() -> Any:
            with anyio.move_on_after(0.03):
                await anyio.sleep_forever()
            return result

        result = super().answer(method, params)
        return later()


async def cancelled_after(client: Client, delay: float) -> str:
    """Cancels a turn after `delay` seconds, twice 40 ms apart when that is odd, and goes on; says what went wrong."""
    session_id = await client.new_session()
    running = client.begin_turn(session_id, "go")
    with anyio.move_on_after(delay):
        await client.answer(running.request_id)
    began = anyio.current_time()
    client.cancel(session_id)
    turn = await running.end()
    took = anyio.current_time() - began
    if round(delay * 1000) % 2:
        await client.nothing_for(max(0, 0.04 - took))
        client.cancel(session_id)
    following = client.begin_turn(session_id, "next")
    after = await following.end()
    # Whatever came after the answer to the cancelled prompt would be here too.
    shown = client.updates[client.answers[int, running.request_id].updates :]
    late = [it["update"] for it in shown if it["sessionId"] == session_id]
    late = [update for update in late if update["sessionUpdate"] != "session_info_update"]  # the next turn's title
    begun = {update["toolCallId"] for update in turn.updates if update["sessionUpdate"] == "tool_call"}
    ended = {update["toolCallId"] for update in turn.results}
    if turn.stop != "cancelled":
        return f"{turn.answer}"
    if took >= 1:
        return f"took {took:.2f} s"
    texts = [it["content"]["text"] for it in late if it["sessionUpdate"] == "agent_message_chunk"]
    if after.stop != "end_turn" or after.text != NEXT or "".join(texts) != NEXT or len(texts) != len(late):
        return f"then {after.stop} {after.text!r}, late: {json.dumps(late)[:300]}"
    return f"open tool calls: {begun - ended}" if begun != ended else ""


@pytest.mark.faults("C4")
async def test_a_cancel_at_any_moment_ends_the_turn_and_only_that(tmp_path: Path, record: Any, count: Any) -> None:
    delays = range(0, 500, count(1, 20))
    told: dict[int, str] = {}
    took: list[float] = []
    env = {"ARS_MODE": "ask"}
    async with agent(tmp_path, *script(tmp_path, EVERYTHING), env=env, hands=Slow(), within=180) as client:
        client.hands.files = {"/project/a.txt": "a\n", "/project/b.txt": "b\n"}

        async def work(first: int) -> None:
            for delay in delays[first::WORKERS]:
                began = anyio.current_time()
                told[delay] = await cancelled_after(client, delay / 1000)
                took.append(anyio.current_time() - began)

        async with anyio.create_task_group() as tasks:
            for first in range(WORKERS):
                tasks.start_soon(work, first)
        failures = len(client.logged("handler.failed")) + len(client.logged("agent.failed"))
    wrong = {delay: why for delay, why in told.items() if why}
    measured = f"{len(told) - len(wrong)}/{len(delays)} {dict(list(wrong.items())[:2])}, {failures} failures logged"
    record(
        "C4",
        "500/500 one `cancelled` each in < 1 s, next turn clean, 0 late updates",
        measured,
        not wrong and not failures,
    )


@pytest.mark.faults("C4 others")
async def test_a_cancel_for_nobody_or_with_a_prompt_behind_it_does_no_harm(
    tmp_path: Path, record: Any, count: Any
) -> None:
    times, right = count(100, 10), []

    async def one(client: Client, number: int) -> bool:
        session_id, other = await client.new_session(), await client.new_session()
        # Neither a session that nobody knows, nor an idle one, nor another's turn.
        client.cancel(f"sess_{number}")
        client.cancel(other)
        undisturbed = client.begin_turn(other, "go")
        running = client.begin_turn(session_id, "go")
        await running.shows("agent_thought_chunk")
        client.cancel(session_id)
        following = client.begin_turn(session_id, "next")
        turns = [await turn.end() for turn in (running, following, undisturbed)]
        right = [turn.stop for turn in turns] == ["cancelled", "end_turn", "end_turn"]
        return right and turns[1].text == NEXT and turns[2].text.endswith("than one would need.")

    async with agent(tmp_path, *script(tmp_path, EVERYTHING), hands=Slow(), within=120) as client:
        client.hands.files = {"/project/a.txt": "a\n", "/project/b.txt": "b\n"}

        async def work(first: int) -> None:
            right.extend([await one(client, number) for number in range(first, times, WORKERS)])

        async with anyio.create_task_group() as tasks:
            for first in range(WORKERS):
                tasks.start_soon(work, first)
    promised = "100/100: unknown, idle and other sessions; a prompt 0 ms after the cancel"
    record("C4 others", promised, f"{sum(right)}/{times}", right == [True] * times)
