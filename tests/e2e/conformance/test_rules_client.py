"""What clients get wrong most, shown on our connector with agents that are processes of their own."""

import json
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import pytest

from acp_wire import build
from acp_wire.schema.elicitation import CompleteElicitationNotification
from connector import AgentExited, Client, Command, Connector, Limits, allow_once, ask, launch
from connector.permissions import Act
from tests.e2e.conformance.support import INVALID_PARAMS, METHOD_NOT_FOUND, NOT_FOUND, Json

pytestmark = pytest.mark.e2e

AGENTS = Path(__file__).parents[3] / "fixtures" / "agents"
OPTIONS = [build.permission_option("once", "Once", "allow_once"), build.permission_option("no", "No", "reject_once")]
IN_SESSION = {"sessionId": "$session"}
IN_TERMINAL = {"sessionId": "$session", "terminalId": "$terminal"}
LIMITS = Limits(initialize=20, session=20, turn=20, late=0.05)


def fixture(
    name: str, cwd: Path, *arguments: str, client: Client | None = None, **more: Any
) -> AbstractAsyncContextManager[Connector]:
    """One of the agents of the fixtures, driven by the connector."""
    command = Command(name, [sys.executable, "-S", str(AGENTS / f"{name}.py"), *arguments])
    return launch(command, client or Client(policy=allow_once), cwd=str(cwd), limits=LIMITS, **more)


async def answers(cwd: Path, *steps: list[Any], client: Client | None = None) -> list[Json]:
    """What the connector answers to an agent that asks for all this, one after the other."""
    with anyio.fail_after(20):
        async with fixture("asks", cwd, client=client) as connector:
            session = await connector.new_session(str(cwd))
            turn = await session.prompt(json.dumps(steps))
    found: list[Json] = json.loads(turn.text)
    return found


@pytest.mark.requirement("rule 17")
async def test_rule_17_updates_come_in_wire_order_and_before_the_end(tmp_path: Path):
    with anyio.fail_after(20):
        async with fixture("noisy", tmp_path) as connector:
            session = await connector.new_session(str(tmp_path))
            turn = session.start("2000")
            seen = []
            async for update in turn:
                # Somebody who needs a while for each of them changes nothing.
                await anyio.lowlevel.checkpoint()
                seen.append(update.content.text)
    assert seen == [f"{number} " for number in range(2000)]
    assert turn.late == []


@pytest.mark.requirement("rule 18")
async def test_rule_18_a_cancel_answers_open_and_later_questions_and_updates_go_on(tmp_path: Path):
    asked = anyio.Event()

    async def person(act: Act) -> str | None:
        asked.set()
        await anyio.sleep_forever()
        return None

    question = {**IN_SESSION, "toolCall": {"toolCallId": "t1", "title": "x"}, "options": OPTIONS}
    after = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": ""}}
    steps = [
        *(["begin", "session/request_permission", question] for _ in range(3)),
        ["cancelled"],
        ["update", after],
        ["ask", "session/request_permission", question],
    ]
    with anyio.fail_after(20):
        async with fixture("asks", tmp_path, client=Client(policy=ask(person))) as connector:
            session = await connector.new_session(str(tmp_path))
            turn = session.start(json.dumps(steps))
            await asked.wait()
            session.cancel()
            assert await turn.result() == "cancelled"
    assert json.loads(turn.text) == [{"outcome": {"outcome": "cancelled"}}] * 4


@pytest.mark.requirement("rule 19")
async def test_rule_19_what_comes_before_the_id_is_kept_for_its_session(tmp_path: Path):
    early: list[Any] = []
    with anyio.fail_after(20):
        async with fixture("asks", tmp_path, "early") as connector:
            await connector.new_session(str(tmp_path), outside=early.append)
    assert [update.content.text for update in early] == ["early"]


