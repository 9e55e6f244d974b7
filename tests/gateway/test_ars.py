"""The gateway in front of the real agent, whose model plays a script."""

import os
import shlex
import signal
import sys
from pathlib import Path

import pytest

from tests.gateway.client import Refusal
from tests.gateway.conftest import Start
from tests.gateway.talking import last, said, send, text_of

SCRIPT = """\
=== turn
say: Hello word1 word2
usage 100 20
=== turn
say: Writing.
call write_file
  path: note.txt
  content:
    Hello.
--- step
say: Done.
usage 120 30
=== turn
call prompt_user {"question": "How many?", "fields": [{"name": "n", "type": "integer"}]}
--- step
say: So $result
=== turn repeat
say: A summary.
"""


def ars(directory: Path, played: str = SCRIPT) -> str:
    """The command of the real agent with a scripted model, which keeps its sessions there."""
    script = directory / "model.script"
    script.write_text(played)
    command = [str(Path(sys.executable).parent / "ars-acp"), "--script", str(script)]
    return shlex.join([*command, "--store", f"jsonl:{directory / 'agent'}"])


async def test_what_our_own_agent_does_asks_tells_and_takes(start: Start, tmp_path: Path):
    async with (
        start(agent=ars(tmp_path)) as gateway,
        gateway.client(caps=["elicitation", "tool-events"]) as one,
    ):
        scripted = {"id": "scripted", "name": "scripted", "provider": "ars"}
        assert scripted in (await one.request("models.list", {}))["models"]
        assert (await one.request("sessions.list", {}))["count"] == 0
        await send(one, "k1")
        assert text_of(await last(one, "k1")) == "Hello word1 word2"

        await send(one, "k2", "write a file")
        asked = (await one.event("exec.approval.requested"))["payload"]
        about = asked["request"]["_ars"]
        assert (about["kind"], about["diffs"][0]["newText"]) == ("edit", "Hello.\n")
        await one.request("exec.approval.resolve", {"id": asked["id"], "decision": "allow-once"})
        assert text_of(await last(one, "k2")) == "Writing.\n\nDone."
        assert (tmp_path / "state/workspace/note.txt").read_text() == "Hello.\n"
        tools = [it["payload"]["data"] for it in one.named("agent") if it["payload"]["stream"] == "tool"]
        assert [(it["phase"], it["name"]) for it in tools if it["phase"] != "update"] == [
            ("start", "write_file"),
            ("result", "write_file"),
        ]

        await send(one, "k3", "ask me")
        form = (await one.event("_ars.elicitation.requested"))["payload"]
        assert (form["message"], form["runId"], form["sessionKey"]) == ("How many?", "k3", "main")
        assert form["requestedSchema"]["required"] == ["n"]
        filled = {"id": form["id"], "action": "accept", "content": {"n": 3}}
        assert await one.request("_ars.elicitation.resolve", filled) == {"ok": True}
        assert "n: 3" in text_of(await last(one, "k3"))
        assert (await one.event("_ars.elicitation.resolved"))["payload"]["action"] == "accept"

        cost = await one.request("usage.cost", {"days": 7})
        assert [it["totalTokens"] for it in cost["daily"]] == [cost["totals"]["totalTokens"]] == [270]
        assert (await one.request("usage.status", {}))["providers"] == []
        row = (await one.request("sessions.list", {}))["sessions"][0]
        assert (row["model"], row["modelProvider"], row["totalTokens"]) == ("scripted", "ars", 150)
        defaults = (await one.request("sessions.list", {}))["defaults"]
        assert defaults == {"modelProvider": "ars", "model": "scripted", "contextTokens": row["contextTokens"]}
        # What a person says to the agent itself goes to it as it is.
        await send(one, "k4", "/usage")
        assert "Tokens read: 220" in text_of(await last(one, "k4"))
        messages = (await one.request("chat.history", {"sessionKey": "main"}))["messages"]
        assert [it["role"] for it in messages[2:6]] == ["user", "assistant", "toolResult", "assistant"]
        compact = {"key": "main", "maxLines": 1}
        assert (await one.request("sessions.compact", compact))["compacted"]
        again = await one.request("sessions.compact", compact)
        assert (again["compacted"], again["reason"]) == (False, "Nothing was changed: There is nothing to sum up.")


async def test_a_model_that_the_agent_has_not_is_told_with_those_that_it_has(start: Start, tmp_path: Path):
    async with start(agent=ars(tmp_path)) as gateway, gateway.client() as one:
        await one.request("sessions.patch", {"key": "main", "model": "nope/none"})
        await send(one, "k1")
        assert "no model nope/none; it has scripted" in (await last(one, "k1", "error"))["errorMessage"]
        await one.request("sessions.patch", {"key": "main", "model": "scripted", "thinkingLevel": "high"})
        await send(one, "k2")
        await last(one, "k2")


async def test_an_agent_that_is_killed_in_mid_run_is_back_for_the_next_prompt(start: Start, tmp_path: Path):
    agent = ars(tmp_path, '=== turn if "die"\nsay: Half\nwait 60\n=== turn repeat\nsay: Back.\n')
    async with start(agent=agent) as gateway, gateway.client() as one:
        await send(one, "k1", "die")
        await last(one, "k1", "delta")
        agents = gateway.gateway.talks.agents
        os.kill(agents.states()["main"]["pid"], signal.SIGKILL)
        assert "interrupted" in (await last(one, "k1", "error"))["errorMessage"]
        assert text_of(said(one, "k1", "delta")[-1]) == "Half"
        await send(one, "k2", "go on")
        assert text_of(await last(one, "k2")) == "Back."
        assert agents.troubled() == []
        with pytest.raises(Refusal, match="interrupted") as refused:
            await send(one, "k1", "die")
        assert refused.value.error["retryable"]
