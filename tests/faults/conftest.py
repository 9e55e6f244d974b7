"""The counted faults: a sample of each by default, all of them with FAULTS=full, and one table of rows at the end."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fixtures.model_server import ModelServer, model_server
from tests.gateway.host import Start, starter
from tests.support.hands import Hands
from tests.support.process import Client, agent

FULL = os.environ.get("FAULTS") == "full"


@dataclass(frozen=True)
class Line:
    """One row of the table."""

    row: str
    required: str
    measured: str
    held: bool


# A line goes with its test's report, which may come from another process.
LINE = "fault"
Record = Callable[[str, str, str, bool], None]


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """`record(row, required, measured, held)` puts a line into the table and fails the test where it was not held."""

    def note(row: str, required: str, measured: str, held: bool) -> None:
        request.node.user_properties.append((LINE, (row, required, measured, held)))
        assert held, f"{row}: required {required}; measured {measured}"

    return note


@pytest.fixture
def count() -> Callable[[int, int], int]:
    """`count(full, sample)`: how many this run does."""
    return lambda full, sample: full if FULL else sample


@pytest.fixture
def at_most() -> Callable[[float], float]:
    """How long something may take: exactly that in the full count, ten times that where other tests run beside it."""
    return lambda required: required if FULL else 10 * required


# In nothing that anybody reads, whatever an endpoint does with it.
KEY = "sk-fault-0123456789abcdef"


@pytest.fixture
async def models() -> AsyncIterator[ModelServer]:
    async with model_server() as server:
        yield server


@pytest.fixture
def chain(models: ModelServer, tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Client]]:
    """`chain(idle_seconds=0.5)` is the agent in front of the model server; a prompt's first line is the mode."""

    def start(hands: Hands | None = None, within: float = 30, **chosen: object) -> Any:
        env = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": models.base_url, "OPENAI_MODEL": "asked"}
        env |= {name if name.isupper() else f"ARS_{name.upper()}": str(it) for name, it in chosen.items()}
        return agent(tmp_path, env=env, hands=hands, within=within)

    return start


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """`start(limits=…)`: a gateway in this process."""
    return starter(tmp_path / "state")


@pytest.fixture
def key() -> str:
    return KEY


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    outcome = yield
    report = outcome.get_result()
    marker = item.get_closest_marker("faults")
    if report.failed and marker and not any(line.row in marker.args and not line.held for line in _lines(report)):
        reason = str(report.longrepr.reprcrash.message) if hasattr(report.longrepr, "reprcrash") else "see above"
        for row in marker.args:
            told = f"FAILED: {reason.splitlines()[0][:120]}"
            report.user_properties.append((LINE, (row, f"{item.name} holds", told, False)))


def _lines(report: Any) -> list[Line]:
    return [Line(*told) for name, told in getattr(report, "user_properties", ()) if name == LINE]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = (report for reports in terminalreporter.stats.values() for report in reports)
    found = {line for report in reports for line in _lines(report)}
    table = sorted(found, key=lambda line: (line.row[0], int(line.row[1:].split()[0]), line.row, line.required))
    if not table:
        return
    terminalreporter.section(f"counted faults, {'in full' if FULL else 'a sample (FAULTS=full: all)'}")
    widths = [
        max(len(text) for text in column) for column in zip(*((it.row, it.required) for it in table), strict=True)
    ]
    for line in table:
        told = f"{line.row:{widths[0]}}  {line.required:{widths[1]}}  {'' if line.held else '✗ '}{line.measured}"
        terminalreporter.write_line(told, red=not line.held)
    below = sum(not line.held for line in table)
    terminalreporter.write_line(f"{len(table)} rows, {below} below what is required")
