"""Options, prices and models, over the executable and a model's endpoint."""

from pathlib import Path

import pytest

from fixtures.model_server import ModelServer
from tests.support.process import agent, stored

pytestmark = pytest.mark.e2e

ROWS = "[[model]]\npattern = '^mode:ok10$'\nwindow = 5000\nthought_levels = ['low', 'high']\n"
ROWS += "price = { input = 1, output = 2 }\n"


def models_file(directory: Path, text: str) -> None:
    path = directory / "config" / "ars-acp" / "models.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)


async def test_the_endpoints_models_come_after_the_answer_and_one_of_them_can_be_chosen(
    tmp_path: Path, model: ModelServer
):
    models_file(tmp_path, ROWS)
    async with agent(tmp_path, env={"OPENAI_BASE_URL": model.base_url, "OPENAI_MODEL": "script"}) as client:
        session = await client.new_session()
        await client.until(lambda: any("configOptions" in it["update"] for it in client.updates))
        listed = {it["id"]: it for it in client.updates[-1]["update"]["configOptions"]}
        assert [value["value"] for value in listed["model"]["options"]] == ["script", "mode:ok10"]
        assert "thought_level" not in listed

        assert await client.request("session/set_model", {"sessionId": session, "modelId": "mode:ok10"}) == {}
        choice = {"sessionId": session, "configId": "thought_level", "value": "high"}
        answer = await client.request("session/set_config_option", choice)
        now = {it["id"]: it["currentValue"] for it in answer["configOptions"]}
        assert (now["mode"], now["model"], now["thought_level"]) == ("ask", "mode:ok10", "high")
        await client.prompt(session, "go")

    [asked] = model.chats()
    assert (asked.body["model"], asked.body["reasoning_effort"]) == ("mode:ok10", "high")
    chosen = [(entry["id"], entry["value"]) for entry in stored(tmp_path, session) if entry["type"] == "config"]
    assert chosen == [("model", "mode:ok10"), ("thought_level", "high")]


async def test_a_wrong_file_of_models_ends_with_one_line(tmp_path: Path):
    models_file(tmp_path, "[[model]]\npattern = 'x'\nwindwo = 1\n")
    async with agent(tmp_path, handshake=False) as client:
        assert (await client.gone()).code == 1
    [line] = (tmp_path / "stderr.log").read_text().splitlines()
    assert "models.toml: model 1 windwo" in line
