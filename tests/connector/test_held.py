"""An agent that does not ask is held by the same policy as one that does, and nobody is asked twice."""

import json
import sys
from pathlib import Path
from typing import Any

import anyio

from acp_wire import build
from connector import Client, Command, Limits, allow_once, ask, deny_all, launch
from connector.permissions import Act

ASKS = Path(__file__).parents[2] / "fixtures" / "agents" / "asks.py"
IN_SESSION = {"sessionId": "$session"}
OPTIONS = [build.permission_option("yes", "Yes", "allow_once"), build.permission_option("no", "No", "reject_once")]


def write(path: Path, text: str) -> list[Any]:
    return ["ask", "fs/write_text_file", {**IN_SESSION, "path": str(path), "content": text}]


def run(*argv: str, **more: Any) -> list[Any]:
    return ["ask", "terminal/create", {**IN_SESSION, "command": argv[0], "args": list(argv[1:]), **more}]


def may_i(**call: Any) -> list[Any]:
    return [
        "ask",
        "session/request_permission",
        {**IN_SESSION, "toolCall": {"toolCallId": "t", **call}, "options": OPTIONS},
    ]


async def answers(cwd: Path, client: Client, *turns: list[Any]) -> list[Any]:
    """What the agent is answered, turn by turn."""
    command = Command("asks", [sys.executable, "-S", str(ASKS)])
    with anyio.fail_after(20):
        async with launch(command, client, cwd=str(cwd), limits=Limits(late=0)) as connector:
            session = await connector.new_session(str(cwd))
            return [json.loads((await session.prompt(json.dumps(steps))).text) for steps in turns]


class Person:
    """Says yes and remembers what they were asked."""

    def __init__(self, says: str = "allow_once") -> None:
        self.asked: list[Act] = []
        self._says = says

    async def __call__(self, act: Act) -> str | None:
        self.asked.append(act)
        return next(option.option_id for option in act.options if option.kind == self._says)


async def test_an_agent_that_never_asks_writes_and_runs_nothing_that_the_policy_refuses(tmp_path: Path) -> None:
    (told,) = await answers(
        tmp_path,
        Client(policy=deny_all),
        [write(tmp_path / "a.txt", "x"), run("touch", str(tmp_path / "b")), run("sh", "-c", "touch c")],
    )
    assert ["PERMISSION_DENIED" in answer["message"] for answer in told] == [True] * 3
    assert list(tmp_path.iterdir()) == []


async def test_what_only_reads_inside_the_roots_is_not_asked_about(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    find = run("find", ".", "-type", "f", "-print0")
    (told,) = await answers(tmp_path, Client(policy=deny_all), [find, run("find", "..", "-type", "f")])
    assert "terminalId" in told[0]
    assert "PERMISSION_DENIED" in told[1]["message"]
    with_variable = run("find", ".", "-type", "f", env=[{"name": "PATH", "value": str(tmp_path)}])
    ((refused,),) = await answers(tmp_path, Client(policy=deny_all), [with_variable])
    assert "PERMISSION_DENIED" in refused["message"]


async def test_a_permission_covers_the_act_until_the_turn_ends_and_the_next_turn_asks_again(tmp_path: Path) -> None:
    person = Person()
    path = tmp_path / "a.txt"
    diff = {"kind": "edit", "content": [build.diff(str(path), None, "new\n")]}
    command = {"kind": "execute", "rawInput": {"command": "touch b"}}
    asked = [may_i(**diff), write(path, "new\n"), may_i(**command), run("sh", "-c", "touch b"), run("touch", "b")]
    first, second = await answers(tmp_path, Client(policy=ask(person)), asked, [write(path, "new\n")])
    assert [act.asked for act in person.asked] == [True, True, False]
    assert [answer.get("outcome", {}).get("optionId") for answer in (first[0], first[2])] == ["yes", "yes"]
    assert (first[1], second) == ({}, [{}])
    assert all("terminalId" in answer for answer in first[3:])


async def test_a_write_that_is_not_what_was_shown_is_asked_about_with_its_diff(tmp_path: Path) -> None:
    person = Person()
    path = tmp_path / "a.txt"
    path.write_text("old\n")
    shown = {"kind": "edit", "content": [build.diff(str(path), "old\n", "new\n")]}
    await answers(tmp_path, Client(policy=ask(person)), [may_i(**shown), write(path, "something else\n")])
    assert len(person.asked) == 2
    (diff,) = person.asked[1].tool_call.content or ()
    assert (diff.old_text, diff.new_text) == ("old\n", "something else\n")


async def test_after_a_refusal_the_act_is_refused(tmp_path: Path) -> None:
    person = Person("reject_once")
    shown = {"kind": "edit", "content": [build.diff(str(tmp_path / "a"), None, "x")]}
    ((asked, wrote),) = await answers(
        tmp_path, Client(policy=ask(person)), [may_i(**shown), write(tmp_path / "a", "x")]
    )
    assert asked["outcome"]["optionId"] == "no"
    assert "PERMISSION_DENIED" in wrote["message"]
    assert list(tmp_path.iterdir()) == []


async def test_after_a_cancel_nothing_is_done_any_more(tmp_path: Path) -> None:
    """S3: the turn's later acts are skipped, whatever the policy would say."""
    waits = ["update", build.agent_message_chunk("waiting")]
    command = Command("asks", [sys.executable, "-S", str(ASKS)])
    steps = [waits, ["cancelled"], write(tmp_path / "a", "x"), run("touch", "b")]
    with anyio.fail_after(20):
        async with launch(command, Client(policy=allow_once), cwd=str(tmp_path)) as connector:
            session = await connector.new_session(str(tmp_path))
            turn = session.start(json.dumps(steps))
            await anext(aiter(turn))
            session.cancel()
            assert await turn.result() == "cancelled"
    told = json.loads(turn.text.removeprefix("waiting"))
    assert [answer["code"] for answer in told] == [-32800, -32800]
    assert list(tmp_path.iterdir()) == []


async def test_a_protected_path_is_asked_about_behind_a_link_too(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "innocent").symlink_to(".git/config")
    writes = [write(tmp_path / name, "x") for name in ("innocent", ".git/config", "plain")]
    ((behind, inside, plain),) = await answers(tmp_path, Client(policy=allow_once), writes)
    assert "protected" in behind["message"]
    assert "protected" in inside["message"]
    assert plain == {}


async def test_a_file_with_secrets_is_read_when_a_person_allows_it(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("KEY=1")
    read = ["ask", "fs/read_text_file", {**IN_SESSION, "path": str(tmp_path / ".env")}]
    ((refused,),) = await answers(tmp_path, Client(policy=allow_once), [read])
    assert "protected" in refused["message"]
    person = Person()
    ((once, again),) = await answers(tmp_path, Client(policy=ask(person)), [read, read])
    assert once == again == {"content": "KEY=1"}
    assert [(act.kind, act.protected) for act in person.asked] == [("read", True)]


async def test_every_decision_is_recorded_with_who_decided(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = []
    client = Client(policy=ask(Person()), on_decision=records.append)
    diff = {"kind": "edit", "content": [build.diff(str(tmp_path / "a"), None, "x")]}
    await answers(tmp_path, client, [may_i(**diff), write(tmp_path / "a", "x"), run("touch", "b")])
    assert [(it["by"], it["asked"], it["allowed"], it["kind"]) for it in records] == [
        ("person", True, True, "edit"),
        ("grant", False, True, "edit"),
        ("person", False, True, "execute"),
    ]
