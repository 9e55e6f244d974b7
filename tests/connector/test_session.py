"""One conversation: what is sent and what is not, the order of prompts, cancelling, limits, the history."""

import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from connector import (
    AgentError,
    AgentExited,
    AgentTimeout,
    Client,
    Command,
    Connector,
    ConnectorError,
    Limits,
    NotOffered,
    allow_once,
    ask,
    is_late,
    launch,
    seq_of,
)

ABLE = Path(__file__).parents[2] / "fixtures" / "agents" / "able.py"
QUICK = Limits(initialize=20, session=20, late=0.05)
TEXT = {"type": "text", "text": "x"}


@contextlib.asynccontextmanager
async def able(cwd: Path, told: dict[str, Any] | None = None, **more: Any) -> AsyncIterator[Connector]:
    command = Command("able", [sys.executable, "-S", str(ABLE), json.dumps(told or {})])
    with anyio.fail_after(30):
        async with launch(command, Client(), cwd=str(cwd), **{"limits": QUICK, **more}) as connector:
            yield connector


async def sent(connector: Connector, cwd: Path, method: str) -> list[Any]:
    """The params of every message of that method that the agent has got."""
    reporter = await connector.new_session(str(cwd))
    heard = json.loads((await reporter.prompt("report")).text)
    return [message["params"] for message in heard if message.get("method") == method]


# ── what is sent ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_only_what_is_new_is_sent_and_the_system_prompt_once(tmp_path: Path) -> None:
    async with able(tmp_path, system_prompt="Be brief.") as connector:
        await connector.execute("one")
        await connector.follow_up("two")
        await connector.execute([{"type": "text", "text": "three"}])
        prompts = await sent(connector, tmp_path, "session/prompt")
    texts = [[block["text"] for block in prompt["prompt"]] for prompt in prompts]
    assert texts == [["Be brief.", "one"], ["two"], ["three"], ["Be brief.", "report"]]


async def test_each_session_has_a_system_prompt_of_its_own(tmp_path: Path) -> None:
    async with able(tmp_path, system_prompt="the same for all") as connector:
        for system in ("a reviewer", "", None):
            session = await connector.new_session(str(tmp_path), system_prompt=system)
            await session.prompt("go")
        prompts = (await sent(connector, tmp_path, "session/prompt"))[:-1]
    assert [len(prompt["prompt"]) for prompt in prompts] == [2, 1, 2]
    assert [prompt["prompt"][0]["text"] for prompt in prompts] == ["a reviewer", "go", "the same for all"]


async def test_a_refused_first_prompt_is_forgotten_so_the_system_prompt_goes_again(tmp_path: Path) -> None:
    async with able(tmp_path, system_prompt="Be brief.") as connector:
        assert await connector.execute("refuse") == ""
        await connector.execute("one")
        prompts = await sent(connector, tmp_path, "session/prompt")
    assert [block["text"] for block in prompts[1]["prompt"]] == ["Be brief.", "one"]


@pytest.mark.parametrize(
    ("block", "flag"),
    [
        ({"type": "image", "data": "aGk=", "mimeType": "image/png"}, "image"),
        ({"type": "audio", "data": "aGk=", "mimeType": "audio/wav"}, "audio"),
        ({"type": "resource", "resource": {"uri": "file:///a", "text": "a"}}, "embeddedContext"),
    ],
)
async def test_content_goes_to_agents_that_take_it_and_is_refused_before_sending_for_others(
    tmp_path: Path, block: dict[str, Any], flag: str
) -> None:
    async with able(tmp_path) as connector:
        session = await connector.new_session(str(tmp_path))
        with pytest.raises(NotOffered, match=f"does not offer `promptCapabilities.{flag}`") as why:
            await session.prompt([block, TEXT])
        assert why.value.capability == f"promptCapabilities.{flag}"
        assert session.turns == []
        assert await sent(connector, tmp_path, "session/prompt") == [
            {"sessionId": "s2", "prompt": [{"type": "text", "text": "report"}]}
        ]
    async with able(tmp_path, {"capabilities": {"promptCapabilities": {flag: True}}}) as connector:
        session = await connector.new_session(str(tmp_path))
        await session.prompt([block, TEXT])
        assert (await sent(connector, tmp_path, "session/prompt"))[0]["prompt"] == [block, TEXT]


