"""Named conversations: the same one after a restart of the application, whatever the agent can do."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from connector import AgentExited, Client, Command, Connector, ConnectorError, Limits, keeping, launch
from connector.errors import ConversationHeld
from connector.fold import recap
from connector.turn import Turn
from event_log.stores import Store
from event_log.stores.jsonl import JsonlStore
from tests.support.servers import ordinary, space

ABLE = Path(__file__).parents[2] / "fixtures" / "agents" / "able.py"
QUICK = Limits(initialize=20, session=20, late=0.05)
ABILITIES = {
    "resume": {"sessionCapabilities": {"resume": {}}},
    "load": {"loadSession": True},
    "nothing": {},
}


def able(told: dict[str, Any]) -> Command:
    return Command("able", [sys.executable, "-S", str(ABLE), json.dumps(told)])


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


@asynccontextmanager
async def application(
    url: str, told: dict[str, Any], cwd: Path, host: str = "one", store: Store | None = None
) -> AsyncIterator[Connector]:
    with anyio.fail_after(30):
        async with (
            keeping(url, beside=str(cwd / host)) as own,
            launch(able(told), Client(), cwd=str(cwd), limits=QUICK, store=store or own) as connector,
        ):
            yield connector


@pytest.mark.parametrize("kind", ["redis", "postgresql"])
async def test_with_a_server_the_conversation_goes_on_at_another_host(tmp_path: Path, kind: str) -> None:
    async with space(ordinary(kind)) as url:
        async with application(url, {"capabilities": ABILITIES["load"]}, tmp_path, "one") as connector:
            session = await connector.ensure("work", str(tmp_path))
            await session.prompt("everything")
            log, last = session.log(), session.record.last
        async with application(url, {"capabilities": ABILITIES["load"]}, tmp_path, "another") as connector:
            session = await connector.ensure("work", str(tmp_path))
            assert (session.how, session.log()) == ("loaded", log)
            assert [number for number, _ in session.record.read()] == list(range(1, last + 2))


async def test_a_session_that_the_agent_has_lost_is_recreated_and_the_account_of_it_is_not_forgotten(
    tmp_path: Path,
) -> None:
    url = f"jsonl:{tmp_path / 'kept'}"
    able_to = {"capabilities": ABILITIES["resume"]}
    gone = {"session/resume": {"code": -32002, "message": "no such session"}}
    async with application(url, able_to, tmp_path) as connector:
        await (await connector.ensure("work", str(tmp_path))).prompt("one")
    async with application(url, {**able_to, "fails": gone}, tmp_path) as connector:
        session = await connector.ensure("work", str(tmp_path))
        assert session.how == "recreated"
    # That application has ended before it could give the account: this one gives it, once.
    async with application(url, able_to, tmp_path) as connector:
        session = await connector.ensure("work", str(tmp_path))
        assert session.how == "resumed"
        for text in ("two", "report"):
            turn = await session.prompt(text)
        prompts = [it["params"]["prompt"] for it in json.loads(turn.text) if it["method"] == "session/prompt"]
        assert [[block["text"] for block in prompt][-1] for prompt in prompts] == ["two", "report"]
        assert [len(prompt) for prompt in prompts] == [2, 1]
        assert "User: one\n\nAssistant: you said one" in prompts[0][0]["text"]
        assert [it["how"] for _, it in session.record.read() if it["type"] == "opened"] == [
            "new",
            "recreated",
            "resumed",
        ]


async def test_the_history_is_the_same_after_a_restart_whatever_came_of_the_turns(tmp_path: Path) -> None:
    url, able_to = f"jsonl:{tmp_path / 'kept'}", {"capabilities": ABILITIES["load"]}
    async with application(url, able_to, tmp_path) as connector:
        session = await connector.ensure("work", str(tmp_path))
        waiting = session.start("wait")
        await anext(aiter(waiting))
        session.start("taken back").withdraw()
        session.cancel()
        await waiting.ended()
        for text in ("both", "everything", "refuse"):
            await session.prompt(text)
        await session.settle()
        with pytest.raises(AgentExited):
            await session.prompt("die")
        log, late = session.log(), [len(turn.late) for turn in session.turns]
    async with application(url, able_to, tmp_path) as connector:
        session = await connector.ensure("work", str(tmp_path))
        assert session.log() == log
        assert [len(turn.late) for turn in session.turns] == late == [0, 0, 1, 0, 0, 0]
        assert [turn.withdrawn for turn in session.turns] == [False, True, False, False, False, False]
        assert session.record.interrupted is None


async def test_who_has_lost_the_conversation_to_another_application_is_told_so(tmp_path: Path) -> None:
    url = f"jsonl:{tmp_path / 'kept'}"
    async with application(url, {}, tmp_path) as connector:
        session = await connector.ensure("work", str(tmp_path))
        await session.prompt("one")
        # It takes us for dead, as after a long sleep of the machine.
        other = JsonlStore(str(tmp_path / "kept"), takes_over=[cast(JsonlStore, connector.store).owner.id])
        async with application(url, {}, tmp_path, store=other) as theirs:
            taken = await theirs.ensure("work", str(tmp_path))
            with anyio.fail_after(20):
                while not session.record.lost:  # a writer that has just looked does not look again for a second
                    await session.prompt("two")
            assert session.turns[-1].text == "you said two"
            with pytest.raises(ConversationHeld, match="held by another application, which has taken it over"):
                session.start("three")
            assert [it.prompt for it in taken.log()] == ["one"]
        await other.close()


def exchange(prompt: str, reply: str) -> Turn:
    turn = Turn([{"type": "text", "text": prompt}])
    turn._text.append(reply)
    turn.end("end_turn")
    return turn


def test_an_account_has_as_many_of_the_newest_exchanges_as_fit() -> None:
    turns = [exchange(f"question {at}", f"answer {at} " + "x" * 100) for at in range(10)]
    assert recap([], 1000) == ""
    whole = recap(turns, 10_000)
    assert "left out" not in whole
    assert all(f"User: question {at}\n\nAssistant: answer {at} x" in whole for at in range(10))
    some = recap(turns, 600)
    assert len(some) <= 600
    assert "[7 earlier exchanges left out]" in some
    assert [f"question {at}" in some for at in range(10)] == [False] * 7 + [True] * 3
    little = recap(turns, 200)
    assert len(little) <= 200
    assert little.endswith("xxxx")
    turns[0].state = "running"
    withdrawn = Turn([{"type": "text", "text": "never"}])
    withdrawn.withdraw()
    assert "question 0" not in recap([turns[0], withdrawn], 1000)
