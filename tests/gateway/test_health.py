"""health, status, channels.status and the event health: shapes, what they are made of, when they are made anew."""

import sys
from pathlib import Path
from typing import Any

import pytest

from ars_gateway.observation import health
from tests.gateway.client import Refusal
from tests.gateway.conftest import Running, Start
from tests.gateway.talking import GUEST, admit_guest, last, mock, send
from tests.gateway.wire import recorded

Json = dict[str, Any]


def recorded_answer(case: str, method: str) -> Json:
    """The payload of the first recorded answer to `method`."""
    frames = [line["frame"] for line in recorded(case) if "frame" in line]
    asked = next(frame["id"] for frame in frames if frame.get("method") == method)
    found: Json = next(frame["payload"] for frame in frames if frame["type"] == "res" and frame["id"] == asked)
    return found


def has_shape(ours: Any, theirs: Any, at: str = "") -> None:
    """Raises AssertionError unless ours has all that theirs has, of the same types."""
    if theirs is None or ours is None:
        return
    assert isinstance(ours, type(theirs)), f"{at}: {ours!r} where {theirs!r} was recorded"
    if isinstance(theirs, dict):
        for key, value in theirs.items():
            assert key in ours, f"{at}/{key} is missing"
            has_shape(ours[key], value, f"{at}/{key}")
    if isinstance(theirs, list) and theirs and ours:
        has_shape(ours[0], theirs[0], f"{at}/0")


@pytest.mark.parametrize(("case", "method"), [("m_health", "health"), ("m_status", "status")])
async def test_summaries_have_the_recorded_shape(running: Running, case: str, method: str):
    async with running.client() as one:
        has_shape(await one.request(method, {}), recorded_answer(case, method))


async def test_a_summary_is_kept_until_something_is_written(running: Running):
    async with running.client() as one:
        first = await one.request("health")
        assert first["sessions"] == {"path": first["sessions"]["path"], "count": 0, "recent": []}
        kept = running.gateway.health.summary("owner")
        assert await one.request("health") == first
        assert running.gateway.health.summary("owner") is kept
        await one.request("sessions.patch", {"key": "one", "thinkingLevel": "low"})
        second = await one.request("health")
        assert second["agents"][0]["sessions"]["count"] == second["sessions"]["count"] == 1
        assert [it["key"] for it in second["sessions"]["recent"]] == ["agent:main:one"]
        assert second["sessions"]["recent"][0]["age"] == second["ts"] - second["sessions"]["recent"][0]["updatedAt"]
        status = (await one.request("status"))["sessions"]
        row = status["recent"][0]
        assert (status["count"], row["key"], row["flags"][0]) == (1, "agent:main:one", "think:low")
        assert status["byAgent"][0]["recent"] == status["recent"]


async def test_a_probe_is_of_now(start: Start):
    at = [100.0]
    async with start(clock=lambda: at[0]) as running, running.client() as one:
        kept = running.gateway.health.summary("owner")
        at[0] += health.TOLD_SECONDS - 1
        await one.request("health", {"probe": False})
        assert running.gateway.health.summary("owner") is kept
        await one.request("health", {"probe": True})
        assert running.gateway.health.summary("owner") is not kept
        probed = running.gateway.health.summary("owner")
        at[0] += health.TOLD_SECONDS + 1
        assert running.gateway.health.summary("owner") is not probed


async def test_ten_sessions_are_shown_the_newest_first(running: Running):
    async with running.client() as one:
        for number in range(12):
            await one.request("sessions.patch", {"key": f"s{number}", "verboseLevel": "on"})
        recent = (await one.request("status"))["sessions"]["recent"]
        assert [row["key"] for row in recent] == [f"agent:main:s{number}" for number in range(11, 1, -1)]
        told = (await one.request("health"))["sessions"]
        assert (told["count"], len(told["recent"])) == (12, 5)


async def test_another_principals_sessions_are_not_counted(running: Running):
    admit_guest(running)
    async with running.client() as owner, running.client(token=GUEST) as guest:
        await owner.request("sessions.patch", {"key": "mine", "verboseLevel": "on"})
        assert (await guest.request("health"))["sessions"]["count"] == 0
        assert (await guest.request("status"))["sessions"]["count"] == 0
        assert guest.hello["snapshot"]["health"]["sessions"]["count"] == 0
        running.gateway.health.agents_changed()
        told = [(await one.event("health"))["payload"]["sessions"]["count"] for one in (owner, guest)]
        assert told == [1, 0]


async def test_a_turn_tells_of_an_agent_once_and_a_newcomer_of_nothing(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, "=== turn repeat\nsay: hello\n")) as running, running.client() as one:
        for run in ("r1", "r2", "r3"):
            await send(one, run)
            await last(one, run)
        await one.until(
            lambda: one.named("health") and one.named("health")[-1]["payload"]["agents"][0]["state"] == "ready"
        )
        assert one.named("health")[-1]["stateVersion"]["health"] == running.gateway.health.version
        async with running.client() as other:
            await other.request("system-presence")
            assert not other.named("health")
        states = [it["payload"]["agents"][0]["state"] for it in one.named("health")]
        assert len(states) <= 2
        assert set(states) <= {"starting", "ready"}


async def test_an_agent_that_cannot_be_reached_is_told_of(start: Start):
    exits = f"{sys.executable} -c 'raise SystemExit(3)'"
    async with start(agent=exits) as running, running.client() as one:
        assert (await one.request("health"))["degraded"] is False
        await send(one, "r1")
        await last(one, "r1", "error")
        # A slow start may be told first.
        await one.until(lambda: any(it["payload"]["degraded"] for it in one.named("health")))
        told = next(it["payload"] for it in one.named("health") if it["payload"]["degraded"])
        assert (told["agents"][0]["reachable"], told["agents"][0]["state"]) in ((False, "backoff"), (False, "failed"))


async def test_health_is_told_every_minute(start: Start, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(health, "TOLD_SECONDS", 0.05)
    async with start() as running, running.client() as one, running.client("operator.pairing") as blind:
        first = await one.event("health")
        second = await one.event("health", 2)
        assert second["stateVersion"]["health"] == first["stateVersion"]["health"] + 1
        assert not blind.named("health")


async def test_there_are_no_channels(running: Running):
    async with running.client("operator.read") as one:
        answer = await one.request("channels.status", {"probe": True, "timeoutMs": 5000})
        assert {**answer, "ts": 0} == {**recorded_answer("m_channels", "channels.status"), "ts": 0}
        with pytest.raises(Refusal, match="unexpected property 'x'"):
            await one.request("channels.status", {"x": 1})
