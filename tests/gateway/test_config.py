"""config.*: read, written by hash, merged, secrets neither shown nor lost, no programs from the wire, restarts."""

import json
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from acp_wire.schema.tool_calls import ToolCallUpdate
from ars_gateway import config
from ars_gateway.errors import StartError
from ars_gateway.limits import LIMITS
from ars_gateway.observation.log import HIDDEN
from ars_gateway.settings import load
from ars_gateway.talks.agents import counting, kinds, policy_of
from connector import VENDORS
from connector.permissions import Act, Answer
from tests.gateway.client import Client, Refusal
from tests.gateway.conftest import TOKEN, Running, Start
from tests.gateway.host import Program, program
from tests.gateway.talking import last, mock, send, text_of
from tests.gateway.wire import check

Json = dict[str, Any]
KEY = "sk-a-real-secret-1234"
AGENT: Json = {"command": "some-agent --acp", "env": {"API_KEY": KEY}, "name": "Mine"}


def given(running: Running, tree: Json) -> None:
    """The file as its owner writes it."""
    config.write(running.gateway.settings.config_path, tree)


def kept(running: Running) -> Json:
    found: Json = json.loads(running.gateway.settings.config_path.read_text())
    return found


async def write(one: Client, method: str, tree: Any, **more: Any) -> Json:
    """Writes with the hash of what is there."""
    there = await one.request("config.get")
    raw = tree if isinstance(tree, str) else json.dumps(tree)
    params = {"raw": raw, **({"baseHash": there["hash"]} if there["exists"] else {}), **more}
    answer: Json = await one.request(method, params)
    return answer


async def refused(one: Client, method: str, tree: Any, **more: Any) -> Json:
    with pytest.raises(Refusal) as found:
        await write(one, method, tree, **more)
    assert found.value.code == "INVALID_REQUEST"
    return found.value.error


async def test_there_is_a_config_before_there_is_a_file(running: Running):
    async with running.client() as one:
        there = await one.request("config.get", {})
        assert (there["exists"], there["valid"], there["raw"], there["parsed"]) == (False, True, None, {})
        assert there["config"]["approvals"] == {"policy": "ask", "seconds": 120}
        assert (there["issues"], there["warnings"], there["legacyIssues"]) == ([], [], [])


async def test_a_file_is_written_whole_and_only_over_the_one_that_was_read(running: Running):
    async with running.client() as one:
        tree = {"approvals": {"seconds": 7}, "gateway": {"allowedHosts": ["ars.example:443"]}}
        answer = await one.request("config.set", {"raw": json.dumps(tree)})
        assert answer["ok"]
        assert answer["config"]["approvals"] == {"policy": "ask", "seconds": 7}
        assert kept(running) == tree
        path = running.gateway.settings.config_path
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [file.name for file in path.parent.iterdir() if "config" in file.name] == ["config.json"]
        with pytest.raises(Refusal, match=r"config base hash required; re-run config\.get and retry"):
            await one.request("config.set", {"raw": "{}"})
        there = await one.request("config.get")
        given(running, {"approvals": {"seconds": 8}})
        with pytest.raises(Refusal, match=r"config changed since last load; re-run config\.get and retry"):
            await one.request("config.set", {"raw": "{}", "baseHash": there["hash"]})
        assert kept(running) == {"approvals": {"seconds": 8}}


