"""What should not happen, in the life of one agent: its runs have failed, the next one starts it anew, others go on."""

import os
import signal
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ars_gateway.config import Config
from tests.gateway.client import Client
from tests.gateway.conftest import Running, Start, Told
from tests.gateway.host import program
from tests.gateway.talking import last, mock, send, text_of

Json = dict[str, Any]
SCRIPT = '=== turn repeat\nsay: a b\nask edit "Really?"\nsay: c\n'


@dataclass
class Faulty(Told):
    """A log that fails once, where it is told of that event with these fields: in the middle of what tells it."""

    at: tuple[str, Json] | None = None

    def debug(self, event: str, **fields: Any) -> None:
        super().debug(event, **fields)
        if self.at is not None and event == self.at[0] and fields.items() >= self.at[1].items():
            self.at = None
            raise ZeroDivisionError(event)


async def asked(client: Client, agent: str, number: int = 1) -> Json:
    """The `number`-th question of that agent."""

    def found() -> list[Json]:
        questions = (it["payload"] for it in client.named("exec.approval.requested"))
        return [it for it in questions if it["request"]["agentId"] == agent][number - 1 :]

    questions: list[Json] = await client.until(found, 20)
    return questions[0]


async def allow(client: Client, question: Json) -> None:
    await client.request("exec.approval.resolve", {"id": question["id"], "decision": "allow-once"})


def states(client: Client) -> list[tuple[str, bool]]:
    """How the main agent was, by all that was told of it, and whether the gateway had lost something with it."""
    told = [it["payload"] for it in client.named("health")]
    return [(it["agents"][0]["state"], it["degraded"]) for it in told]


async def a_session_fails(client: Client, running: Running, log: Faulty) -> None:
    """In the work of one session, at the end of its turn."""
    await send(client, "k3", key="elsewhere")
    question = await asked(client, "main", 2)
    log.at = "request.sent", {"method": "session/prompt"}
    await allow(client, question)
    await last(client, "k3", "error", 20)


async def the_agent_fails(client: Client, running: Running, log: Faulty) -> None:
    """Where it is started again, at the end of that."""
    log.at = "agent.up", {"agent": "main"}
    os.kill(running.gateway.talks.agents.states()["main"]["pid"], signal.SIGKILL)


@pytest.mark.parametrize("fails", [a_session_fails, the_agent_fails])
async def test_a_fault_ends_what_that_agent_is_at_and_nothing_else(start: Start, tmp_path: Path, fails: Any):
    place = tmp_path / "other"
    place.mkdir()
    config = Config.model_validate({"agents": {"other": {"command": mock(place, SCRIPT)}}})
    agent = mock(tmp_path, SCRIPT, "ars", "--store", str(tmp_path / "kept"))
    log = Faulty()
    async with start(agent=agent, config=config, log=log) as running, running.client() as client:
        await send(client, "k1", key="here")
        await send(client, "k2", key="agent:other:there")
        await asked(client, "main")
        await fails(client, running, log)
        assert "fault of" in (await last(client, "k1", "error", 20))["errorMessage"]
        await client.until(lambda: ("failed", True) in states(client), 20)
        [fault] = running.log.named("agent.fault")
        assert "ZeroDivisionError" in "".join(traceback.format_exception(fault["exc_info"]))

        await allow(client, await asked(client, "other"))
        assert text_of(await last(client, "k2")) == "a b\n\nc"
        await send(client, "k4", key="here")
        await allow(client, await asked(client, "main", 3 if fails is a_session_fails else 2))
        assert text_of(await last(client, "k4")) == "a b\n\nc"
        await client.until(lambda: states(client)[-1] == ("ready", False), 20)
        assert running.log.named("agent.fault") == [fault]


async def test_agents_whose_sessions_have_the_same_id_are_not_taken_for_each_other(start: Start, tmp_path: Path):
    place = tmp_path / "other"
    place.mkdir()
    config = Config.model_validate({"agents": {"other": {"command": mock(place, SCRIPT)}}})
    async with start(agent=mock(tmp_path, SCRIPT), config=config) as running, running.client() as client:
        for run, agent in (("k1", "main"), ("k2", "other")):
            await send(client, run, key=f"agent:{agent}:s")
            question = await asked(client, agent)
            about = question["request"]["sessionKey"], question["request"]["_ars"]["runId"]
            assert about == (f"agent:{agent}:s", run)
            await allow(client, question)
            await last(client, run)


async def test_what_a_connection_has_started_ends_alone(start: Start):
    async def fails() -> None:
        raise ZeroDivisionError

    async with start() as running, running.client() as client:
        running.gateway.spawn(fails)
        assert (await client.request("health"))["ok"]
        [fault] = running.log.named("gateway.job_failed")
        assert isinstance(fault["exc_info"], ZeroDivisionError)


async def test_a_log_that_cannot_be_written_ends_nothing(tmp_path: Path):
    agent = mock(tmp_path, "=== turn repeat\nsay: ok\n")
    async with (
        program(tmp_path / "state", "--agent", agent, "--log-file", "/dev/full", "--log-level", "debug") as running,
        running.client() as client,
    ):
        await send(client, "k1")
        assert text_of(await last(client, "k1", within=20)) == "ok"


async def test_who_asks_at_once_for_models_that_nobody_knows_yet_asks_the_agent_once(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, SCRIPT)) as running, running.client() as client:
        asking = [await client.begin("models.list", {}) for _ in range(5)]
        answers = [await client.answer(it, within=20) for it in asking]
        assert answers == [answers[0]] * 5
        opened = [it for it in running.log.named("request.sent") if it["method"] == "session/new"]
        assert len(opened) == 1
