"""B1-B5: an endpoint that refuses, for a while, for ever, or with the key in its answer."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from fixtures.model_server import ModelServer
from tests.support.process import Client, Turn


def retries_shown(turn: Turn) -> int:
    return sum("Trying again" in str(update) for update in turn.updates)


async def fresh(client: Client, mode: str, within: float = 20) -> Turn:
    """A turn in that mode, in a session of its own."""
    return await client.prompt(await client.new_session(), mode, within)


@pytest.mark.faults("B1")
async def test_a_busy_endpoint_is_asked_again_when_it_says(
    chain: Any, models: ModelServer, record: Any, count: Any, at_most: Any
) -> None:
    wait = count(2000, 200) / 1000
    async with chain() as client:
        turn = await fresh(client, f"mode:429then:{wait:g}")
    first, second = (request.at for request in models.chats())
    gap, shown = second - first, retries_shown(turn)
    measured = f"gap {gap:.2f} s for Retry-After {wait:g}, {shown} retry shown, {turn.stop}"
    held = (
        wait <= gap <= wait + at_most(0.5) and shown == 1 and turn.stop == "end_turn" and turn.text == "It works now."
    )
    record("B1", "gap 2.0-2.5 s, 1 visible retry, turn ok", measured, held)


@pytest.mark.faults("B2")
async def test_an_endpoint_that_stays_busy_ends_the_turn(
    chain: Any, models: ModelServer, record: Any, count: Any, at_most: Any
) -> None:
    async with chain(backoff_seconds=count(500, 50) / 1000) as client:
        turn = await fresh(client, "mode:429always")
        asked, data = len(models.chats()), turn.error["data"]
        session_id = await client.new_session()
        running = client.begin_turn(session_id, "mode:429always:30")
        await client.until(lambda: any("Trying again" in str(update) for update in running.updates))
        began = anyio.current_time()
        client.cancel(session_id)
        cancelled = await running.end()
        took = anyio.current_time() - began
    measured = f"{asked} requests, error after {turn.seconds:.1f} s {data}; cancelled in {took * 1000:.0f} ms"
    held = (
        asked <= 3
        and turn.seconds <= 15
        and turn.code == "LLM_ERROR"
        and data["retryable"]
        and data["retryAfterMs"] > 0
    )
    held = held and took < at_most(1) and cancelled.stop == "cancelled"
    record("B2", "<= 3 requests, LLM_ERROR retryable with retryAfterMs <= 15 s, cancel < 1 s", measured, held)


@pytest.mark.faults("B3")
async def test_odd_retry_after_headers_never_make_it_sleep(
    chain: Any, models: ModelServer, record: Any, at_most: Any
) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)
    headers = {"3600": False, date: False, "NaN": True, "-5": True, "1|2": True}
    right, told = 0, {}
    async with chain(backoff_seconds=0.02) as client:
        for header, again in headers.items():
            before = len(models.chats())
            turn = await fresh(client, f"mode:429always:{header}")
            asked, wait = len(models.chats()) - before, turn.error["data"].get("retryAfterMs", 0)
            told[header] = (asked, wait)
            fits = asked == 3 and wait < 1000 if again else asked == 1 and wait > 3_500_000
            right += fits and turn.code == "LLM_ERROR" and turn.seconds < at_most(2)
    record("B3", "5/5: over 60 s fails now with retryAfterMs, nonsense is a back-off", f"{right}/5 {told}", right == 5)


@pytest.mark.faults("B4")
async def test_server_errors_are_retried_at_scattered_times(chain: Any, models: ModelServer, record: Any) -> None:
    async with chain(backoff_seconds=0.5, within=60) as client:
        fine = [(await fresh(client, f"mode:{status}then")).text == "It works now." for status in (500, 502, 503, 529)]
        before = len(models.chats())
        # A directory of its own makes each session's requests differ from all others'.
        sessions = [await client.new_session(f"/project/{number}") for number in range(100)]
        running = [client.begin_turn(session_id, "mode:503then") for session_id in sessions]
        turns = [await turn.end(20) for turn in running]
    asked: dict[str, list[tuple[float, float]]] = {}
    for request in models.chats()[before:]:
        asked.setdefault(request.body["messages"][0]["content"], []).append((request.at, request.ended_at or 0))
    gaps = sorted(second[0] - first[1] for first, second in asked.values())
    spread = gaps[-1] / gaps[0] - 1
    ended = sum(turn.stop == "end_turn" for turn in turns)
    measured = f"{sum(fine)}/4 and {ended}/100 turns ok, waits {gaps[0]:.2f}-{gaps[-1]:.2f} s: spread {spread:.0%}"
    record(
        "B4",
        "turns ok; retry times of 100 sessions spread >= 25 %",
        measured,
        all(fine) and ended == 100 and spread >= 0.25,
    )


@pytest.mark.faults("B5")
async def test_a_key_in_an_error_body_reaches_nobody(
    chain: Any, models: ModelServer, record: Any, key: str, tmp_path: Path
) -> None:
    secrets = [key.encode(), b"hunter22"]
    asked, codes = [], []
    async with chain(log_level="debug") as client:
        for status in (401, 403, 404):
            before = len(models.chats())
            turn = await fresh(client, f"mode:{status}")
            asked.append(len(models.chats()) - before)
            codes.append((turn.code, turn.error["data"]["retryable"]))
    written = [client.log.read_bytes(), *(path.read_bytes() for path in tmp_path.rglob("*.jsonl")), *client.received]
    leaks = sum(text.count(secret) for secret in secrets for text in written)
    sent = sum(request.headers.get("authorization", "").endswith(key) for request in models.chats())
    measured = f"{asked} requests, {leaks} secrets in {sum(map(len, written))} bytes of wire, log and store"
    held = asked == [1, 1, 1] and not leaks and set(codes) == {("LLM_ERROR", False)} and sent == 3
    record("B5", "1 request each; 0 secret bytes on wire, log, store", measured, held)
