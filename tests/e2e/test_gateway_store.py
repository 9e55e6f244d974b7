"""`ars-gateway` with its transcripts on a server, and what of its own environment agents get: nothing."""

import shlex
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.peers import AGENT
from tests.gateway.host import TOKEN, Program, environment, program
from tests.gateway.talking import last, send, text_of
from tests.support.servers import ordinary, space

pytestmark = pytest.mark.e2e

PASSWORD = "pa%2Fss-that-nobody-may-see"


@pytest.fixture(params=["redis", "postgresql"])
async def url(request) -> AsyncIterator[str]:
    async with space(ordinary(request.param)) as url:
        yield url


def ars(directory: Path) -> str:
    """Our agent, which says what it is told, and keeps what is in its environment in a file."""
    (directory / "model.script").write_text("=== turn repeat\nsay: You said: $prompt\n")
    (agent := directory / "ars-acp").write_text(f'#!/bin/sh\nenv >{directory}/env\nexec {shlex.quote(AGENT)} "$@"\n')
    agent.chmod(0o700)
    return shlex.join([str(agent), "--script", str(directory / "model.script"), "--store", "memory:"])


async def talked(gateway: Program, key: str) -> str:
    async with gateway.client() as client:
        await send(client, key, key)
        return text_of(await last(client, key))


async def test_transcripts_on_a_server_are_there_for_the_next_gateway(url: str, tmp_path: Path):
    state, env = tmp_path / "state", environment(ARS_GATEWAY_TOKEN=TOKEN, ARS_GATEWAY_STORE=url)
    async with program(state, "--agent", ars(tmp_path), env=env) as gateway:
        assert await talked(gateway, "one") == "You said: one"
    assert list((state / "wal").iterdir())
    async with program(state, "--agent", ars(tmp_path), env=env) as gateway, gateway.client() as client:
        history = await client.request("chat.history", {"sessionKey": "main"})
        assert [it["content"][0]["text"] for it in history["messages"]] == ["one", "You said: one"]


async def test_without_its_server_a_session_cannot_begin_and_nobody_sees_the_password(tmp_path: Path):
    state, store = tmp_path / "state", f"postgresql://someone:{PASSWORD}@127.0.0.1:1/base"
    env = environment(ARS_GATEWAY_TOKEN=TOKEN, ARS_GATEWAY_STORE=store)
    async with program(state, "--agent", ars(tmp_path), env=env) as gateway, gateway.client() as client:
        await send(client, "one")
        failed = await last(client, "one", "error")
        tail = await client.request("logs.tail", {})
        status = await client.request("status")
    assert "postgresql://127.0.0.1:1/base cannot be reached now" in failed["errorMessage"]
    told = gateway.log.read_text() + str(failed) + str(tail) + str(status)
    assert "that-nobody-may-see" not in told


async def test_agents_get_nothing_of_what_lets_in_at_the_gateway(tmp_path: Path):
    env = environment(ARS_GATEWAY_TOKEN=TOKEN, ARS_GATEWAY_INTERNAL_SECRET="a-secret-of-services")
    async with program(tmp_path / "state", "--agent", ars(tmp_path), env=env) as gateway:
        assert await talked(gateway, "one") == "You said: one"
    inherited = (tmp_path / "env").read_text()
    assert "PATH=" in inherited
    assert "ARS_GATEWAY" not in inherited
