"""What is not stable yet is there only where the settings say so: `session/fork`, and the usage of a turn."""

from typing import Any

import anyio
import pytest

from acp_wire import methods
from acp_wire.errors import INVALID_PARAMS, METHOD_NOT_FOUND, NOT_FOUND, RpcError
from ars_acp.errors import SettingsError
from ars_acp.settings import checked
from tests.ars_acp.test_steering import READ, Slow
from tests.support.in_memory import House, house

SCRIPT = """
=== turn
say: first
call update_plan {"entries": []}
--- step
usage 30 3 20 2
=== turn
say: second
call update_plan {"entries": []}
--- step
usage 10 1
=== turn
say: third: $prompt
"""


async def fork(it: House, cwd: str = "/project", **params: Any) -> str:
    answer = await it.wire.request(methods.SESSION_FORK, {"sessionId": it.session, "cwd": cwd, **params})
    return answer.session_id


def messages(it: House, session: str) -> list[Any]:
    return it.agent._sessions.active[session].history.messages


async def test_a_fork_goes_on_where_the_other_stood_and_each_goes_its_own_way() -> None:
    async with house(SCRIPT, unstable={"fork"}) as it:
        await it.prompt("one")
        before, first = list(messages(it, it.session)), it.session
        forked = await fork(it)
        assert messages(it, forked) == before
        it.client.updates.clear()
        assert await it.prompt("two", session=forked) == "end_turn"
        assert messages(it, first) == before
        metas = [params["_meta"] for params in it.client.updates if params["sessionId"] == forked]
        assert [meta["ars/prev"] for meta in metas[1:]] == [meta["ars/seq"] for meta in metas[:-1]]
        # No id comes twice, however often the conversation is forked or moved.
        again = await it.wire.request(methods.SESSION_FORK, {"sessionId": forked, "cwd": "/other"})
        assert await it.prompt("three", session=again.session_id) == "end_turn"
        ids = [call["id"] for m in messages(it, again.session_id) for call in m.get("tool_calls", ())]
        assert len(set(ids)) == len(ids) == 2


async def test_a_fork_is_kept_listed_and_loaded_as_any_session_in_its_own_directory() -> None:
    async with house(SCRIPT, unstable={"fork"}) as it:
        await it.prompt("one")
        forked = await fork(it, cwd="/elsewhere", additionalDirectories=["/more"])
        await it.wire.request(methods.SESSION_CLOSE, {"sessionId": forked})
        listed = await it.wire.request(methods.SESSION_LIST, {"cwd": "/elsewhere"})
        assert [found.session_id for found in listed.sessions] == [forked]
        it.client.updates.clear()
        place = {"cwd": "/elsewhere", "mcpServers": [], "additionalDirectories": ["/more"]}
        await it.wire.request(methods.SESSION_LOAD, {"sessionId": forked, **place})
        assert it.said() == "first"
        assert it.agent._sessions.active[forked].facts.directories == ("/more",)
        assert it.agent._sessions.active[it.session].facts.cwd == "/project"


async def test_a_closed_session_can_be_forked() -> None:
    async with house(SCRIPT, unstable={"fork"}) as it:
        await it.prompt("one")
        await it.wire.request(methods.SESSION_CLOSE, {"sessionId": it.session})
        assert messages(it, await fork(it))[0]["content"] == "one"


async def test_what_runs_in_the_other_session_is_closed_in_the_fork() -> None:
    client = Slow()
    async with house(READ, client=client, unstable={"fork"}) as it, anyio.create_task_group() as tasks:
        tasks.start_soon(it.prompt)
        await client.reading.wait()
        forked = await fork(it)
        assert "forked" in messages(it, forked)[-1]["content"]
        assert it.agent._sessions.active[forked].recovered is None, "nobody has died"
        assert await it.prompt("go on", session=forked) == "end_turn"
        client.go_on.set()


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"cwd": "relative"}, INVALID_PARAMS),
        ({"additionalDirectories": ["x"]}, INVALID_PARAMS),
        ({"systemPrompt": {"mode": "append", "content": []}}, INVALID_PARAMS),
        ({"sessionId": "sess_nobody"}, NOT_FOUND),
        ({"sessionId": "../etc"}, NOT_FOUND),
    ],
)
async def test_a_fork_that_cannot_be_is_refused_and_leaves_nothing(params: Any, code: int) -> None:
    async with house(SCRIPT, unstable={"fork"}) as it:
        with pytest.raises(RpcError) as error:
            await fork(it, **params)
        assert error.value.code == code
        assert list(it.agent._sessions.active) == [it.session]


async def test_without_the_setting_there_is_no_fork_and_no_usage() -> None:
    async with house(SCRIPT) as it:
        with pytest.raises(RpcError) as error:
            await fork(it)
        assert error.value.code == METHOD_NOT_FOUND
        await it.prompt()
        assert it.stream.sent[-1]["result"] == {"stopReason": "end_turn"}
        [initialized] = [m["result"] for m in it.stream.sent if "protocolVersion" in m.get("result", {})]
        assert "fork" not in initialized["agentCapabilities"]["sessionCapabilities"]


async def test_the_usage_of_a_turn_is_the_sum_of_its_replies() -> None:
    async with house(
        "=== turn\ncall update_plan {}\nusage 1 2\n--- step\nusage 30 3 20 2\n=== turn\nsay: x\n",
        unstable={"turn_usage"},
    ) as it:
        await it.prompt()
        wanted = {"totalTokens": 36, "inputTokens": 31, "outputTokens": 5, "thoughtTokens": 2, "cachedReadTokens": 20}
        assert it.stream.sent[-1]["result"] == {"stopReason": "end_turn", "usage": wanted}
        await it.prompt()
        assert it.stream.sent[-1]["result"] == {"stopReason": "end_turn"}


async def test_fork_is_advertised_where_it_is_on() -> None:
    async with house(SCRIPT, unstable={"fork"}) as it:
        [initialized] = [m["result"] for m in it.stream.sent if "protocolVersion" in m.get("result", {})]
        assert initialized["agentCapabilities"]["sessionCapabilities"]["fork"] == {}


def test_the_setting_is_a_list_of_known_names() -> None:
    assert checked({"unstable": "fork, turn_usage"}).unstable == {"fork", "turn_usage"}
    assert checked({"unstable": ""}).unstable == frozenset()
    with pytest.raises(SettingsError, match="unstable"):
        checked({"unstable": "everything"})