@pytest.mark.parametrize(
    ("tree", "path", "why"),
    [
        ({"agent": {"model": "x"}}, "agent", "is unknown: agents may be meant"),
        ({"limits": {"tick": 1}}, "limits.tick", "is unknown: there are tickSeconds, queuedBytes, "),
        ({"agents": {"main": {"Env": {}}}}, "agents.main.Env", "is unknown: env may be meant"),
        ({"approvals": {"policy": "allow"}}, "approvals.policy", "must be ask, ask-always or deny"),
        ({"approvals": {"seconds": "9"}}, "approvals.seconds", "must be a number from 1 to 3600, is text"),
        ({"limits": {"tickSeconds": 0}}, "limits.tickSeconds", "must be a number from 1 to 300: this is less"),
        ({"limits": {"keptEvents": 1.5}}, "limits.keptEvents", "must be a whole number from 0 to 1000000, is a number"),
        ({"limits": None}, "limits", "must be an object with tickSeconds, "),
        ({"agents": {"Bad Id": {"vendor": "codex"}}}, "agents.Bad Id", "must be called by a name of small letters, "),
        ({"agents": {"x": {"vendor": "/bin/sh"}}}, "agents.x.vendor", "must be ars, opencode, "),
        ({"agents": {"x": {"name": "X"}}}, "agents.x", "must have a vendor or a command"),
        ({"agents": {"main": {"name": ""}}}, "agents.main.name", "must be text of 1 to 64 characters: this is shorter"),
        ({"agents": {"main": {"model": ""}}}, "agents.main.model", "must be text that is not empty: this is shorter"),
        ({"workspace": "relative"}, "workspace", "must be a directory that is there, named from the root"),
        ({"gateway": {"allowedHosts": {}}}, "gateway.allowedHosts", "must be a list whose members are each text, is"),
        ({"gateway": {"allowedHosts": ["a", "b/c"]}}, "gateway.allowedHosts.1", "must be a host: name[:port]"),
        ({"gateway": {"allowedOrigins": ["*"]}}, "gateway.allowedOrigins.0", "must be an origin: http(s)://name"),
        ({"gateway": {"remoteAgents": ["X"]}}, "gateway.remoteAgents.0", "must be a name of small letters, "),
        ({"__proto__": {}}, "__proto__", "is unknown: there are agents, workspace, gateway, approvals and limits"),
        ([], "", "must be an object with agents, workspace, gateway, approvals and limits, is a list"),
        ("{// no\n}", "", "is not JSON: unexpected character, expected a string key (line 1, column 2); comments, "),
        ("{'a': 1,}", "", "single quotes"),
    ],
)
async def test_what_is_no_config_is_refused_and_changes_nothing(running: Running, tree: Any, path: str, why: str):
    async with running.client() as one:
        error = await refused(one, "config.set", tree)
        assert error["message"] == "invalid config"
        (issue,) = error["details"]["issues"]
        assert issue["path"] == path
        assert why in issue["message"]
        assert not running.gateway.settings.config_path.exists()


async def test_of_many_faults_the_first_fifty_are_told(running: Running):
    async with running.client() as one:
        error = await refused(one, "config.set", {f"x{number}": 1 for number in range(5000)})
        assert len(error["details"]["issues"]) == 50


async def test_secrets_are_not_shown_and_not_lost(running: Running):
    given(running, {"agents": {"mine": AGENT}, "approvals": {"seconds": 9}})
    async with running.client() as one:
        there = await one.request("config.get")
        assert KEY not in json.dumps(there)
        assert there["parsed"]["agents"]["mine"]["env"] == {"API_KEY": HIDDEN}
        assert json.loads(there["raw"]) == there["parsed"]
        changed = {**there["parsed"], "approvals": {"seconds": 10}}
        answer = await one.request("config.set", {"raw": json.dumps(changed), "baseHash": there["hash"]})
        assert KEY not in json.dumps(answer)
        assert kept(running) == {"agents": {"mine": AGENT}, "approvals": {"seconds": 10}}
        await write(one, "config.patch", {"agents": {"mine": {"name": "Yours"}}}, restartDelayMs=60_000)
        assert kept(running)["agents"]["mine"] == {**AGENT, "name": "Yours"}


@pytest.mark.parametrize(
    "agent",
    [
        {"command": "/bin/sh -c id"},
        {"command": "some-agent --acp -x"},
        {"env": {"LD_PRELOAD": "/tmp/x.so"}},
        {"env": {"API_KEY": "another"}},
        {"env": {"OTHER": HIDDEN}},
    ],
)
async def test_no_program_and_no_environment_comes_over_the_wire(running: Running, agent: Json):
    given(running, {"agents": {"mine": AGENT}})
    async with running.client() as one:
        for id in ("mine", "other"):
            error = await refused(one, "config.patch", {"agents": {id: agent}})
            assert error["details"]["issues"][0]["path"].startswith(f"agents.{id}")
            assert "in the file itself" in error["details"]["issues"][0]["message"]
    assert kept(running) == {"agents": {"mine": AGENT}}


