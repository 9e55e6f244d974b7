"""B6-B11: streams that break off, stand still, crawl, or hold something else than chunks."""

from pathlib import Path
from typing import Any

import pytest

from fixtures.model_modes import NOISE, tokens
from fixtures.model_server import ModelServer
from tests.support.process import Client, Turn, stored

INTERRUPTED = "LLM_STREAM_INTERRUPTED"


async def fresh(client: Client, mode: str, within: float = 20) -> Turn:
    """A turn in that mode, in a session of its own."""
    return await client.prompt(await client.new_session(), mode, within)


def stored_text(directory: Path, session_id: str) -> str:
    return "".join(entry["text"] for entry in stored(directory, session_id) if entry["type"] == "text")


def interrupted(turn: Turn, text: str) -> bool:
    """Whether exactly that text was shown, and then the one typed error told how much it was."""
    details = (turn.error.get("data") or {}).get("details", {})
    return turn.text == text and turn.code == INTERRUPTED and details.get("partialChars") == len(text)


@pytest.mark.faults("B6")
async def test_a_reset_at_any_chunk_keeps_what_was_shown(
    chain: Any, models: ModelServer, record: Any, count: Any, tmp_path: Path
) -> None:
    # 1 + 2 + ... + 140 chunks are 9,870; the last reply has 10,000 by itself.
    cuts, long = [*range(1, count(141, 8))], count(10_000, 500)
    wrong, chunks, first_asked = [], 0, len(models.chats())
    async with chain(within=300) as client:
        for cut in cuts:
            session_id = await client.new_session()
            turn = await client.prompt(session_id, f"mode:{'cut' if cut % 2 else 'cutthen'}:{cut}")
            chunks += len(turn.pieces("agent_message_chunk"))
            if not interrupted(turn, tokens(cut)) or stored_text(tmp_path, session_id) != turn.text:
                wrong.append(cut)
        asked = len(models.chats()) - first_asked
        session_id = await client.new_session()
        turn = await client.prompt(session_id, f"mode:ok{long}:cut")
        if not interrupted(turn, tokens(long)) or stored_text(tmp_path, session_id) != turn.text:
            wrong.append(long)
        # The interrupted reply is part of the conversation, and marked.
        after = await client.prompt(session_id, "mode:ok3")
        kept = next(it["content"] for it in models.chats()[-1].body["messages"] if it["role"] == "assistant")
        # Nothing was shown, so it is asked again, and once.
        unseen = await fresh(client, "mode:cutthen:0")
    chunks += long
    measured = f"{len(wrong)} of {len(cuts) + 1} replies differ, {chunks} chunks, {asked} requests for {len(cuts)}"
    held = not wrong and asked == len(cuts) and after.text == tokens(3) and unseen.text == "It works now."
    held = held and kept.startswith(tokens(long)) and "interrupted" in kept[len(tokens(long)) :]
    record("B6", "0 duplicated, 0 lost of 10,000 chunks; stored == shown; partialChars exact", measured, held)


@pytest.mark.faults("B7")
async def test_an_end_without_a_finish_is_an_interruption(
    chain: Any, models: ModelServer, record: Any, count: Any
) -> None:
    counts = [*range(1, count(101, 6))]
    async with chain(within=120) as client:
        turns = [await fresh(client, f"mode:eofclean:{number}") for number in counts]
    right = sum(interrupted(turn, tokens(number)) for number, turn in zip(counts, turns, strict=True))
    asked = len(models.chats())
    record(
        "B7",
        "1 request each, text exact, LLM_STREAM_INTERRUPTED",
        f"{right}/{len(counts)} exact, {asked} requests",
        right == asked == len(counts),
    )


@pytest.mark.faults("B8")
async def test_a_stream_that_stands_still_is_given_up(
    chain: Any, models: ModelServer, record: Any, count: Any, at_most: Any
) -> None:
    idle = count(1000, 300) / 1000
    async with chain(idle_seconds=idle) as client:
        await fresh(client, "mode:ok3")
        silent = await fresh(client, "mode:stall")
        kept_alive = await fresh(client, "mode:keepalive")
    async with chain(idle_seconds=20) as client:  # a cancel does not wait for that
        session_id = await client.new_session()
        running = client.begin_turn(session_id, "mode:stall")
        await running.shows("agent_message_chunk")
        client.cancel(session_id)
        cancelled = await running.end()
    asked = len(models.chats())
    measured = f"silence {silent.seconds:.2f} s, comments {kept_alive.seconds:.2f} s of {idle:g}; {asked} requests"
    held = idle <= silent.seconds <= idle + at_most(1) and interrupted(silent, tokens(5))
    held = held and idle < kept_alive.seconds <= 5 * idle + at_most(1) and interrupted(kept_alive, tokens(5))
    held = held and cancelled.stop == "cancelled" and cancelled.seconds < 20 and asked == 4
    record("B8", "interrupted at the idle limit (1 s in test) +-1 s; comments extend it 5x at most", measured, held)


@pytest.mark.faults("B9")
async def test_a_stream_that_crawls_is_read_to_its_end(chain: Any, record: Any, count: Any) -> None:
    idle, pause = count(1000, 500) / 1000, count(20, 3) / 1000
    async with chain(idle_seconds=idle) as client:
        drip = await fresh(client, f"mode:drip:{pause}")
        huge = await fresh(client, "mode:huge")
    exact = (drip.text == "Grüße, мир 🌍!") + (huge.text == "x" * (100 << 10))
    measured = f"{exact}/2 exact, drip of {drip.seconds:.1f} s with an idle limit of {idle:g} s"
    held = exact == 2 and drip.stop == huge.stop == "end_turn" and drip.seconds > 2 * idle
    record("B9", "turn ok, text exact, no false timeout", measured, held)


@pytest.mark.faults("B10")
async def test_legal_noise_is_skipped_and_bad_json_is_one_error(chain: Any, models: ModelServer, record: Any) -> None:
    async with chain() as client:
        legal = [(await fresh(client, f"mode:legalnoise:{name}")).text == tokens(5) for name in NOISE]
        before = len(models.chats())
        bad = await fresh(client, "mode:badsse")
        asked = len(models.chats()) - before
    measured = (
        f"legal {sum(legal)}/{len(legal)}, bad JSON: {bad.code} after {bad.text.count('tok')} chunks, {asked} request"
    )
    held = all(legal) and len(legal) == 6 and interrupted(bad, tokens(5)) and asked == 1
    record("B10", "legal variants 6/6 ok; bad = 1 typed error", measured, held)


@pytest.mark.faults("B11")
async def test_an_error_inside_a_stream_repeats_nothing(chain: Any, models: ModelServer, record: Any, key: str) -> None:
    async with chain() as client:
        shown = await fresh(client, "mode:errinstream")
        asked = len(models.chats())
        unseen = await fresh(client, "mode:errthen:0")
        again = len(models.chats()) - asked
    leaked = key in shown.answer["error"]["message"]
    measured = f"after 5 chunks: {asked} request, {shown.code}; after none: {again} requests, {unseen.stop}"
    held = interrupted(shown, tokens(5)) and asked == 1 and again == 2 and unseen.text == "It works now." and not leaked
    record("B11", "0 duplicates, asked again only if nothing was shown", measured, held)
