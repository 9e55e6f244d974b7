"""Config options: what is listed, what can be chosen, how it is told, and from when it holds."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from acp_wire import methods
from acp_wire.errors import INVALID_PARAMS, NOT_FOUND, RpcError
from acp_wire.methods import Request
from ars_acp import permissions, settings
from ars_acp.config import MODES
from tests.support.in_memory import EVERYTHING, Client, House, house

Json = dict[str, Any]
OK = "=== turn repeat\nthink: hm\nsay: ok\n"
SWITCHES = {**EVERYTHING, "session": {"notices": {}, "configOptions": {"boolean": {}}}}
LEVELS = "[[model]]\npattern = '^scripted$'\nthought_levels = ['low', 'high']\n"


def result(it: House, wanted: str) -> Json:
    """The last result that the agent sent with that key in it."""
    return next(m["result"] for m in reversed(it.stream.sent) if wanted in (m.get("result") or {}))


async def choose(it: House, option: str, value: str | bool) -> list[Json]:
    params: Json = {"sessionId": it.session, "configId": option, "value": value}
    if isinstance(value, bool):
        params["type"] = "boolean"
    await it.wire.request(methods.SESSION_SET_CONFIG_OPTION, params)
    listed: list[Json] = result(it, "configOptions")["configOptions"]
    return listed


def values(options: list[Json]) -> Json:
    return {option["id"]: option["currentValue"] for option in options}


def updates(it: House, *kinds: str) -> list[Json]:
    return [p["update"] for p in it.client.updates if p["update"]["sessionUpdate"] in kinds]


async def told(it: House, kind: str) -> Json:
    return await it.update(lambda update: update["sessionUpdate"] == kind)


@pytest.fixture
def levels(tmp_path: Path) -> str:
    file = tmp_path / "models.toml"
    file.write_text(LEVELS)
    return str(file)


def test_the_modes_are_those_of_the_settings_and_of_the_permissions() -> None:
    assert {mode for mode, _, _ in MODES} == set(permissions.MODES) == set(settings.MODES)


async def test_new_load_and_resume_answer_with_all_modes_and_options_as_they_are() -> None:
    async with house(OK, mode="accept-edits") as it:
        opened = result(it, "sessionId")
        assert opened["modes"]["currentModeId"] == "accept-edits"
        assert [mode["id"] for mode in opened["modes"]["availableModes"]] == [mode for mode, _, _ in MODES]
        assert values(opened["configOptions"]) == {"mode": "accept-edits", "model": "scripted"}
        for option in opened["configOptions"]:
            assert option["currentValue"] in [value["value"] for value in option["options"]]
        await choose(it, "mode", "full")
        for row in (methods.SESSION_LOAD, methods.SESSION_RESUME):
            await it.wire.request(methods.SESSION_CLOSE, {"sessionId": it.session})
            it.stream.sent.clear()
            await it.wire.request(row, {"sessionId": it.session, "cwd": "/project", "mcpServers": []})
            again = result(it, "modes")
            assert again["modes"]["currentModeId"] == "full"
            assert values(again["configOptions"]) == {"mode": "full", "model": "scripted"}


async def test_a_mode_that_is_set_is_told_both_ways_after_the_answer_and_holds_for_this_session_only() -> None:
    async with house(OK) as it:
        first, second = it.session, await it.new_session()
        await it.wire.request(methods.SESSION_SET_MODE, {"sessionId": second, "modeId": "read-only"})
        option = await told(it, "config_option_update")
        assert (await told(it, "current_mode_update"))["currentModeId"] == "read-only"
        assert values(option["configOptions"])["mode"] == "read-only"
        answer = next(n for n, m in enumerate(it.stream.sent) if m.get("result") == {})
        sent = [(n, str(m["params"])) for n, m in enumerate(it.stream.sent) if m.get("method") == "session/update"]
        assert min(n for n, text in sent if "currentModeId" in text or "configOptions" in text) > answer
        assert {p["sessionId"] for p in it.client.updates} == {second}
        assert [it.agent._sessions.find(name).mode for name in (first, second)] == ["ask", "read-only"]
        chosen = [(entry["id"], entry["value"]) for entry in await it.entries() if entry["type"] == "config"]
        assert chosen == [("mode", "read-only")]


async def test_the_option_mode_is_the_mode_and_what_changes_nothing_is_not_told() -> None:
    async with house(OK) as it:
        assert values(await choose(it, "mode", "full"))["mode"] == "full"
        await told(it, "current_mode_update")
        before = len(it.client.updates)
        assert values(await choose(it, "mode", "full"))["mode"] == "full"
        await it.prompt()
        assert not any("mode" in p["update"]["sessionUpdate"] for p in it.client.updates[before:])
        assert [entry["type"] for entry in await it.entries()].count("config") == 1


@pytest.mark.parametrize(
    ("row", "params", "says"),
    [
        (methods.SESSION_SET_MODE, {"modeId": "yolo"}, "modeId: no such mode; there are ask, accept-edits, read-only"),
        (methods.SESSION_SET_CONFIG_OPTION, {"configId": "tone", "value": "x"}, "configId: .* mode, model"),
        (methods.SESSION_SET_CONFIG_OPTION, {"configId": "mode", "value": "x"}, "value: no such mode; there are ask"),
        (methods.SESSION_SET_CONFIG_OPTION, {"configId": "mode", "type": "boolean", "value": True}, "there are ask"),
        (methods.SESSION_SET_CONFIG_OPTION, {"configId": "model", "value": "x"}, "no such model; there are scripted"),
        (methods.SESSION_SET_CONFIG_OPTION, {"configId": "show_thoughts", "value": "on"}, "send .*boolean"),
        (methods.SESSION_SET_MODEL, {"modelId": "gpt-0"}, "modelId: no such model; there are scripted"),
    ],
)
async def test_what_is_not_there_is_refused_with_what_is(row: Request[Any, Any], params: Json, says: str) -> None:
    async with house(OK, capabilities=SWITCHES) as it:
        before = len(await it.entries())
        with pytest.raises(RpcError, match=says) as error:
            await it.wire.request(row, {"sessionId": it.session, **params})
        assert error.value.code == INVALID_PARAMS
        assert len(await it.entries()) == before


async def test_an_unknown_session_is_not_found() -> None:
    async with house(OK) as it:
        with pytest.raises(RpcError) as error:
            await it.wire.request(methods.SESSION_SET_MODE, {"sessionId": "sess_nobody", "modeId": "ask"})
        assert error.value.code == NOT_FOUND


async def test_a_mode_chosen_during_a_turn_holds_from_the_next_act() -> None:
    client = Client()
    script = '=== turn\ncall write_file {"path": "a", "content": "1"}\n--- step\n'
    script += 'call write_file {"path": "b", "content": "2"}\n--- step\nsay: done\n'
    async with house(script, client=client) as it:

        def full_from_now(params: Any) -> str:
            it.agent._sessions.find(it.session).record({"type": "config", "id": "mode", "value": "full"})
            return "allow_once"

        client.permission = full_from_now
        await it.prompt()
        assert len(client.asked) == 1
        assert client.files == {"/project/a": "1", "/project/b": "2"}


async def test_set_mode_is_answered_while_a_turn_runs() -> None:
    async with house("=== turn\nsay: begin\nwait 60\n") as it, anyio.create_task_group() as tasks:
        tasks.start_soon(it.prompt)
        await told(it, "agent_message_chunk")
        await it.wire.request(methods.SESSION_SET_MODE, {"sessionId": it.session, "modeId": "read-only"})
        assert (await told(it, "current_mode_update"))["currentModeId"] == "read-only"
        it.cancel()


async def test_levels_of_thought_are_offered_where_the_model_has_them(levels: str) -> None:
    async with house(OK, models_file=levels) as it:
        await told(it, "config_option_update")  # the file is read after session/new was answered
        await it.new_session()
        [option] = [it for it in result(it, "sessionId")["configOptions"] if it["id"] == "thought_level"]
        assert (option["category"], option["currentValue"]) == ("thought_level", "default")
        assert [value["value"] for value in option["options"]] == ["default", "low", "high"]
        assert values(await choose(it, "thought_level", "high"))["thought_level"] == "high"
        config = it.agent._config(it.agent._sessions.find(it.session))
        assert config.effort == "high"
        assert values(await choose(it, "thought_level", "default"))["thought_level"] == "default"
        assert config.effort is None


async def test_a_switch_is_listed_only_for_a_client_that_knows_switches() -> None:
    async with house(OK, capabilities=SWITCHES) as it:
        assert values(result(it, "sessionId")["configOptions"])["show_thoughts"] is True
    async with house(OK) as it:
        with pytest.raises(RpcError, match="there is no such option"):
            await choose(it, "show_thoughts", False)


async def test_thoughts_that_are_not_shown_are_kept_and_come_back() -> None:
    async with house(OK, capabilities=SWITCHES) as it:
        assert values(await choose(it, "show_thoughts", False))["show_thoughts"] is False
        await it.prompt()
        assert (it.said("agent_thought_chunk"), it.said()) == ("", "ok")
        assert [e["text"] for e in await it.entries() if e["type"] == "thought"] == ["hm"]
        metas = [params["_meta"] for params in it.client.updates if params["sessionId"] == it.session]
        assert [meta["ars/prev"] for meta in metas[1:]] == [meta["ars/seq"] for meta in metas[:-1]]
        before = len(it.client.updates)
        await it.wire.request(methods.SESSION_LOAD, {"sessionId": it.session, "cwd": "/project", "mcpServers": []})
        kinds = [params["update"]["sessionUpdate"] for params in it.client.updates[before:]]
        assert kinds == ["user_message_chunk", "agent_message_chunk"]
        await choose(it, "show_thoughts", True)
        await it.prompt()
        assert it.said("agent_thought_chunk") == "hm"


async def test_set_model_of_older_clients_is_the_option_model() -> None:
    async with house(OK) as it:
        await it.wire.request(methods.SESSION_SET_MODEL, {"sessionId": it.session, "modelId": "scripted"})
        assert it.stream.sent[-1]["result"] == {}
        with pytest.raises(RpcError, match="modelId"):
            await it.wire.request(methods.SESSION_SET_MODEL, {"sessionId": it.session})