async def test_an_agent_of_a_known_vendor_is_added_and_removed(running: Running):
    given(running, {"agents": {"mine": AGENT}})
    async with running.client() as one:
        await write(
            one, "config.set", {"agents": {"mine": AGENT | {"env": {"API_KEY": HIDDEN}}, "b": {"vendor": "codex"}}}
        )
        assert kept(running)["agents"] == {"mine": AGENT, "b": {"vendor": "codex"}}
        await write(one, "config.patch", {"agents": {"mine": None}}, restartDelayMs=60_000)
        assert kept(running)["agents"] == {"b": {"vendor": "codex"}}


@pytest.mark.parametrize(
    ("tree", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_is_that_of_rfc_7396(tree: Any, patch: Any, result: Any):
    assert config.merged(tree, patch) == result


@pytest.mark.parametrize(
    "wrong", [{"env": KEY}, {"env": {"A": [KEY]}}, {"command": f"x '{KEY}"}, {"vendor": KEY}, {"name": KEY * 9}]
)
def test_what_is_said_of_a_wrong_value_does_not_have_it(wrong: Json):
    with pytest.raises(config.ConfigInvalid) as found:
        config.validated({"agents": {"mine": wrong}})
    assert str(found.value).startswith("agents.mine.")
    assert KEY not in str(found.value.issues) + str(found.value)


@pytest.mark.parametrize("agents", [{"main": {"Env": {"KEY": "sk-secret"}}}, [{"env": {"KEY": "sk-secret"}}]])
async def test_a_file_that_is_no_config_shows_no_secret_either(running: Running, agents: Any):
    path = running.gateway.settings.config_path
    path.write_text(json.dumps({"agents": agents}))
    path.chmod(0o600)
    async with running.client() as one:
        told = await one.request("config.get")
    assert not told["valid"]
    assert "sk-secret" not in json.dumps(told)


async def test_a_patch_is_an_object_over_a_config_that_is_one(running: Running):
    async with running.client() as one:
        assert (await refused(one, "config.patch", []))["message"] == "config.patch raw must be an object"
        running.gateway.settings.config_path.write_text("{oops")
        running.gateway.settings.config_path.chmod(0o600)
        there = await one.request("config.get")
        assert (there["exists"], there["valid"]) == (True, False)
        assert "not JSON" in there["issues"][0]["message"]
        assert (await refused(one, "config.patch", {}))["message"] == "invalid config; fix before patching"
        await write(one, "config.set", {})
        assert (await one.request("config.get"))["valid"]


async def test_a_file_that_others_can_read_is_not_read(running: Running):
    given(running, {})
    running.gateway.settings.config_path.chmod(0o644)
    async with running.client() as one:
        with pytest.raises(Refusal, match="chmod 600") as found:
            await one.request("config.get")
        assert found.value.code == "UNAVAILABLE"


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["directory", "pipe"])
def test_what_is_no_file_is_not_read_nor_waited_for(make: Callable[[Path], object], tmp_path: Path):
    make(path := tmp_path / "config.json")
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(PermissionError, match="is no plain file"):
        config.read(path)
    assert len(os.listdir("/dev/fd")) == before


async def test_three_writes_a_minute_are_the_most_by_whatever_method(running: Running):
    async with running.client() as one, running.client() as other:
        for method in ("config.set", "config.patch", "config.apply"):
            more = {} if method == "config.set" else {"restartDelayMs": 60_000}
            await write(one, method, {}, **more)
        for client in (one, other):
            for method in ("config.set", "config.patch", "config.apply"):
                with pytest.raises(Refusal, match="too often") as found:
                    await write(client, method, {})
                assert found.value.error["retryable"]
                assert 0 < found.value.error["retryAfterMs"] <= 60_000


async def test_only_admins_see_or_write_it(running: Running):
    async with running.client("operator.write", "operator.approvals", "operator.pairing") as one:
        for method in ("config.get", "config.set", "config.patch", "config.apply", "config.schema"):
            with pytest.raises(Refusal, match=r"missing scope: operator\.admin"):
                await one.request(method, {"raw": "{}"})


async def test_the_schema_says_what_there_is(running: Running):
    async with running.client() as one:
        answer = await one.request("config.schema", {})
        check("ConfigSchemaResponse", answer)
        assert set(answer["schema"]["properties"]) == {"agents", "workspace", "gateway", "approvals", "limits"}
        hints = answer["uiHints"]
        assert hints["agents.*.env"]["sensitive"]
        assert hints["limits.queuedBytes"]["advanced"]
        assert (hints["approvals.policy"]["group"], hints["approvals.policy"]["label"]) == ("Approvals", "Policy")


def test_what_the_file_says_holds_where_nothing_else_is_given(tmp_path: Path):
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    tree = {
        "agents": {"main": {"vendor": "codex"}},
        "workspace": str(tmp_path),
        "gateway": {"allowedHosts": ["a.example"], "allowedOrigins": ["https://a.example"]},
        "limits": {"tickSeconds": 5},
    }
    config.write(state / "config.json", tree)
    env = {"ARS_GATEWAY_TOKEN": TOKEN, "ARS_GATEWAY_ALLOW_HOST": "b.example"}
    settings = load({"state_dir": str(state)}, env)
    assert (settings.agent, settings.workspace) == ("codex", tmp_path)
    assert settings.allowed_hosts == {"a.example", "b.example"}
    assert settings.allowed_origins == {"https://a.example"}
    assert settings.config.limited(LIMITS).tick_seconds == 5
    assert settings.config.limited(LIMITS).frame_bytes == LIMITS.frame_bytes
    assert load({"state_dir": str(state), "agent": "ars"}, env).agent == "ars"
    (state / "config.json").write_text('{"limits": 5}')
    with pytest.raises(StartError, match="limits"):
        load({"state_dir": str(state)}, env)


def test_configured_agents_stand_beside_those_that_are_found():
    tree = {"agents": {"main": {"env": {"A": "1"}, "model": "m"}, "mine": AGENT, "two": {"vendor": "codex"}}}
    found = kinds("ars", search="/nowhere", configured=config.validated(tree).agents)
    assert [*found] == ["main", "mine", "two"]
    assert (found["main"].model, found["main"].vendor.command().env["A"]) == ("m", "1")
    assert (found["mine"].name, found["mine"].vendor.command().argv) == ("Mine", ["some-agent", "--acp"])
    assert found["mine"].vendor.command().env["API_KEY"] == KEY
    assert found["two"].name == VENDORS["codex"].title


@pytest.mark.parametrize(
    ("inherited", "configured", "told"),
    [
        (None, {}, "turn_usage"),
        ("fork", {}, "fork,turn_usage"),
        ("fork", {"ARS_UNSTABLE": ""}, "turn_usage"),
        (None, {"ARS_UNSTABLE": " turn_usage, fork,"}, "turn_usage,fork"),
    ],
)
def test_our_own_agent_counts_tokens_beside_what_a_person_has_chosen_of_the_unstable(
    monkeypatch: pytest.MonkeyPatch, inherited: str | None, configured: dict[str, str], told: str
):
    monkeypatch.delenv("ARS_UNSTABLE", raising=False)
    if inherited is not None:
        monkeypatch.setenv("ARS_UNSTABLE", inherited)
    assert counting(replace(VENDORS["ars"], env={"A": "1", **configured})).env == {"A": "1", "ARS_UNSTABLE": told}
    assert counting(VENDORS["qwen"]) is VENDORS["qwen"]


async def test_what_is_configured_is_what_runs(start: Start, tmp_path: Path):
    command = mock(tmp_path, "=== turn repeat\nsay: from the second\n")
    chosen = config.validated({"agents": {"second": {"command": command, "name": "Two"}, "main": {"name": "One"}}})
    first = f"{sys.executable} -c 'raise SystemExit(3)'"
    async with start(agent=first, config=chosen) as running, running.client() as one:
        names = {it["id"]: it["name"] for it in (await one.request("agents.list"))["agents"]}
        assert (names["main"], names["second"]) == ("One", "Two")
        await send(one, "r1", key="agent:second:main")
        assert text_of(await last(one, "r1")) == "from the second"


async def test_a_limit_that_is_configured_holds(start: Start):
    chosen = config.validated({"limits": {"tickSeconds": 7, "unauthorisedCalls": 2}})
    async with start(config=chosen) as running, running.client("operator.read") as one:
        assert one.hello["policy"]["tickIntervalMs"] == 7000
        for _ in range(2):
            await one.begin("config.get")
        assert (await one.ended())[0] == 1008


async def listens(gateway: Program) -> str:
    """Where the program says that it listens, when it listens again; the address behind it is another each time."""
    assert gateway.process.stdout is not None
    with anyio.fail_after(20):
        said = await gateway.process.stdout.receive()
        while b"\n" not in said:
            said += await gateway.process.stdout.receive()
        return said.decode().splitlines()[0]


@pytest.mark.parametrize(
    ("policy", "reads", "edits"),
    [("ask", "allow", "asked"), ("ask-always", "asked", "asked"), ("deny", "allow", "refuse")],
)
async def test_a_policy_says_what_a_person_is_asked(policy: str, reads: str, edits: str):
    async def ask(act: Act) -> str:
        return "asked"

    chosen = policy_of(policy, lambda session, path: path.startswith("/in/"), ask)
    for kind, path, answer in (("read", "/in/a", reads), ("edit", "/in/a", edits)):
        act = Act(kind, (path,), (), "s1", "", (), ToolCallUpdate(toolCallId="c1"))
        said = await chosen(act)
        assert (said.value if isinstance(said, Answer) else said) == answer


async def test_nobody_is_asked_where_the_policy_denies_and_in_time_where_it_asks(start: Start, tmp_path: Path):
    asks = mock(tmp_path, '=== turn repeat\nask edit "Change it?"\nsay: It was $result.\n')
    for approvals, asked in (({"policy": "deny"}, 0), ({"seconds": 1}, 1)):
        chosen = config.validated({"approvals": approvals})
        async with start(agent=asks, config=chosen) as running, running.client() as one:
            run = f"r{asked}"
            await send(one, run)
            assert text_of(await last(one, run)) == "It was refused."
            assert len(one.named("exec.approval.requested")) == asked


async def test_the_model_that_is_configured_answers_where_no_other_was_chosen(start: Start, tmp_path: Path):
    chosen = config.validated({"agents": {"main": {"model": "no-such-model"}}})
    agent = mock(tmp_path, "=== turn repeat\nsay: hello\n")
    async with start(agent=agent, config=chosen) as running, running.client() as one:
        await send(one, "r1")
        assert "no-such-model" in (await last(one, "r1", "error"))["errorMessage"]


@pytest.mark.e2e
async def test_apply_starts_the_gateway_anew_in_the_same_place(tmp_path: Path):
    state = tmp_path / "state"
    async with program(state) as gateway:
        async with gateway.client() as one:
            assert one.hello["policy"]["tickIntervalMs"] == 30_000
            answer = await write(one, "config.apply", {"limits": {"tickSeconds": 9}}, note="a try", restartDelayMs=50)
            assert answer["restart"]["delayMs"] == 50
            assert answer["sentinel"]["payload"]["message"] == "a try"
            told = (await one.event("shutdown"))["payload"]
            assert told == {"reason": "config.apply", "restartExpectedMs": 1500}
            assert await one.ended() == (1012, "service restart")
        assert await listens(gateway) == gateway.said.splitlines()[0]
        async with gateway.client() as one:
            assert one.hello["policy"]["tickIntervalMs"] == 9_000
            answer = await write(one, "config.patch", {"limits": {"tickSeconds": 8}}, restartDelayMs=0)
            await one.ended()
        await listens(gateway)
        async with gateway.client() as one:
            assert one.hello["policy"]["tickIntervalMs"] == 8_000
            assert gateway.process.pid == answer["restart"]["pid"]
