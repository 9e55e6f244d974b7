"""`/health`, `/healthz`, `/readyz`: how the gateway is, whatever it stands on does, and within five seconds."""

import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from ars_acp.models.script import Script
from ars_gateway.observation import checks
from ars_gateway.observation.checks import Checks
from fixtures.model_server import model_server
from tests.gateway.host import Running, Start
from tests.gateway.http.asking import asking, error_of
from tests.gateway.http.test_chat_completions import ECHO, ars
from tests.gateway.talking import last, mock, send
from tests.support.waiting import until


async def health_of(gateway: Running) -> dict[str, Any]:
    async with asking(gateway, timeout=20) as client:
        answer = await client.get("/health")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


def spoil(state: Path) -> None:
    """From here on the store of transcripts takes nothing more: something else lies where it was."""
    shutil.rmtree(state / "transcripts", ignore_errors=True)
    (state / "transcripts").write_text("no directory")


async def test_health_is_for_those_who_have_signed_in(running: Running):
    async with asking(running, headers={}) as client:
        answer = await client.get("/health")
        assert (answer.status_code, error_of(answer)["code"]) == (401, "UNAUTHORIZED")
        assert (await client.get("/metrics")).status_code == 401


async def test_a_gateway_that_nobody_has_talked_to_knows_of_its_store_and_agents(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, ECHO)) as gateway:
        found = await health_of(gateway)
    assert found["status"] == "ok"
    assert found["version"] == gateway.gateway.version
    assert found["store"] == {"readable": True, "writable": True, "why": None}
    assert found["sessions"] == {"count": 0, "active": 0, "running": 0}
    main = found["agents"][0]
    assert (main["id"], main["state"]) == ("main", "stopped")
    assert found["model"] == main["model"]
    assert (found["model"]["reachable"], found["model"]["model"]) == (None, None)
    assert "the agent is stopped: it is not started for this" in found["model"]["why"]
    assert not [*(tmp_path / "state/transcripts").rglob("check-*")]


async def test_of_an_agent_that_is_stopped_the_model_is_told_that_answered_last(start: Start, tmp_path: Path):
    agent = ars(tmp_path, "=== turn repeat\nsay: hello\n")
    async with start(agent=agent) as gateway, gateway.client() as one:
        await send(one, "k1")
        await last(one, "k1")
        known = gateway.gateway.talks.agents.facts["main"]["model"]
    async with start(agent=agent) as gateway:
        found = await health_of(gateway)
    assert (found["status"], found["model"]["reachable"], found["model"]["model"]) == ("ok", None, known)
    assert known


async def test_sessions_are_counted_that_are_kept_open_and_at_work(start: Start, tmp_path: Path):
    agent = mock(tmp_path, "=== turn repeat\nsay: Hello\nwait 30\n")
    async with start(agent=agent) as gateway, gateway.client() as one:
        await one.request("sessions.patch", {"key": "agent:main:idle", "label": "Idle"})
        await send(one, "k1")
        await one.event("agent", 2)
        found = await health_of(gateway)
        assert found["sessions"] == {"count": 2, "active": 1, "running": 1}
        assert found["agents"][0]["state"] == "busy"
        await one.request("chat.abort", {"sessionKey": "main"})


async def test_an_agent_that_cannot_tell_of_its_model_is_no_fault(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, ECHO)) as gateway, gateway.client() as one:
        await send(one, "k1")
        await last(one, "k1")
        found = await health_of(gateway)
    assert found["status"] == "ok"
    assert found["model"] == found["agents"][0]["model"]
    assert (found["model"]["reachable"], found["model"]["why"]) == (None, "the agent does not tell")


