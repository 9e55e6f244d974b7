"""B12-B16: replies that cannot be carried out, end strangely, or are refused for their length."""

from typing import Any

import pytest

from fixtures.model_modes import BAD_ARGUMENTS
from fixtures.model_server import ModelServer
from tests.support.process import Client, Turn

FILES = {"/project/a.py": "a = 1\n", "/project/b.py": "b = 2\n"}


async def fresh(client: Client, mode: str, within: float = 20) -> Turn:
    """A turn in that mode, in a session of its own."""
    return await client.prompt(await client.new_session(), mode, within)


async def asked_for(client: Client, models: ModelServer, mode: str, within: float = 20) -> tuple[Turn, int]:
    """A turn in that mode, and how many requests it took."""
    before = len(models.chats())
    turn = await fresh(client, mode, within)
    return turn, len(models.chats()) - before


@pytest.mark.faults("B12")
async def test_arguments_that_are_none_are_never_carried_out(chain: Any, models: ModelServer, record: Any) -> None:
    told, right = {}, 0
    async with chain(within=60) as client:
        client.hands.files = FILES
        for kind in BAD_ARGUMENTS:
            turn, asked = await asked_for(client, models, f"mode:badtool:{kind}")
            told[kind] = asked
            failed = all(update["status"] == "failed" for update in turn.results) and len(turn.results) == asked
            right += turn.code == "LLM_ERROR" and asked <= 3 and failed
        recovered, _ = await asked_for(client, models, "mode:badtool1")
        executed = client.hands.times("fs/read_text_file")
    measured = f"{executed} executions, requests until LLM_ERROR {told}, one bad call: {recovered.stop}"
    held = executed == 0 and right == len(BAD_ARGUMENTS) and recovered.text == "Now I know better."
    record("B12", "0 executions; <= 3 requests, then LLM_ERROR", measured, held)


@pytest.mark.faults("B13")
async def test_a_tool_that_nobody_has_is_asked_for_three_times_at_most(
    chain: Any, models: ModelServer, record: Any
) -> None:
    async with chain() as client:
        turn, asked = await asked_for(client, models, "mode:unktool")
    record("B13", "<= 3 LLM calls", f"{asked} calls, {turn.code}", asked <= 3 and turn.code == "LLM_ERROR")


@pytest.mark.faults("B14")
async def test_what_a_reply_holds_counts_and_not_how_it_says_it_ends(
    chain: Any, models: ModelServer, record: Any
) -> None:
    told, right, most = [], 0, 0
    async with chain() as client:
        client.hands.files = FILES
        nothing, asked = await asked_for(client, models, "mode:wrongfinish:nothing")
        right += nothing.stop == "end_turn" and nothing.text == "No calls at all." and asked == 1
        for mode in ("wrongfinish:stop", "toolcall:noindex", "toolcall:oneid", "toolcall:namelast"):
            before = client.hands.times("fs/read_text_file")
            turn, asked = await asked_for(client, models, f"mode:once:{mode}")
            read = client.hands.times("fs/read_text_file") - before
            done = [update["status"] for update in turn.results] == ["completed", "completed"]
            right += turn.stop == "end_turn" and turn.text == "Done." and done and read == 2
            most = max(most, asked)
            told.append((mode, read, asked))
    record("B14", "<= 2 LLM calls; 5/5 right", f"{right}/5, {most} calls at most", right == 5 and most <= 2)


@pytest.mark.faults("B15")
async def test_stop_reasons_are_exact(chain: Any, models: ModelServer, record: Any) -> None:
    expected = {"length": "max_tokens", "content_filter": "refusal", "refusal": "refusal", "empty": "LLM_ERROR"}
    told, asked = {}, []
    async with chain() as client:
        for mode in expected:
            turn, requests = await asked_for(client, models, f"mode:{mode}")
            told[mode] = turn.stop or turn.code
            asked.append(requests)
    record(
        "B15",
        "max_tokens, refusal, typed error; 1 request each",
        f"{told}, requests {asked}",
        told == expected and asked == [1] * 4,
    )


@pytest.mark.faults("B16")
async def test_a_context_that_is_too_long_is_summed_up_once_then_one_error_and_the_session_goes_on(
    chain: Any, models: ModelServer, record: Any
) -> None:
    async with chain() as client:
        session_id = await client.new_session()
        await client.prompt(session_id, "mode:ok1000")
        before = len(models.chats())
        turn = await client.prompt(session_id, "mode:ctx")
        asked = len(models.chats()) - before
        tried = [len(request.body["messages"]) for request in models.chats()[before:]]
        after = await client.prompt(session_id, "mode:ok3")
    data = turn.error["data"]
    measured = f"requests of {tried} messages, {turn.code} retryable={data['retryable']}, then {after.stop}"
    held = asked <= 3 and turn.code == "LLM_ERROR" and not data["retryable"] and after.stop == "end_turn"
    record("B16", "compacted once, one typed LLM_ERROR, <= 3 requests, session usable after", measured, held)