@pytest.mark.requirement("rule 20")
async def test_rule_20_unknown_updates_are_dropped_alone_and_early_ones_stand_for_their_call(tmp_path: Path):
    client = Client()
    unknown = {"sessionUpdate": "of_another_version", "x": 1}
    progress = {"sessionUpdate": "tool_call_update", "toolCallId": "t1", "title": "Reads", "status": "in_progress"}
    with anyio.fail_after(20):
        async with fixture("asks", tmp_path, client=client) as connector:
            session = await connector.new_session(str(tmp_path))
            turn = await session.prompt(json.dumps([["update", unknown], ["update", progress]]))
    assert (turn.stop_reason, turn.text) == ("end_turn", "[]")
    assert client.counts["update.unknown"] == 1
    assert (turn.tool_calls["t1"].title, turn.tool_calls["t1"].status) == ("Reads", "in_progress")


@pytest.mark.requirement("rule 21")
async def test_rule_21_what_is_not_supported_is_answered_so(tmp_path: Path):
    form = {**IN_SESSION, "mode": "form", "message": "?", "requestedSchema": {"type": "object", "properties": {}}}
    asked = [("_example.com/x", {}), ("fs/delete", {}), ("session/new", {}), ("elicitation/create", form)]
    found = await answers(tmp_path, *(["ask", method, params] for method, params in asked))
    assert [it["code"] for it in found] == [METHOD_NOT_FOUND] * 4


@pytest.mark.requirement("rule 22")
async def test_rule_22_terminals_truncate_from_the_beginning_and_ids_end_with_release(tmp_path: Path):
    loud = "printf '%s' äöüäöüäöü; sleep 60 & echo; echo end; exec sleep 60"
    started, ended, waited, output, killed, again, released, gone = await answers(
        tmp_path,
        ["ask", "terminal/create", {**IN_SESSION, "command": "sh", "args": ["-c", loud], "outputByteLimit": 10}],
        ["ask", "terminal/kill", IN_TERMINAL],
        ["ask", "terminal/wait_for_exit", IN_TERMINAL],
        ["ask", "terminal/output", IN_TERMINAL],
        ["ask", "terminal/kill", IN_TERMINAL],
        ["ask", "terminal/output", IN_TERMINAL],
        ["ask", "terminal/release", IN_TERMINAL],
        ["ask", "terminal/output", IN_TERMINAL],
    )
    assert started["terminalId"]
    assert ended == killed == released == {}
    assert waited["signal"] == "SIGKILL"
    assert len(output["output"].encode()) <= 10
    assert output == again
    assert gone["code"] == NOT_FOUND
    _, _, whole = await answers(
        tmp_path,
        ["ask", "terminal/create",
         {**IN_SESSION, "command": "printf", "args": ["äöüäöüend"], "outputByteLimit": 8}],
        ["ask", "terminal/wait_for_exit", IN_TERMINAL],
        ["ask", "terminal/output", IN_TERMINAL],
    )  # fmt: skip
    assert (whole["output"], whole["truncated"]) == ("öüend"[-5:], True)


@pytest.mark.requirement("rule 23")
async def test_rule_23_who_was_killed_has_a_signal_and_no_code(tmp_path: Path):
    def ended(program: str) -> list[list[Any]]:
        return [
            ["ask", "terminal/create", {**IN_SESSION, "command": "sh", "args": ["-c", program]}],
            ["ask", "terminal/wait_for_exit", IN_TERMINAL],
        ]

    _, killed, _, failed = await answers(tmp_path, *ended("kill -9 $$"), *ended("exit 255"))
    assert (killed.get("exitCode"), killed["signal"]) == (None, "SIGKILL")
    assert (failed["exitCode"], failed.get("signal")) == (255, None)


@pytest.mark.requirement("rule 24")
async def test_rule_24_lines_are_counted_from_one_and_a_missing_file_is_not_found(tmp_path: Path):
    (tmp_path / "a.txt").write_text("one\ntwo\nthree\nfour\n")

    def read(**more: Any) -> list[Any]:
        return ["ask", "fs/read_text_file", {**IN_SESSION, "path": f"{tmp_path}/a.txt", **more}]

    first, two, beyond, none, missing = await answers(
        tmp_path,
        read(line=1, limit=1),
        read(line=2, limit=2),
        read(line=9),
        read(limit=0),
        read(path=f"{tmp_path}/missing"),
    )
    assert [it["content"] for it in (first, two, beyond, none)] == ["one\n", "two\nthree\n", "", ""]
    assert missing["code"] == NOT_FOUND


