"""Named conversations: the same one after a restart of the application, whatever the agent can do."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from connector import Client, Command, ConnectorError, Limits, launch
from connector.stored import keeping

ABLE = Path(__file__).parents[2] / "fixtures" / "agents" / "able.py"
QUICK = Limits(initialize=20, session=20, late=0.05)
ABILITIES = {
    "resume": {"sessionCapabilities": {"resume": {}}},
    "load": {"loadSession": True},
    "nothing": {},
}


def able(told: dict[str, Any]) -> Command:
    return Command("able", [sys.executable, str(ABLE), json.dumps(told)])


@pytest.mark.parametrize("ability", ABILITIES)
async def test_a_named_conversation_is_the_same_one_after_a_restart(tmp_path: Path, ability: str) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    command = able({"capabilities": ABILITIES[ability]})
    hows, log = [], []
    for number in range(3):
        async with (
            keeping(f"jsonl:{tmp_path / 'kept'}") as store,
            launch(
                command, Client(), cwd=str(tmp_path), limits=QUICK, store=store, system_prompt="Be brief.",
                on_event=lambda name, fields: events.append((name, fields)),
            ) as connector,
        ):  # fmt: skip
            session = await connector.ensure("work", str(tmp_path))
            hows.append(session.how)
            assert session.log() == log
            with pytest.raises(ConnectorError, match="held by another session"):
                await connector.ensure("work", str(tmp_path))
            await session.prompt(f"prompt {number}")
            log = session.log()
            assert [(it.prompt, it.response) for it in log] == [
                (f"prompt {at}", f"you said prompt {at}") for at in range(number + 1)
            ]
            if number == 2:
                heard = json.loads((await session.prompt("report")).text)
    told = [name for name, _ in events if name == "session.recreated"]
    again = {"resume": "resumed", "load": "loaded", "nothing": "recreated"}[ability]
    assert hows == ["new", again, again]
    assert len(told) == (2 if ability == "nothing" else 0)
    prompts = [message["params"]["prompt"] for message in heard if message["method"] == "session/prompt"]
    first = [block["text"] for block in prompts[0]]
    if ability == "nothing":
        assert first[0] == "Be brief."
        assert "User: prompt 0\n\nAssistant: you said prompt 0\n\nUser: prompt 1" in first[1]
        assert first[2:] == ["prompt 2"]
    else:
        assert first == ["prompt 2"]