async def test_links_need_no_capability_and_what_is_no_content_is_refused(tmp_path: Path) -> None:
    async with able(tmp_path) as connector:
        session = await connector.new_session(str(tmp_path))
        link = {"type": "resource_link", "uri": "file:///a", "name": "a"}
        assert (await session.prompt([link, TEXT])).text == "you said x"
        for wrong in ([], [{"type": "video"}], [{"text": "x"}], [{"type": "text"}]):
            with pytest.raises(ValueError, match=r"block|content"):
                session.start(wrong)


async def test_mcp_servers_go_to_agents_that_reach_their_kind(tmp_path: Path) -> None:
    http = {"type": "http", "name": "web", "url": "http://127.0.0.1:1", "headers": []}
    stdio = {"name": "own", "command": "true", "args": [], "env": []}
    async with able(tmp_path) as connector:
        with pytest.raises(NotOffered, match=r"mcpCapabilities\.http"):
            await connector.new_session(str(tmp_path), mcp_servers=[http])
        await connector.new_session(str(tmp_path), mcp_servers=[stdio], meta={"x": 1})
        opened = await sent(connector, tmp_path, "session/new")
    assert (opened[0]["mcpServers"], opened[0]["_meta"]) == ([stdio], {"x": 1})


# ── what comes back ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_history_holds_pairs_with_thoughts_and_tool_calls(tmp_path: Path) -> None:
    async with able(tmp_path) as connector:
        assert connector.get_session_history() == []
        with pytest.raises(ConnectorError, match="nothing can follow yet"):
            await connector.follow_up("and?")
        assert await connector.execute("everything") == "Done."
        kinds = [update.session_update async for update in connector.stream("next")]
        first, second = connector.get_session_history()
    assert kinds == ["agent_message_chunk"]
    assert (first.prompt, first.response, first.thought, first.stop_reason) == (
        "everything",
        "Done.",
        "Hm.",
        "end_turn",
    )
    assert [(call.title, call.kind, call.status) for call in first.tool_calls] == [("Look", "read", "completed")]
    assert (second.prompt, second.response, second.tool_calls) == ("next", "you said next", ())


async def test_what_comes_in_one_read_with_the_answer_is_late_and_the_turns_own(tmp_path: Path) -> None:
    outside: list[Any] = []
    async with able(tmp_path) as connector:
        session = await connector.new_session(str(tmp_path), outside=outside.append)
        turns = [session.start("both"), session.start("next")]
        seen = [[update.content.text async for update in turn] for turn in turns]
    assert seen == [["early"], ["you said next"]]
    assert [update.content.text for update in turns[0].late] == [" late"]
    assert all(map(is_late, turns[0].late))
    assert outside == turns[0].late
    assert turns[0].text == "early late"
    assert turns[1].late == []


async def test_an_update_carries_the_number_that_its_agent_gave_it(tmp_path: Path) -> None:
    async with able(tmp_path) as connector:
        numbers = [seq_of(update) async for update in connector.stream("numbered")]
        assert numbers == [7]
        assert [seq_of(update) async for update in connector.stream("x")] == [None]


# ── the queue and cancelling ────────────────────────────────────────────────────────────────────────────────────────


async def test_prompts_queue_in_order_and_a_cancel_answers_all_of_them(tmp_path: Path) -> None:
    async with able(tmp_path) as connector:
        session = await connector.new_session(str(tmp_path))
        running, *queued = [session.start(word) for word in ("wait", "two", "three")]
        assert await anext(aiter(running))
        assert (session.running, session.queue) == (running, queued)
        session.cancel()
        assert session.queue == []
        assert [turn.state for turn in queued] == ["done", "done"]
        assert [await turn.result() for turn in (running, *queued)] == ["cancelled"] * 3
        assert session.running is None
        assert (await session.prompt("four")).text == "you said four"
        sent_words = [prompt["prompt"][0]["text"] for prompt in await sent(connector, tmp_path, "session/prompt")]
    assert sent_words == ["wait", "four", "report"]


async def test_one_cancel_is_sent_for_one_turn_and_none_for_an_idle_session(tmp_path: Path) -> None:
    async with able(tmp_path) as connector:
        session = await connector.new_session(str(tmp_path))
        session.cancel()
        turn = session.start("wait")
        await anext(aiter(turn))
        for _ in range(3):
            session.cancel()
        await turn.result()
        session.cancel()
        assert await sent(connector, tmp_path, "session/cancel") == [{"sessionId": "s1"}]


