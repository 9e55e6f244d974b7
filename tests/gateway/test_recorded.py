"""Recorded conversations, replayed: the same answers and events, but for what the table of deviations names."""

import shlex
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import Path

import pytest

from ars_gateway.limits import LIMITS
from ars_gateway.observation import health
from fixtures.model_server import model_server
from tests.gateway.conftest import Start
from tests.gateway.host import starter
from tests.gateway.replay import Replay
from tests.gateway.wire import RECORDED

# Of namespaces that are not served yet.
WAITING = {"m_cron", "m_wizard", "m_channels", "n_node_role"}
CASES = sorted({file.stem for file in RECORDED.glob("*.jsonl")} - WAITING)
assert len(CASES) == 28
TICK = 0.2
FACTS = {"models": [{"id": "mock-1", "name": "mock-1", "provider": "mock"}], "model": "mock-1", "window": 32000}
# What a conversation does not determine: the machine, and what had been said there before.
BEFORE = (
    ("*", "res connect /payload/server/* value"),
    ("*", "res connect /payload/snapshot/presence count"),
    ("*", "res connect /payload/snapshot/presence/#/* value"),
    ("*", "res connect */sessions/count value"),
    ("*", "res connect */sessions/recent count"),
    ("*", "event health */sessions/count value"),
    ("*", "event health */sessions/recent count"),
    ("*", "event health */sessions/recent/#/key value"),
    ("m_chat", "res sessions.list /payload/count value"),
    ("m_chat", "res sessions.list /payload/sessions count"),
    ("m_usage", "res usage.cost /payload/daily count"),
    ("m_usage", "res usage.cost /payload/totals/* value"),
    ("n_device", "res device.pair.list /payload/paired count"),
    ("sc_pairing_approvals", "res device.pair.list /payload/paired count"),
)
_SEEN: dict[str, list[str]] = {}


@cache
def passes() -> dict[str, list[str]]:
    """What each row of the table lets pass."""
    table = tomllib.loads(files("ars_gateway.protocol").joinpath("deviations.toml").read_text("utf-8"))["deviation"]
    return {row["id"]: row["passes"] for row in table if "passes" in row}


def explained(case: str, difference: str) -> Iterator[str]:
    """The rows, and which pattern of theirs, that let it pass."""
    for id, patterns in passes().items():
        yield from (f"{id}: {pattern}" for pattern in patterns if fnmatchcase(difference, pattern))
    for cases, pattern in BEFORE:
        if fnmatchcase(case, cases) and fnmatchcase(difference, pattern):
            yield f"{cases}: {pattern}"


async def replayed(case: str, state: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The differences of one case, on a gateway of its own that has known its agent before."""
    if case not in _SEEN:
        awaits = frozenset({"health"}) if case == "ev_tick" else frozenset()
        monkeypatch.setattr(health, "TOLD_SECONDS", TICK if awaits else 60)
        state.mkdir(parents=True)
        async with model_server() as server:
            monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
            monkeypatch.setenv("OPENAI_API_KEY", "no-key-at-all")
            monkeypatch.setenv("OPENAI_MODEL", "mock-1")
            command = [str(Path(sys.executable).parent / "ars-acp"), "--store", f"jsonl:{state / 'agent'}"]
            start: Start = starter(state / "state")
            async with start(
                agent=shlex.join(command), limits=replace(LIMITS, tick_seconds=TICK, unauthorised_calls=1000)
            ) as running:
                running.gateway.talks.agents.facts["main"] = FACTS
                (running.gateway.settings.workspace / "golden.txt").write_text("golden file content\n")
                _SEEN[case] = await Replay(case, running, awaits).run()
    return _SEEN[case]


@pytest.mark.e2e
@pytest.mark.parametrize("case", CASES)
async def test_a_recorded_conversation_goes_as_recorded(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = await replayed(case, tmp_path / "gateway", monkeypatch)
    assert [one for one in found if not any(explained(case, one))] == []


@pytest.mark.e2e
async def test_every_row_that_lets_something_pass_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    used = set()
    for case in CASES:
        for one in await replayed(case, tmp_path / case, monkeypatch):
            used.update(explained(case, one))
    rows = {f"{id}: {pattern}" for id, patterns in passes().items() for pattern in patterns}
    assert (rows | {f"{cases}: {pattern}" for cases, pattern in BEFORE}) - used == set()
