"""Our own agent as one role, beside two mock ones in the shape of others: it remembers across a restart of them all."""

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from connector import VENDORS, Client, Supervisor
from connector.crew import Agents, Role, open_crew
from connector.stored import keeping
from tests.connector.crew.support import COUNTING, QUICK, Mocks
from tests.connector.programs import MEASURED, PROGRAMS

pytestmark = pytest.mark.e2e
# Which turn it is, the model finds by the prompts in its history.
MODEL = "=== turn\nsay: Ars-1.\nusage 10 5\n=== turn\nsay: Ars-2, after $prompt\n"


async def test_a_role_on_ars_acp_and_two_on_others_go_on_after_a_restart(tmp_path: Path) -> None:
    (tmp_path / "model.script").write_text(MODEL)
    argv = (str(PROGRAMS["ars"].file), "--script", str(tmp_path / "model.script"), "--store", f"jsonl:{tmp_path}/ars")
    ars = replace(VENDORS["ars"], argv=argv, env={**MEASURED, "HOME": str(tmp_path)}, credentials=(), settings=())
    mocks = Mocks(tmp_path, dict.fromkeys(("Ann", "Bob"), COUNTING), {})
    roles = [*mocks.roles, Role("Ars", "Ars", "You are Ars.")]
    said = []
    for text in ("One.", "Two."):
        with anyio.fail_after(60):
            async with keeping(f"jsonl:{tmp_path}/store") as store, Supervisor(store=store) as supervisor:
                supervisor.add("Ars", ars, Client(), cwd=str(tmp_path), limits=QUICK)
                mocks.add(supervisor)
                async with open_crew(Agents(supervisor), store, "chat", roles, cwd=str(tmp_path)) as crew:
                    await crew.say(text).ended()
                    said = [message.text for message in crew.log()]
                    tokens = crew.spent.tokens
    assert said == ["One.", "Ann-1.", "Bob-1.", "Ars-1.", "Two.", "Ann-2.", "Bob-2.", said[-1]]
    assert said[-1].startswith("Ars-2, after User: Two.")
    assert "Ann-1" not in said[-1]
    assert mocks.heard("Ann")[-1] == "Assistant (Bob): Bob-1.\n\nAssistant (Ars): Ars-1.\n\nUser: Two."
    assert tokens > 0