async def test_an_agent_that_ignores_the_cancel_is_given_up_and_killed(tmp_path: Path) -> None:
    async with able(tmp_path, limits=Limits(cancel=0.2, late=0)) as connector:
        session = await connector.new_session(str(tmp_path))
        turn = session.start("hang")
        await anext(aiter(turn))
        session.cancel()
        assert await turn.result() == "cancelled"
        with pytest.raises(AgentExited, match=r"killed by SIGKILL.*ignored session/cancel for 0\.2 s"):
            await session.prompt("again")
        assert not connector.is_alive()


async def test_a_cancelled_turn_that_ends_in_an_error_is_a_cancelled_turn(tmp_path: Path) -> None:
    async with able(tmp_path) as connector:
        session = await connector.new_session(str(tmp_path))
        turn = session.start("sulk")
        await anext(aiter(turn))
        session.cancel()
        assert await turn.result() == "cancelled"
        assert (await session.prompt("next")).text == "you said next"


async def test_a_turn_is_cancelled_when_its_caller_is(tmp_path: Path) -> None:
    async with able(tmp_path) as connector:
        session = await connector.new_session(str(tmp_path))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.prompt, "wait")
            while session.running is None or not session.running.text:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        assert await session.turns[0].result() == "cancelled"


# ── limits ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (Limits(idle=1, late=0), "not a word during session/prompt within 1 s"),
        (Limits(turn=1, late=0), "no answer to session/prompt within 1 s"),
    ],
    ids=["idle", "turn"],
)
async def test_a_turn_that_takes_too_long_is_cancelled_and_told(tmp_path: Path, limits: Limits, told: str) -> None:
    async with able(tmp_path, limits=limits) as connector:
        session = await connector.new_session(str(tmp_path))
        with pytest.raises(AgentTimeout, match=told):
            await session.prompt("silence")
        assert connector.is_alive()
        assert (await session.prompt("go on")).text == "you said go on"
        assert await sent(connector, tmp_path, "session/cancel") == [{"sessionId": "s1"}]


async def test_an_agent_that_waits_for_the_person_is_not_silent(tmp_path: Path) -> None:
    asked = anyio.Event()

    async def person(act: Any) -> str:
        asked.set()
        with anyio.move_on_after(1.5):
            await anyio.sleep_forever()
        return "no"

    question = {"sessionId": "$session", "toolCall": {"toolCallId": "t"}, "options": []}
    question["options"] = [{"optionId": "no", "name": "No", "kind": "reject_once"}]
    asks = Command("asks", [sys.executable, "-S", str(ABLE.with_name("asks.py"))])
    limits = Limits(idle=1, late=0)
    async with launch(asks, Client(policy=ask(person)), cwd=str(tmp_path), limits=limits) as connector:
        session = await connector.new_session(str(tmp_path))
        turn = await session.prompt(json.dumps([["ask", "session/request_permission", question]]))
    assert asked.is_set()
    assert json.loads(turn.text) == [{"outcome": {"outcome": "selected", "optionId": "no"}}]


# ── modes, models, options, kept sessions ───────────────────────────────────────────────────────────────────────────

MODES = {"currentModeId": "ask", "availableModes": [{"id": "ask", "name": "Ask"}, {"id": "yolo", "name": "Yolo"}]}
CHOICES = [{"value": "a", "name": "A"}, {"value": "b", "name": "B"}]
MODEL = {"type": "select", "id": "m", "name": "Model", "category": "model", "currentValue": "a", "options": CHOICES}
MODELS = {"currentModelId": "a", "availableModels": [{"modelId": "a", "name": "A"}, {"modelId": "b", "name": "B"}]}


async def test_modes_models_and_options_are_set_where_the_session_has_them(tmp_path: Path) -> None:
    async with able(tmp_path, {"session": {"modes": MODES, "configOptions": [MODEL]}}) as connector:
        session = await connector.new_session(str(tmp_path))
        await session.set_mode("yolo")
        await session.set_config_option("m", "b")
        await session.set_model("b")
        assert session.modes is not None
        assert session.modes.current_mode_id == "yolo"
        for wrong in (session.set_mode("none"), session.set_config_option("none", "x")):
            with pytest.raises(ValueError, match="there is no"):
                await wrong
        set_options = await sent(connector, tmp_path, "session/set_config_option")
        set_modes = await sent(connector, tmp_path, "session/set_mode")
    assert set_options == [{"sessionId": "s1", "configId": "m", "value": "b"}] * 2
    assert set_modes == [{"sessionId": "s1", "modeId": "yolo"}]
    async with able(tmp_path, {"session": {"models": MODELS}}) as connector:
        session = await connector.new_session(str(tmp_path))
        await session.set_model("b")
        assert await sent(connector, tmp_path, "session/set_model") == [{"sessionId": "s1", "modelId": "b"}]