async def test_the_models_endpoint_is_told_of_and_when_it_is_down(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    agent = shlex.join([str(Path(sys.executable).parent / "ars-acp"), "--store", f"jsonl:{tmp_path / 'agent'}"])
    async with model_server(Script.parse("=== turn repeat\nsay: hello")) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_MODEL", "script")
        async with start(agent=agent) as gateway, gateway.client() as one:
            await send(one, "k1")
            await last(one, "k1")
            model = (await health_of(gateway))["model"]
            assert (model["reachable"], model["model"]) == (True, "script")
            assert server.base_url.startswith(model["endpoint"])
    async with start(agent=agent) as gateway, gateway.client() as one:
        await send(one, "k2")
        await one.until(lambda: [it for it in one.named("chat") if it["payload"]["state"] == "error"], 20)
        found = await health_of(gateway)
        assert found["status"] == "degraded"
        assert found["model"]["reachable"] is False
        assert found["model"]["why"]


async def test_health_comes_in_time_whatever_hangs(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checks, "SECONDS", 0.2)
    async with start(agent=mock(tmp_path, ECHO)) as gateway, gateway.client() as one:
        await send(one, "k1")
        await last(one, "k1")

        async def never(*_: Any) -> Any:
            await anyio.sleep_forever()

        monkeypatch.setattr(gateway.gateway.talks.store, "create", never)
        monkeypatch.setattr(gateway.gateway.talks.agents, "model_health", never)
        began = time.monotonic()
        found = await health_of(gateway)
        assert time.monotonic() - began < 10
        assert found["status"] == "degraded"
        assert found["store"]["writable"] is False
        assert found["model"]["reachable"] is None
        assert "no answer within" in found["model"]["why"]


def test_the_time_that_everything_may_take_is_less_than_five_seconds():
    assert checks.SECONDS < 5


async def test_a_store_that_takes_nothing_is_told_and_not_ready(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, ECHO)) as gateway, asking(gateway, headers={}) as nobody:
        answer = await nobody.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"ready": True})
        spoil(tmp_path / "state")
        gateway.gateway.checks = Checks(gateway.gateway)  # what was found a moment ago still holds
        answer = await nobody.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"ready": False})
        found = await health_of(gateway)
        assert found["status"] == "degraded"
        assert found["store"]["readable"] is True
        assert found["store"]["writable"] is False
        assert found["store"]["why"].startswith("transcripts: ")
        assert (await nobody.get("/healthz")).status_code == 200


async def test_an_index_that_cannot_be_written_is_told(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, ECHO)) as gateway:
        gateway.gateway.index.execute("PRAGMA query_only=ON")
        store = await gateway.gateway.checks.store()
        gateway.gateway.index.execute("PRAGMA query_only=OFF")
    assert (store.readable, store.writable) == (True, False)
    assert store.why is not None
    assert store.why.startswith("the index: ")


async def test_what_was_found_of_the_store_holds_for_a_while(start: Start, tmp_path: Path):
    now = [100.0]
    async with start(agent=mock(tmp_path, ECHO), clock=lambda: now[0]) as gateway:
        ours = gateway.gateway.checks
        assert (await ours.store()).writable
        spoil(tmp_path / "state")
        assert (await ours.store()).writable
        now[0] += checks.STORE_SECONDS + 1
        assert not (await ours.store()).writable


async def test_a_gateway_that_is_about_to_end_is_not_ready(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, ECHO)) as gateway, asking(gateway, headers={}) as nobody:
        gateway.gateway.talks.stop()
        assert (await nobody.get("/readyz")).status_code == 503
        assert (await nobody.get("/healthz")).status_code == 200


async def test_an_agent_that_does_not_start_is_told_with_why(start: Start):
    async with start(agent="/no/such/agent") as gateway, gateway.client() as one:
        await send(one, "k1")
        await one.until(lambda: [it for it in one.named("chat") if it["payload"]["state"] == "error"], 20)
        await until(lambda: gateway.gateway.talks.agents.states()["main"]["state"] in ("failed", "backoff"))
        found = await health_of(gateway)
    assert found["status"] == "degraded"
    assert found["agents"][0]["why"]
