"""Modes and options of a session, where they are offered: choosing, refusing, telling."""

from pathlib import Path

import pytest

from tests.e2e.conformance.support import INVALID_PARAMS, Json, code, playing, shown
from tests.support.hands import EVERYTHING, Hands
from tests.support.process import Client

pytestmark = pytest.mark.e2e

SWITCHES = {**EVERYTHING, "session": {"notices": {}, "configOptions": {"boolean": {}}}}


async def opened(client: Client) -> Json:
    """The answer to session/new."""
    return await client.request("session/new", {"cwd": "/project", "mcpServers": []})


def values(option: Json) -> list[object]:
    """What can be chosen of an option, groups opened."""
    if option["type"] == "boolean":
        return [True, False]
    return [it["value"] for choice in option["options"] for it in choice.get("options", [choice])]


async def choose(client: Client, session: str, option: str, value: object) -> list[Json]:
    """Chooses and returns the list of the answer."""
    chosen: Json = {"type": "boolean", "value": value} if isinstance(value, bool) else {"value": value}
    answer = await client.request("session/set_config_option", {"sessionId": session, "configId": option, **chosen})
    found: list[Json] = answer["configOptions"]
    return found


@pytest.mark.requirement("MODES-001")
async def test_each_mode_that_is_offered_can_be_chosen(tmp_path: Path):
    async with playing(tmp_path) as client:
        session = await opened(client)
        set_mode = {"sessionId": session["sessionId"], "modeId": "ask"}
        ids = [it["id"] for it in session["modes"]["availableModes"]]
        assert session["modes"]["currentModeId"] in ids
        for mode in [*ids, ids[0]]:
            assert await client.request("session/set_mode", {**set_mode, "modeId": mode}) == {}
        again = await client.request("session/load", {"sessionId": session["sessionId"], "cwd": "/p", "mcpServers": []})
        assert again["modes"]["currentModeId"] == ids[0]
        assert [it["currentModeId"] for it in shown(client, "current_mode_update")][-1] == ids[0]


@pytest.mark.requirement("MODES-002")
@pytest.mark.parametrize("mode", ["yolo", "", "ASK"])
async def test_a_mode_that_is_not_offered_is_refused(mode: str, tmp_path: Path):
    async with playing(tmp_path) as client:
        session = await opened(client)
        found = await code(client, "session/set_mode", {"sessionId": session["sessionId"], "modeId": mode})
    assert found == INVALID_PARAMS


@pytest.mark.requirement("CONFIG-001")
@pytest.mark.requirement("rule 10")
async def test_rule_10_a_chosen_option_is_answered_with_all_and_agrees_with_the_mode(tmp_path: Path):
    async with playing(tmp_path, hands=Hands(SWITCHES)) as client:
        session = await opened(client)
        options = session["configOptions"]
        ids = [it["id"] for it in options]
        for option in options:
            for value in values(option):
                told = await choose(client, session["sessionId"], option["id"], value)
                assert [it["id"] for it in told] == ids
                assert {it["id"]: it["currentValue"] for it in told}[option["id"]] == value
        updates = shown(client, "config_option_update")
        assert all([it["id"] for it in update["configOptions"]] == ids for update in updates)
        if "modes" in session:
            modes = [it["id"] for it in session["modes"]["availableModes"]]
            await client.request("session/set_mode", {"sessionId": session["sessionId"], "modeId": modes[0]})
            for mode in modes[::-1]:
                await choose(client, session["sessionId"], "mode", mode)
                assert shown(client, "current_mode_update")[-1]["currentModeId"] == mode
                await client.request("session/set_mode", {"sessionId": session["sessionId"], "modeId": modes[0]})
                current = {
                    it["id"]: it["currentValue"] for it in shown(client, "config_option_update")[-1]["configOptions"]
                }
                assert current["mode"] == modes[0]


@pytest.mark.requirement("CONFIG-002")
async def test_an_option_or_a_value_that_is_not_offered_is_refused(tmp_path: Path):
    async with playing(tmp_path, hands=Hands(SWITCHES)) as client:
        session = await opened(client)
        wrong: list[Json] = [{"configId": "no-such", "value": "x"}]
        for option in session["configOptions"]:
            wrong.append({"configId": option["id"], "value": "no-such-value"})
            if option["type"] == "select":
                wrong.append({"configId": option["id"], "type": "boolean", "value": True})
        for params in wrong:
            found = await code(client, "session/set_config_option", {"sessionId": session["sessionId"], **params})
            assert found == INVALID_PARAMS, params


@pytest.mark.requirement("CONFIG-003")
@pytest.mark.parametrize("can", [True, False])
async def test_switches_are_offered_to_a_client_that_shows_them(can: bool, tmp_path: Path):
    async with playing(tmp_path, hands=Hands(SWITCHES if can else EVERYTHING)) as client:
        session = await opened(client)
        load = {"sessionId": session["sessionId"], "cwd": "/project", "mcpServers": []}
        again = await client.request("session/load", load)
    for answer in (session, again):
        kinds = {it["type"] for it in answer["configOptions"]}
        assert kinds == ({"select", "boolean"} if can else {"select"})
