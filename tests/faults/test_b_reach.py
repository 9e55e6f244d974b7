"""B17, B18: endpoints that cannot be reached, and what the agent adds to those that can."""

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import quantiles
from typing import Any

import pytest

from fixtures.model_modes import tokens
from fixtures.model_server import ModelServer
from tests.support.process import agent


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on loopback that nobody listens at, and nobody else can have meanwhile."""
    with closing(socket.socket()) as kept:
        kept.bind(("127.0.0.1", 0))
        yield kept.getsockname()[1]


@pytest.mark.faults("B17")
async def test_an_endpoint_that_cannot_be_reached_is_a_typed_error(
    tmp_path: Path, models: ModelServer, closed_port: int, record: Any, count: Any, at_most: Any
) -> None:
    patience = count(1000, 300) / 1000
    nowhere = f"http://127.0.0.1:{closed_port}"
    cases = {
        "slow first byte": {"OPENAI_BASE_URL": models.base_url, "OPENAI_MODEL": "mode:hang"},
        "unknown host": {"OPENAI_BASE_URL": "http://nobody.invalid/v1"},
        "refused": {"OPENAI_BASE_URL": f"{nowhere}/v1"},
        "TLS": {"OPENAI_BASE_URL": models.base_url.replace("http:", "https:")},
    }
    settings = {
        "OPENAI_API_KEY": "sk-none",
        "OPENAI_MODEL": "mode:ok10",
        "ARS_CONNECT_SECONDS": f"{patience}",
        "ARS_FIRST_BYTE_SECONDS": f"{patience}",
        "ARS_BACKOFF_SECONDS": "0.05",
    }
    told, right = {}, 0
    for name, chosen in cases.items():
        async with agent(tmp_path, env=settings | chosen) as client:
            turn = await client.prompt(await client.new_session())
        told[name] = f"{turn.seconds:.1f} s"
        shown = sum("Trying again" in str(update) for update in turn.updates)
        right += (
            turn.code == "LLM_ERROR"
            and turn.error["data"]["retryable"]
            and turn.seconds < 3 * patience + at_most(2)
            and shown == 2
        )
    proxies = dict.fromkeys(
        ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"), nowhere
    )
    async with agent(tmp_path, env=settings | proxies | {"OPENAI_BASE_URL": models.base_url}) as client:
        turn = await client.prompt(await client.new_session())
    right += turn.text == tokens(10)
    record(
        "B17",
        "5/5: typed error, retryable, <= connect limit + 2 retries; proxy variables ignored",
        f"{right}/5 {told}",
        right == 5,
    )


@pytest.mark.faults("B18")
async def test_the_agent_adds_little_and_keeps_the_order(
    chain: Any, models: ModelServer, record: Any, count: Any, at_most: Any
) -> None:
    rounds, size = count(10, 5), count(1000, 300)
    long = count(10_000, 2000)
    added = []
    async with chain(within=60) as client:
        session_id = await client.new_session()
        await client.prompt(session_id, "mode:ok10")
        for _ in range(rounds):
            running = client.begin_turn(session_id, f"mode:ok{size}")
            turn = await running.end()
            assert turn.text == tokens(size)
            shown = client.arrived[running.first]
            added.append((shown - models.chats()[-1].first_byte_at) * 1000)
        turn = await client.prompt(session_id, f"mode:ok{long}")
        speed = long / turn.seconds
        thoughts = await client.prompt(session_id, "mode:reasoning")
        counted = await client.prompt(session_id, "mode:usage")
    p95 = quantiles(added, n=20, method="inclusive")[-1]
    measured = f"p95 of added time {p95:.1f} ms, {speed:,.0f} chunks/s"
    held = p95 < at_most(50) and speed >= count(5000, 500) and turn.text == tokens(long)
    held = held and (thoughts.thought, thoughts.text) == ("I think", "So it is.") and counted.text == "Counted."
    record("B18", "p95 of agent-added time to first token < 50 ms; >= 5,000 chunks/s; order kept", measured, held)
