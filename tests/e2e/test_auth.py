"""How a person's key gets to the agent, what happens without one, and that it goes to the endpoint and nowhere else."""

import json
import stat
from pathlib import Path

import pytest

from fixtures.model_server import ModelServer
from tests.e2e.peers import AGENT
from tests.e2e.terminal import terminal
from tests.support.hands import EVERYTHING, Hands
from tests.support.process import Client, Failed, Json, agent

pytestmark = pytest.mark.e2e

KEY = "sk-e2e-0123456789-very-secret"
AUTH_REQUIRED = -32000


def home_of(directory: Path) -> dict[str, str]:
    """The variables by which `agent(directory)` and `ars-acp login` find the same files."""
    return {"XDG_CONFIG_HOME": str(directory / "config"), "XDG_STATE_HOME": str(directory / "state")}


def log_in(environment: dict[str, str], base_url: str, key: str, model: str = "") -> str:
    """`ars-acp login`, answered at a terminal; what the screen has shown."""
    with terminal(AGENT, "login", env=environment) as it:
        for question, answer in (("Base URL", base_url), ("API key", key), ("Model", model)):
            it.shows(question)
            it.types(f"{answer}\n")
        assert it.ends() == 0, it.screen
    return it.screen


async def refused(client: Client, method: str, params: Json) -> Failed:
    with pytest.raises(Failed) as error:
        await client.request(method, params)
    return error.value


async def test_without_a_key_it_can_be_asked_what_it_needs_and_says_both_ways(tmp_path: Path):
    async with agent(tmp_path, handshake=False) as client:
        told = await client.initialize()
        for method, params in [
            ("session/new", {"cwd": "/project", "mcpServers": []}),
            ("authenticate", {"methodId": told["authMethods"][0]["id"]}),
        ]:
            error = await refused(client, method, params)
            assert error.code == AUTH_REQUIRED
            assert "OPENAI_API_KEY" in error.message
            assert "ars-acp login" in error.message

    assert [(it["id"], it.get("type", "agent")) for it in told["authMethods"]] == [("api-key", "agent")]
    assert "OPENAI_BASE_URL" in told["authMethods"][0]["description"]


async def test_login_in_a_terminal_is_offered_to_the_client_that_has_one(tmp_path: Path):
    able = {**EVERYTHING, "auth": {"terminal": True}}
    async with agent(tmp_path, hands=Hands(able), handshake=False) as client:
        methods = (await client.initialize())["authMethods"]
        error = await refused(client, "authenticate", {"methodId": "login"})

    assert [(it["id"], it.get("type", "agent"), it.get("args")) for it in methods] == [
        ("api-key", "agent", None),
        ("login", "terminal", ["login"]),
    ]
    assert error.code == -32602


async def test_a_key_for_another_host_is_needed_and_none_for_this_one(tmp_path: Path, model: ModelServer):
    async with agent(tmp_path, env={"OPENAI_BASE_URL": "https://models.example/v1"}) as client:
        assert (await refused(client, "session/new", {"cwd": "/project", "mcpServers": []})).code == AUTH_REQUIRED

    async with agent(tmp_path, env={"OPENAI_BASE_URL": model.base_url}) as client:
        assert (await client.prompt(await client.new_session())).text == "hello"


async def test_login_writes_a_file_for_this_person_only_and_shows_no_key(environment: dict[str, str], tmp_path: Path):
    screen = log_in({**environment, **home_of(tmp_path)}, "https://models.example/v1", KEY, "large")

    path = tmp_path / "config/ars-acp/login.json"
    assert json.loads(path.read_text()) == {
        "base_url": "https://models.example/v1",
        "api_key": KEY,
        "model": "large",
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert str(path) in screen
    assert KEY not in screen


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        # The line's end, in case the interrupt comes after the question and before the program waits for a key.
        ({"Base URL": "\x03\n"}, 130),
        ({"Base URL": "\n", "API key": "\x04"}, 130),
        ({"Base URL": "nowhere\n", "API key": "\n", "Model": "\n"}, 1),
    ],
    ids=["Ctrl-C", "Ctrl-D", "no address"],
)
def test_login_that_is_given_up_or_makes_no_sense_writes_nothing(
    answers: dict[str, str], code: int, environment: dict[str, str], tmp_path: Path
):
    with terminal(AGENT, "login", env={**environment, **home_of(tmp_path)}) as it:
        for question, keys in answers.items():
            it.shows(question)
            it.types(keys)
        assert it.ends() == code

    assert "Traceback" not in it.screen
    assert not (tmp_path / "config").exists()


async def test_after_login_authenticate_lets_the_running_agent_go_on(
    environment: dict[str, str], model: ModelServer, tmp_path: Path
):
    async with agent(tmp_path) as client:
        assert (await refused(client, "session/new", {"cwd": "/project", "mcpServers": []})).code == AUTH_REQUIRED
        log_in({**environment, **home_of(tmp_path)}, model.base_url, KEY, "script")
        assert await client.request("authenticate", {"methodId": "api-key"}) == {}
        turn = await client.prompt(await client.new_session())

    assert turn.text == "hello"
    assert model.chats()[0].headers["authorization"] == f"Bearer {KEY}"


async def test_without_a_model_the_first_of_the_list_is_taken_and_that_is_told_once(tmp_path: Path, model: ModelServer):
    async with agent(tmp_path, env={"OPENAI_BASE_URL": model.base_url}) as client:
        session = await client.new_session()
        first, second = await client.prompt(session), await client.prompt(session)

    notices = [it for it in first.updates if it["sessionUpdate"] == "notice" and "OPENAI_MODEL" in it["title"]]
    assert [it["severity"] for it in notices] == ["info"]
    assert "script" in notices[0]["title"]
    assert "notice" not in {it["sessionUpdate"] for it in second.updates}
    assert [request.body["model"] for request in model.chats()] == ["script", "script"]
    assert [request.path for request in model.requests].count("/v1/models") == 1


async def test_without_notices_it_is_told_as_a_thought(tmp_path: Path, model: ModelServer):
    plain = {name: value for name, value in EVERYTHING.items() if name != "session"}
    async with agent(tmp_path, env={"OPENAI_BASE_URL": model.base_url}, hands=Hands(plain)) as client:
        turn = await client.prompt(await client.new_session())

    assert "script" in turn.thought
    assert turn.text == "hello"


async def test_an_endpoint_that_repeats_the_key_gets_it_into_nothing_that_is_kept_or_shown(
    tmp_path: Path, model: ModelServer
):
    chosen = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": model.base_url, "OPENAI_MODEL": "mode:401"}
    async with agent(tmp_path, "--log-level", "debug", env=chosen) as client:
        turn = await client.prompt(await client.new_session(), f"My key is {KEY[:6]}")
        received = b"\n".join(client.received)

    assert turn.code == "LLM_ERROR"
    assert model.chats()[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY.encode() not in received
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".jsonl" for path in kept)
    assert not [path for path in kept if KEY.encode() in path.read_bytes()]
