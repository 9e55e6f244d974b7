"""C6-C8: a client that goes away in the middle, stops reading for a while, or closes one direction only."""

import time
from pathlib import Path
from typing import Any

import pytest

from fixtures.model_modes import tokens
from fixtures.model_server import ModelServer
from tests.support.hands import NEVER, Hands
from tests.support.process import Client, agent, script, stored
from tests.support.waiting import until

MIB = 1 << 20
TALKING = "=== turn repeat\npace 0.002\nsay:\n  " + " ".join(f"word{number}" for number in range(5000)) + "\n"
RUNNING = '=== turn repeat\nsay: Now it runs.\ncall run_command {"argv": ["make"]}\n--- step\nsay: Never.\n'
GONE_IN_A_TURN = 3


async def die(client: Client, how: str) -> tuple[float, float]:
    """Closes what the client closes; seconds and CPU seconds until the process has ended."""
    began, cpu = time.monotonic(), client.cpu()
    if how != "stdin":
        client.close_stdout()
    if how != "stdout":
        client.close_stdin()
    ended = await client.gone()
    return ended.at - began, ended.cpu - cpu


def kept(directory: Path, session_id: str, shown: str) -> bool:
    """Whether the store has at least what was shown, and a proper end of the turn."""
    entries = stored(directory, session_id)
    text = "".join(entry["text"] for entry in entries if entry["type"] == "text")
    ends = [entry["type"] for entry in entries if entry["type"] in ("interrupted", "result", "turn")]
    return (
        text.startswith(shown)
        and len(ends) == 2
        and entries[-1]["type"] == "turn"
        and entries[-1]["stop"] == "cancelled"
    )


async def dies_in_mid_turn(directory: Path, how: str, doing: str) -> tuple[float, float, bool]:
    """One client's death; seconds and CPU until the agent's end, and whether everything was left in order."""
    directory.mkdir()
    hands = Hands(terminal_wait_for_exit=lambda params: NEVER)
    play = script(directory, TALKING if doing == "talking" else RUNNING)
    async with agent(directory, *play, "--mode", "full", hands=hands) as client:
        session_id = await client.new_session()
        running = client.begin_turn(session_id, "go")
        await running.shows("agent_message_chunk")
        if doing == "running":
            await client.until(lambda: hands.times("terminal/wait_for_exit"))
        shown = "".join(update["content"]["text"] for update in running.updates if "messageId" in update)
        seconds, cpu = await die(client, how)
        ended = client.ended
        if how == "stdin":
            await client.finish()
    released = how != "stdin" or doing != "running" or hands.times("terminal/release") == 1
    orderly = ended is not None and ended.code == GONE_IN_A_TURN and released and kept(directory, session_id, shown)
    return seconds, cpu, orderly


@pytest.mark.faults("C6")
async def test_an_agent_whose_client_dies_ends_in_order(tmp_path: Path, record: Any, count: Any, at_most: Any) -> None:
    cases = [(how, doing) for how in ("stdin", "stdout", "both") for doing in ("talking", "running")]
    found: list[tuple[float, float, bool]] = []
    for number in range(count(100, 6)):
        how, doing = cases[number % len(cases)]
        found.append(await dies_in_mid_turn(tmp_path / str(number), how, doing))
    seconds, cpu, orderly = (list(column) for column in zip(*found, strict=True))
    measured = f"{sum(orderly)}/{len(found)} in order, exit <= {max(seconds):.2f} s, CPU after <= {max(cpu):.3f} s"
    held = all(orderly) and max(seconds) <= at_most(2) and max(cpu) <= at_most(0.1)
    record("C6", "exit <= 2 s; CPU <= 0.1 s after; partial kept, terminals released; 100/100", measured, held)


@pytest.mark.faults("C7")
async def test_a_client_that_stops_reading_costs_little_and_loses_nothing(
    chain: Any, models: ModelServer, record: Any, count: Any
) -> None:
    # More than the pipe and the agent together hold: the model has to wait.
    size, away = count(400_000, 20_000), count(5000, 300) / 1000
    # The wait is the client's fault: the model's idle limit has no part in it.
    async with chain(within=120, idle_seconds=away / 10) as client:
        session_id = await client.new_session()
        await client.prompt(session_id, "mode:ok2000")
        before = client.rss()
        client.reset_peak()
        client.pause()
        running = client.begin_turn(session_id, f"mode:ok{size}")
        await client.nothing_for(away)
        if size <= 100_000:
            await until(lambda: models.chats()[-1].complete, 20)
        waiting = not models.chats()[-1].complete
        cpu = client.cpu()
        await client.nothing_for(away / 5)
        cpu = client.cpu() - cpu
        rise = client.rss("VmHWM") - before
        client.resume()
        turn = await running.end(60)
    lost = len(tokens(size)) - len(turn.text)
    measured = f"RSS +{rise / MIB:.1f} MiB, model waiting: {waiting}, CPU {cpu:.3f} s, {lost} of {size} characters lost"
    held = rise <= 16 * MIB and turn.text == tokens(size) and waiting == (size > 100_000) and cpu < 0.1
    record("C7", "RSS +<= 16 MiB; model reading pauses; 0 lost after resume", measured, held)


@pytest.mark.faults("C8")
async def test_one_closed_direction_ends_the_connection(tmp_path: Path, record: Any, count: Any, at_most: Any) -> None:
    found, codes = [], []
    for number in range(count(20, 4)):
        how = ("stdin", "stdout")[number % 2]
        directory = tmp_path / str(number)
        directory.mkdir()
        async with agent(directory, *script(directory, TALKING)) as client:
            await client.new_session()
            seconds, _ = await die(client, how)
            found.append(seconds)
            codes.append(client.ended.code if client.ended else None)
    measured = f"exit <= {max(found):.2f} s, codes {sorted(set(codes))}"
    record("C8", "exit <= 2 s, stdin only or stdout only", measured, max(found) <= at_most(2) and set(codes) == {0})
