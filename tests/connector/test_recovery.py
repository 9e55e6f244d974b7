"""The real ars-acp under the supervisor: what its log knows of the turn that it was killed at."""

import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from ars_acp.models.script import Script
from connector import AgentInterrupted, Client, Supervised, Supervisor, allow_once
from connector.permissions import Policy, deny_all
from fixtures.model_server import ModelServer, model_server
from tests.connector.programs import PROGRAMS
from tests.support.waiting import until


@contextlib.asynccontextmanager
async def supervised(
    home: Path, script: str, policy: Policy = deny_all
) -> AsyncIterator[tuple[Supervised, ModelServer]]:
    with anyio.fail_after(60):
        async with model_server(Script.parse(script)) as models, Supervisor() as supervisor:
            row = PROGRAMS["ars"].vendor(models.port, home)
            yield supervisor.add("ars", row, Client(policy=policy), cwd=str(home)), models


def kill(agent: Supervised) -> None:
    pid = agent.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


async def test_a_prompt_that_its_model_had_not_answered_yet_is_sent_again_and_is_there_once(tmp_path: Path) -> None:
    script = '=== turn if "first"\nsay: one\n=== turn repeat\nwait 1\nsay: two\n'
    async with supervised(tmp_path, script) as (agent, models):
        session = await agent.new_session(str(tmp_path))
        await session.prompt("first")
        turn = session.start("second")
        await until(lambda: len(models.chats()) == 2)
        kill(agent)
        assert await turn.result() == "end_turn"
        assert turn.text == "two"
        told = [message for message in models.chats()[-1].body["messages"] if message["role"] != "system"]
        assert [message["role"] for message in told] == ["user", "assistant", "user"]
        assert str(told).count("second") == 1


async def test_what_is_known_of_a_command_that_ran_at_the_kill(tmp_path: Path) -> None:
    script = f"""
=== turn
say: I look and run.
call run_command {{"argv": ["sh", "-c", "touch {tmp_path}/begun; sleep 60"]}}
--- step
say: done
=== turn repeat
say: I go on
"""
    async with supervised(tmp_path, script, allow_once) as (agent, models):
        session = await agent.new_session(str(tmp_path))
        turn = session.start("go")
        await until((tmp_path / "begun").exists)
        kill(agent)
        with pytest.raises(AgentInterrupted) as why:
            await turn.result()
        assert why.value.text == "I look and run."
        assert [call.what for call in why.value.calls] == ["outcome unknown"]
        assert (await session.prompt("and now?")).text == "I go on"
        assert "outcome is unknown" in str(models.chats()[-1].body["messages"])
        assert len(models.chats()) == 2