NOT_OFFERED: dict[str, Callable[[Connector, Any], Any]] = {
    "modes": lambda connector, session: session.set_mode("x"),
    "configOptions": lambda connector, session: session.set_config_option("x", "y"),
    "models": lambda connector, session: session.set_model("x"),
    "loadSession": lambda connector, session: connector.load_session("x", "/"),
    "sessionCapabilities.resume": lambda connector, session: connector.resume_session("x", "/"),
    "sessionCapabilities.list": lambda connector, session: connector.list_sessions(),
    "sessionCapabilities.delete": lambda connector, session: connector.delete_session("x"),
    "authMethods": lambda connector, session: connector.authenticate("x"),
    "auth.logout": lambda connector, session: connector.logout(),
}


@pytest.mark.parametrize("capability", NOT_OFFERED)
async def test_what_is_not_offered_is_told_by_its_name_and_never_sent(tmp_path: Path, capability: str) -> None:
    async with able(tmp_path) as connector:
        session = await connector.new_session(str(tmp_path))
        with pytest.raises(NotOffered, match=f"^able: .*does not offer `{capability}`") as why:
            await NOT_OFFERED[capability](connector, session)
        assert why.value.capability == capability
        heard = json.loads((await session.prompt("report")).text)
    assert [message["method"] for message in heard] == ["initialize", "session/new", "session/prompt"]


KEPT = {
    "capabilities": {
        "loadSession": True,
        "sessionCapabilities": {"list": {}, "resume": {}, "close": {}, "delete": {}},
    },
    "sessions": [{"sessionId": f"k{number}", "cwd": "/"} for number in range(3)],
    "session": {"modes": MODES},
}


async def test_kept_sessions_are_listed_page_by_page_and_loaded_with_their_history(tmp_path: Path) -> None:
    shown: list[str] = []
    async with able(tmp_path, KEPT, system_prompt="never for what is kept") as connector:
        assert [info.session_id for info in await connector.list_sessions()] == ["k0", "k1", "k2"]
        session = await connector.load_session(
            "k1", str(tmp_path), outside=lambda update: shown.append(update.content.text)
        )
        assert [(turn.prompt, turn.response) for turn in session.log()] == [
            ("first prompt", "first reply"),
            ("second", ""),
        ]
        assert shown == ["first ", "prompt", "first reply", "second"]
        assert session.modes is not None
        assert (await session.prompt("third")).text == "you said third"
        assert [turn.prompt for turn in session.log()] == ["first prompt", "second", "third"]
        with pytest.raises(ConnectorError, match="open already"):
            await connector.load_session("k1", str(tmp_path))

        resumed = await connector.resume_session("k2", str(tmp_path))
        assert resumed.log() == []
        assert (await resumed.prompt("go")).text == "you said go"
        await resumed.close()
        await resumed.close()
        with pytest.raises(ConnectorError, match="closed"):
            resumed.start("more")
        assert await sent(connector, tmp_path, "session/close") == [{"sessionId": "k2"}]
        await connector.delete_session("k2")
        assert await sent(connector, tmp_path, "session/delete") == [{"sessionId": "k2"}]


async def test_closing_a_session_ends_what_runs_in_it_also_where_the_agent_has_no_close(tmp_path: Path) -> None:
    async with able(tmp_path) as connector:
        session = await connector.new_session(str(tmp_path))
        turn = session.start("wait")
        await anext(aiter(turn))
        await session.close()
        assert await turn.result() == "cancelled"
        assert await sent(connector, tmp_path, "session/close") == []


async def test_a_session_that_is_gone_is_an_error_and_never_a_fresh_one(tmp_path: Path) -> None:
    from connector import SessionNotFound

    fails = {"session/load": {"code": -32002, "message": "no such session", "data": {"sessionId": "k9"}}}
    async with able(tmp_path, {**KEPT, "fails": fails}) as connector:
        with pytest.raises(SessionNotFound, match="no such session"):
            await connector.load_session("k9", str(tmp_path))
        assert connector.sessions == {}


