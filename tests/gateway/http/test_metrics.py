"""`/metrics`: numbers that Prometheus reads, with labels of few values."""

import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ars_gateway.observation.counts import Counts, Histogram
from tests.gateway.host import TOKEN, Running, Start
from tests.gateway.http.asking import asking
from tests.gateway.http.test_chat_completions import ECHO
from tests.gateway.talking import last, mock, send
from tests.support.waiting import until

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scraped(gateway: Running) -> Samples:
    async with asking(gateway) as client:
        answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(answer.text)
    return {(it.name, frozenset(it.labels.items())): it.value for family in families for it in family.samples}


def value(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((f"ars_gateway_{name}", frozenset(labels.items())))


async def test_runs_are_counted_timed_and_told_by_how_they_ended(start: Start, tmp_path: Path):
    script = "=== turn\nthink: Hm.\nsay: Hello\n=== turn\nwait 30\n"
    async with start(agent=mock(tmp_path, script)) as gateway, gateway.client() as one:
        await send(one, "k1")
        await last(one, "k1")
        await send(one, "k2")
        await until(lambda: gateway.gateway.talks.agents.states()["main"]["state"] == "busy")
        await send(one, "k3")
        found = await scraped(gateway)
        assert value(found, "runs_total", agent="main", outcome="ok") == 1
        assert value(found, "live_runs", state="running") == 1
        assert value(found, "live_runs", state="waiting") == 1
        assert value(found, "agent_state", agent="main", state="busy") == 1
        assert value(found, "agent_state", agent="main", state="ready") == 0
        assert value(found, "connections") == 1
        assert value(found, "sessions") == 1
        await one.request("chat.abort", {"sessionKey": "main"})
        found = await scraped(gateway)
    assert value(found, "runs_total", agent="main", outcome="aborted") == 2
    # The third one never came to its agent: it has no time there.
    assert value(found, "turn_seconds_count") == 2
    assert value(found, "first_token_seconds_count") == 1
    assert value(found, "first_token_seconds_bucket", le="+Inf") == 1
    assert value(found, "live_runs", state="running") == 0


async def test_requests_are_counted_by_route_and_what_clients_make_up_together(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, ECHO)) as gateway:
        async with asking(gateway) as client:
            for path in ("/healthz", "/v1/models/main", "/v1/models/nobody", "/made/up/1", "/made/up/2"):
                await client.get(path)
            await client.request("BREW", "/made/up")
        found = await scraped(gateway)
    assert value(found, "http_requests_total", method="GET", route="/healthz", status="200") == 1
    assert value(found, "http_requests_total", method="GET", route="/v1/models/{model:path}", status="404") == 1
    assert not [labels for name, labels in found if "made" in str(labels) or "BREW" in str(labels)]


async def test_failed_sign_ins_are_counted_at_every_door(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, ECHO)) as gateway:
        async with asking(gateway, headers={"authorization": "Bearer not-the-token-at-all"}) as stranger:
            assert (await stranger.get("/health")).status_code == 401
        async with gateway.socket() as socket:
            with pytest.raises(Exception, match="unauthorized"):
                await socket.connect({**(await _params()), "auth": {"token": "wrong-and-long-enough"}})
        assert value(await scraped(gateway), "sign_in_failures_total") == 2


async def _params() -> dict[str, object]:
    from tests.gateway.client import connect_params

    return connect_params(TOKEN)


async def test_the_process_is_measured(running: Running):
    found = await scraped(running)
    assert found["process_resident_memory_bytes", frozenset()] > 1_000_000
    assert found["process_cpu_seconds_total", frozenset()] > 0
    assert value(found, "info", version=running.gateway.version) == 1


async def test_two_gateways_in_one_process_count_each_for_itself(tmp_path: Path):
    from tests.gateway.host import starter

    async with starter(tmp_path / "a")() as one, starter(tmp_path / "b")() as other:
        async with asking(one) as client:
            await client.get("/healthz")
        assert value(await scraped(one), "http_requests_total", method="GET", route="/healthz", status="200") == 1
        assert value(await scraped(other), "http_requests_total", method="GET", route="/healthz", status="200") is None


def test_a_histogram_is_cumulative():
    it = Histogram((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 3.0):
        it.add(seconds)
    assert it.cumulative() == [("0.1", 2.0), ("1.0", 3.0), ("+Inf", 4.0)]
    assert it.sum == pytest.approx(3.65)


def test_what_a_client_makes_up_is_one_label():
    counts = Counts()
    for number in range(3):
        counts.answered(f"M{number}", None, 404)
    assert dict(counts.answers) == {("other", "other", 404): 3}


def test_the_library_of_metrics_is_not_loaded_at_the_start():
    code = "import sys, ars_gateway.server, ars_gateway.http.app; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 0
