"""`_session/steering`: a message joins the turn that runs, or begins one."""

from typing import Any

import anyio
import pytest

from acp_wire import methods
from acp_wire.connection import Call
from acp_wire.errors import INVALID_PARAMS, NOT_FOUND, RpcError
from tests.support.in_memory import Client, House, house

IDLE = {"_meta": {"steering": {"idleBehavior": "promptRequired"}}}
PROMPT_REQUIRED = ("promptRequired", "noRunningTurn")
READ = """
=== turn
call read_file {"path": "a.txt"}
--- step
say: never asked for
=== turn
say: steered: $prompt
=== turn
say: later: $prompt
"""


class Slow(Client):
    """Its files come when `go_on` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.files["/project/a.txt"] = "a"
        self.go_on = anyio.Event()

    async def fs_read_text_file(self, params: Any, call: Call) -> dict[str, Any]:
        if params.path.endswith("a.txt"):
            self.reading.set()
            await self.go_on.wait()
        return await super().fs_read_text_file(params, call) if params.path in self.files else {"content": ""}


async def steer(it: House, text: str = "stop that", session: str | None = None, **params: Any) -> tuple[str, Any]:
    params |= {"sessionId": session or it.session, "prompt": [{"type": "text", "text": text}]}
    answer = await it.wire.request(methods.SESSION_STEERING, params)
    return answer.outcome, answer.reason


def roles(it: House) -> list[tuple[str, Any]]:
    history = it.agent._sessions.active[it.session].history
    return [(message["role"], message["content"]) for message in history.messages]


async def test_it_is_advertised_where_clients_look_for_it() -> None:
    async with house("=== turn\nsay: x\n") as it:
        [initialized] = [m["result"] for m in it.stream.sent if "protocolVersion" in m.get("result", {})]
        assert initialized["_meta"] == {"steering": {"supported": True}}


async def test_a_message_joins_the_running_turn_before_its_next_request() -> None:
    client = Slow()
    stops: list[str] = []
    async with house(READ, client=client) as it, anyio.create_task_group() as tasks:

        async def prompt() -> None:
            stops.append(await it.prompt("read it"))

        tasks.start_soon(prompt)
        await client.reading.wait()
        assert await steer(it) == ("injected", None)
        client.go_on.set()
        await it.update(lambda update: update["sessionUpdate"] == "user_message_chunk")
        async with it.agent._sessions.active[it.session].turn:
            pass
        assert it.said() == "steered: stop that"
        kinds = [role for role, _ in roles(it)]
        assert kinds == ["user", "assistant", "tool", "user", "assistant"]
        # In the log and on the wire it stands where it joined, under one number.
        [(number, entry)] = [(n, e) for n, e in (await it.store.open(it.session)).read() if e["type"] == "steer"]
        assert entry["text"] == "stop that"
        [shown] = [u for u in it.client.updates if u["update"]["sessionUpdate"] == "user_message_chunk"]
        assert shown["_meta"]["ars/seq"] == number
        assert shown["update"]["messageId"] == f"user_{number}"
    assert stops == ["end_turn"]


async def test_a_turn_whose_last_reply_is_said_goes_on_for_a_message_that_waits() -> None:
    script = "=== turn\nsay: one\nwait 0.05\nsay: two\n=== turn\nsay: and $prompt\n"
    async with house(script) as it, anyio.create_task_group() as tasks:
        tasks.start_soon(it.prompt)
        await it.update(lambda update: update["sessionUpdate"] == "agent_message_chunk")
        assert await steer(it, "three") == ("injected", None)
        assert await steer(it, "four") == ("injected", None)
    turns = [entry["stop"] for entry in await it.entries() if entry["type"] == "turn"]
    assert turns == ["end_turn"]
    assert [content for role, content in roles(it) if role == "user"] == ["go", "three", "four"]


async def test_the_next_turn_and_a_loaded_session_know_what_joined() -> None:
    client = Slow()
    async with house(READ, client=client) as it, anyio.create_task_group() as tasks:
        tasks.start_soon(it.prompt)
        await client.reading.wait()
        await steer(it)
        client.go_on.set()
        assert await it.prompt("more") == "end_turn"
        assert it.said().endswith("later: more")
        live = roles(it)
        await it.wire.request(methods.SESSION_CLOSE, {"sessionId": it.session})
        it.client.updates.clear()
        await it.wire.request(methods.SESSION_LOAD, {"sessionId": it.session, "cwd": "/project", "mcpServers": []})
        shown = [u["update"] for u in it.client.updates if u["update"]["sessionUpdate"] == "user_message_chunk"]
        assert [update["content"]["text"] for update in shown] == ["go", "stop that", "more"]
        assert roles(it) == live


async def test_without_a_turn_it_begins_one_whose_updates_come_and_a_prompt_waits_behind_it() -> None:
    async with house("=== turn\nsay: own: $prompt\nwait 0.02\n=== turn\nsay: then: $prompt\n") as it:
        assert await steer(it, "do this") == ("startedNewTurn", None)
        await it.update(lambda update: update["sessionUpdate"] == "agent_message_chunk")
        assert await it.prompt("and that") == "end_turn"
        assert it.said() == "own: do thisthen: and that"
        kinds = [entry["type"] for entry in await it.entries()]
        assert [kind for kind in kinds if kind in ("prompt", "steer", "turn")] == ["prompt", "turn"] * 2


async def test_a_client_that_wants_to_prompt_by_itself_is_told_that_no_turn_runs() -> None:
    async with house("=== turn\nsay: x\n") as it:
        assert await steer(it, **IDLE) == PROMPT_REQUIRED
        assert [entry["type"] for entry in await it.entries()] == ["session"]


async def test_cancel_ends_a_turn_that_nobody_waits_for() -> None:
    client = Slow()
    async with house(READ, client=client) as it:
        assert await steer(it, "read it") == ("startedNewTurn", None)
        await client.reading.wait()
        it.cancel()
        session = it.agent._sessions.active[it.session]
        await session.idle()
        last = (await it.entries())[-1]
        assert last == {**last, "type": "turn", "stop": "cancelled"}
        assert await it.prompt("more") == "end_turn"


@pytest.mark.parametrize(("params", "outcome"), [({}, ("startedNewTurn", None)), (IDLE, PROMPT_REQUIRED)])
async def test_a_message_for_a_turn_that_was_just_cancelled_is_not_lost(params: Any, outcome: Any) -> None:
    client = Slow()
    async with house(READ, client=client) as it, anyio.create_task_group() as tasks:
        tasks.start_soon(it.prompt)
        await client.reading.wait()
        it.cancel()
        assert await steer(it, "instead", **params) == outcome
        if not params:
            await it.update(lambda update: "instead" in str(update))
            await it.agent._sessions.active[it.session].idle()
            assert it.said() == "steered: instead"


async def test_a_message_that_waited_when_its_turn_was_cancelled_stays_and_the_person_is_told() -> None:
    client = Slow()
    async with house(READ, client=client) as it, anyio.create_task_group() as tasks:
        tasks.start_soon(it.prompt)
        await client.reading.wait()
        assert await steer(it) == ("injected", None)
        it.cancel()
        notice = await it.update(lambda update: update["sessionUpdate"] == "notice")
        assert "last message" in notice["title"]
        await it.agent._sessions.active[it.session].idle()
        assert ("user", "stop that") in roles(it)
        assert await it.prompt("more") == "end_turn"


async def test_a_cancel_right_behind_it_leaves_no_turn_running() -> None:
    async with house("=== turn repeat\nsay: ok\nwait 5\n") as it, anyio.create_task_group() as tasks:
        answers: list[Any] = []

        async def send() -> None:
            answers.append(await steer(it))

        tasks.start_soon(send)
        await anyio.lowlevel.checkpoint()
        it.cancel()
        while not answers:
            await anyio.lowlevel.checkpoint()
        await it.agent._sessions.active[it.session].idle()
        assert it.agent._sessions.active[it.session].prompts == []
        assert answers[0] in (PROMPT_REQUIRED, ("startedNewTurn", None))


async def test_a_turn_of_its_own_that_fails_says_so_and_the_session_goes_on() -> None:
    async with house('=== turn\nfail LLM_ERROR "no such model"\n=== turn\nsay: ok\n') as it:
        await steer(it)
        notice = await it.update(lambda update: update.get("severity") == "error")
        assert "no such model" in notice["description"]
        assert await it.prompt() == "end_turn"


async def test_closing_the_session_ends_a_turn_that_nobody_waits_for() -> None:
    client = Slow()
    async with house(READ, client=client) as it:
        await steer(it, "read it")
        await client.reading.wait()
        await it.wire.request(methods.SESSION_CLOSE, {"sessionId": it.session})
        assert (await it.entries())[-1]["stop"] == "cancelled"


async def test_what_is_no_prompt_or_for_no_session_is_refused() -> None:
    async with house("=== turn\nsay: x\n") as it:
        with pytest.raises(RpcError) as error:
            await steer(it, " ")
        assert error.value.code == INVALID_PARAMS
        with pytest.raises(RpcError) as error:
            await steer(it, session="sess_nobody")
        assert error.value.code == NOT_FOUND