@pytest.mark.requirement("rule 25")
async def test_rule_25_stderr_is_drained_and_the_end_is_told_with_its_last_words(tmp_path: Path):
    with anyio.fail_after(20):
        async with fixture("stderr_flood", tmp_path) as connector:
            session = await connector.new_session(str(tmp_path))
            assert (await session.prompt(str(1 << 20))).stop_reason == "end_turn"
            assert connector.stderr_tail().endswith("the last words")
        async with fixture("exits", tmp_path, "3", "session/prompt") as connector:
            session = await connector.new_session(str(tmp_path))
            with pytest.raises(AgentExited) as why:
                await session.prompt("go")
    assert why.value.exit is not None
    assert why.value.exit.code == 3
    assert why.value.stderr.endswith("these are the last words")


@pytest.mark.requirement("rule 26")
async def test_rule_26_what_is_not_offered_is_not_asked_for(tmp_path: Path):
    (tmp_path / "library").mkdir()
    sent: list[Json] = []
    with anyio.fail_after(20):
        async with fixture("asks", tmp_path) as connector:
            session = await connector.new_session(str(tmp_path), directories=[str(tmp_path / "library")])
            sent = json.loads((await session.prompt("report")).text)
    assert [sorted(it["params"]) for it in sent if it["method"] == "session/new"] == [["cwd", "mcpServers"]]
    assert {it["method"] for it in sent} == {"initialize", "session/new", "session/prompt"}


@pytest.mark.requirement("rule 27")
async def test_rule_27_no_address_is_opened_unasked(tmp_path: Path):
    url = {**IN_SESSION, "mode": "url", "message": "Sign in", "elicitationId": "e1", "url": "https://example.org/x"}

    async def fill(form: Any) -> Any:
        raise AssertionError("nobody is to be asked")

    client = Client(policy=allow_once, fill=fill)
    assert "url" not in client.capabilities()["elicitation"]
    (refused,) = await answers(tmp_path, ["ask", "elicitation/create", url], client=client)
    assert refused["code"] == INVALID_PARAMS
    client.elicitation_complete(CompleteElicitationNotification.model_validate({"elicitationId": "nobody's"}))
    assert client.counts["elicitation.unknown"] == 1

    shown: list[str] = []

    async def visit(asked: Any) -> Any:
        shown.append(asked.url)
        return "decline" if asked.message == "no" else "accept"

    client = Client(visit=visit)
    assert client.capabilities()["elicitation"] == {"url": {}}
    told = [["ask", "elicitation/create", {**url, "message": message}] for message in ("Sign in", "no")]
    assert await answers(tmp_path, *told, client=client) == [{"action": "accept"}, {"action": "decline"}]
    assert shown == ["https://example.org/x"] * 2
    client.elicitation_complete(CompleteElicitationNotification.model_validate({"elicitationId": "e1"}))
    assert dict(client.counts) == {"elicitation.complete": 1}


@pytest.mark.requirement("rule 28")
async def test_rule_28_an_option_of_an_unknown_kind_is_ignored(tmp_path: Path):
    choices = [{"value": "a", "name": "A"}]
    known = {"type": "select", "id": "m", "name": "Model", "currentValue": "a", "options": choices}
    strange = {"type": "dial", "id": "d", "name": "Dial", "currentValue": 7}
    told = {"sessionUpdate": "config_option_update", "configOptions": [strange, {**known, "category": "_fancy"}]}
    with anyio.fail_after(20):
        async with fixture("asks", tmp_path) as connector:
            session = await connector.new_session(str(tmp_path))
            seen = [update async for update in session.stream(json.dumps([["update", told]]))]
    assert [it.session_update for it in seen] == ["config_option_update", "agent_message_chunk"]
    assert [(it.id, it.category) for it in seen[0].config_options] == [("m", "_fancy")]
