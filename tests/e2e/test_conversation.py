"""Fifty turns in one session: each request to the model holds the whole conversation, sound to the last call."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from ars_acp.models.script import Script
from fixtures.model_server import ModelServer
from tests.e2e.hands import RealHands
from tests.support.process import agent

pytestmark = pytest.mark.e2e

TURNS = 50
# The turns that are cancelled in the middle of a reply, and of a command.
CUT_REPLY, CUT_COMMAND = 20, 30


def turn_of(number: int) -> str:
    """What the model does in that turn: mostly one call and an answer, sometimes several, failing or none."""
    calls = ['call read_file {"path": "greet.py"}']
    if number == CUT_REPLY:
        return f"=== turn\nsay: Beginning {number}.\nwait 60"
    if number == CUT_COMMAND:
        calls = ['call run_command {"argv": ["sleep", "60"]}']
    elif number % 10 == 7:
        # The slow one first: results stand in the order of the calls.
        calls = ["call list_files", *calls, 'call read_file {"path": "missing.py"}', "call unheard_of"]
    elif number % 10 == 3:
        calls = []
    begun = "\n".join([f"say: Beginning {number}.", *calls, "--- step"]) if calls else ""
    return f"=== turn\n{begun}\nsay: Answer {number}."


def assert_sound(messages: list[dict[str, Any]]) -> None:
    """Each call has exactly one result, before anything else is said; no result is without its call; no id is twice."""
    open_calls: list[str] = []
    seen: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] == open_calls.pop(0)
            continue
        assert not open_calls
        open_calls = [call["id"] for call in message.get("tool_calls", [])]
        assert seen.isdisjoint(open_calls)
        seen.update(open_calls)
    assert not open_calls


def said(messages: list[dict[str, Any]], role: str) -> list[str]:
    return [it["content"] for it in messages if it["role"] == role]


async def test_fifty_turns_keep_all_that_was_said_and_done(
    model: ModelServer, project: Path, endpoint: dict[str, str], tmp_path: Path
):
    model.script = Script.parse("\n".join(turn_of(number) for number in range(1, TURNS + 1)))
    hands = RealHands(endpoint)
    requests_before: list[int] = []

    async with agent(tmp_path, env={**endpoint, "ARS_MODE": "full"}, hands=hands) as client:
        session = await client.new_session(str(project))
        for number in range(1, TURNS + 1):
            requests_before.append(len(model.chats()))
            running = client.begin_turn(session, f"Prompt {number}.")
            if number == CUT_REPLY:
                await running.shows("agent_message_chunk")
            elif number == CUT_COMMAND:
                await client.until(lambda: hands.terminals)
            if number in (CUT_REPLY, CUT_COMMAND):
                client.cancel(session)
            turn = await running.end()
            assert turn.stop == ("cancelled" if number in (CUT_REPLY, CUT_COMMAND) else "end_turn")

    requests = [request.body["messages"] for request in model.chats()]
    for messages in requests:
        assert_sound(messages)
    for number, first in enumerate(requests_before, 1):
        assert said(requests[first], "user") == [f"Prompt {it}." for it in range(1, number + 1)]
    for earlier, later in itertools.pairwise(requests):
        assert later[: len(earlier)] == earlier
    answers = "\n".join(said(requests[-1], "assistant"))
    kept = [number for number in range(1, TURNS) if number not in (CUT_REPLY, CUT_COMMAND)]
    assert [number for number in range(1, TURNS + 1) if f"Answer {number}." in answers] == kept
    assert f"Beginning {CUT_REPLY}.\n[This reply was interrupted" in answers
    assert hands.terminals == {}