# ── an agent that ends ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("way", ["resume", "load"])
async def test_an_agent_that_has_ended_is_started_again_for_the_next_prompt(tmp_path: Path, way: str) -> None:
    offered = {"loadSession": True} if way == "load" else {"sessionCapabilities": {"resume": {}}}
    async with able(tmp_path, {"capabilities": offered}, system_prompt="Be brief.") as connector:
        await connector.execute("one")
        first = connector.pid
        with pytest.raises(AgentExited, match="exit status 3"):
            await connector.execute("die")
        assert await connector.follow_up("two") == "you said two"
        assert connector.pid != first
        heard = json.loads(await connector.execute("report"))
        history = [(it.prompt, it.response) for it in connector.get_session_history()][:3]
    assert [message["method"] for message in heard] == ["initialize", f"session/{way}", *["session/prompt"] * 2]
    assert heard[1]["params"] == {"sessionId": "s1", "cwd": str(tmp_path), "mcpServers": []}
    assert heard[2]["params"]["prompt"] == [{"type": "text", "text": "two"}]
    assert history == [("one", "you said one"), ("die", "half"), ("two", "you said two")]


async def test_a_session_that_cannot_be_taken_up_is_lost_and_told_so(tmp_path: Path) -> None:
    async with able(tmp_path) as connector:
        with pytest.raises(AgentExited):
            await connector.execute("die")
        with pytest.raises(NotOffered, match="lost with its process: the session 's1'"):
            await connector.execute("one")
        assert connector.sessions == {}
        assert await connector.execute("a new beginning") == "you said a new beginning"


async def test_an_agent_that_ends_again_and_again_is_left_alone(tmp_path: Path) -> None:
    pids = []
    async with able(tmp_path, {"capabilities": {"loadSession": True}}) as connector:
        for _ in range(5):
            with pytest.raises(AgentExited):
                await connector.execute("die")
            pids.append(connector.pid)
        with pytest.raises(ConnectorError, match="started again 4 times within 180 s: not once more"):
            await connector.execute("die")
    assert len(set(pids)) == 5


# ── signing in, and what an error tells ─────────────────────────────────────────────────────────────────────────────

WAYS = [
    {"id": "key", "name": "API key", "description": "set ABLE_KEY"},
    {"type": "terminal", "id": "term", "name": "In a terminal", "args": ["login"], "env": {"A": "b"}},
]


async def test_a_missing_sign_in_tells_every_way_and_is_made_where_we_know_which(tmp_path: Path) -> None:
    told = {"auth": WAYS, "signedOut": "key"}
    async with able(tmp_path, told) as connector:
        with pytest.raises(ConnectorError, match="Authentication required") as why:
            await connector.new_session(str(tmp_path))
        assert "API key: authenticate with the method `key`  # set ABLE_KEY" in str(why.value)
        assert "In a terminal: run `A=b" in str(why.value)
        assert " login`" in str(why.value)
        with pytest.raises(NotOffered, match="there are key"):
            await connector.authenticate("term")
        await connector.authenticate("key")
        assert await connector.execute("hi") == "you said hi"
    async with able(tmp_path, told, sign_in="key") as connector:
        assert await connector.execute("hi") == "you said hi"
        assert await sent(connector, tmp_path, "authenticate") == [{"methodId": "key"}]


async def test_an_error_tells_who_what_which_request_how_long_and_hides_secrets(tmp_path: Path) -> None:
    data = {"details": "the key sk-abcdef0123456789 is no good, hunter2hunter2 neither"}
    fails = {"session/prompt": {"code": -32603, "message": "quota", "data": data}}
    command = Command(
        "able", [sys.executable, "-S", str(ABLE), json.dumps({"fails": fails})], env={"ABLE_TOKEN": "hunter2hunter2"}
    )
    async with launch(command, Client(policy=allow_once), cwd=str(tmp_path), limits=QUICK) as connector:
        with pytest.raises(AgentError, match=r"^able: quota: the key") as why:
            await connector.execute("x")
    told = why.value
    assert (told.agent, told.method, told.asked.request_id, told.code) == ("able", "session/prompt", 3, -32603)
    assert told.asked.elapsed > 0
    assert told.details == "the key [redacted] is no good, [redacted] neither"
    assert "request 3, after" in str(told)
    assert "hunter2" not in str(told) + repr(told.data)
