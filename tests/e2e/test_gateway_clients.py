"""Clients of the Gateway protocol that others have written, unmodified, before the program and the real agent."""

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.e2e.gateway_clients import Clients, at_hand
from tests.e2e.peers import Ran, run
from tests.gateway.client import Client
from tests.gateway.host import TOKEN

pytestmark = pytest.mark.e2e

ECHO = "=== turn repeat\nsay: You said: $prompt\nusage 10 5\n"
WORDS = " ".join(f"word{number}" for number in range(40))
# Its last words come faster than deltas are told, before the call and after it.
TOLD = f"""\
=== turn
pace 0.01
say: Reading {WORDS}
call list_files
--- step
say: Done {WORDS} end.
"""
ENDLESS = "=== turn\nsay: I begin.\nwait 60\nsay: I end.\n"

ADAPTER = """\
import json, sys
from openclaw_webchat_adapter.config import AdapterSettings
from openclaw_webchat_adapter.ws_adapter import OpenClawChatWsAdapter as Adapter

settings = AdapterSettings(url=sys.argv[1], token=sys.argv[2], session_key="agent:main:main")
adapter = Adapter.create_connected(settings)
pieces = list(adapter.stream_chat("hello", timeout_s=20))
history = adapter.get_chat_history("agent:main:main")
told = [[it.role, "".join(part.text for part in it.content)] for it in history.messages]
adapter.stop()
print(json.dumps({"pieces": pieces, "history": told}))
"""

Check = Callable[[Any], bool]
# What other commands ask for is seen there.
CALLS: dict[str, tuple[Any, Check]] = {
    "status": (None, lambda it: it["sessions"]["byAgent"][0]["agentId"] == "main"),
    "system-presence": (None, lambda it: it[0]["reason"] == "self"),
    "last-heartbeat": (None, lambda it: it is None),
    "models.list": (None, lambda it: [one["id"] for one in it["models"]] == ["scripted"]),
    "agents.list": (None, lambda it: it["defaultId"] == "main"),
    "agent.identity.get": ({"agentId": "main"}, lambda it: it["agentId"] == "main"),
    "sessions.patch": ({"key": "patched", "label": "Mine"}, lambda it: it["entry"]["label"] == "Mine"),
    "sessions.list": ({"limit": 5}, lambda it: it["count"] == len(it["sessions"])),
    "chat.history": ({"sessionKey": "main"}, lambda it: it["messages"] == []),
    "chat.abort": ({"sessionKey": "main"}, lambda it: it == {"ok": True, "aborted": False, "runIds": []}),
    "config.get": (None, lambda it: it["valid"] and not it["issues"]),
    "logs.tail": ({"limit": 5}, lambda it: it["cursor"] > 0 and it["lines"]),
}


async def test_gateway_call_gets_the_answer_of_each_method(tmp_path: Path):
    async with at_hand(tmp_path, ECHO) as clients:
        answers: dict[str, Any] = {}

        async def ask(method: str, params: Any) -> None:
            answers[method] = await clients.call(method, params)

        async with anyio.create_task_group() as group:
            for method, (params, _) in CALLS.items():
                group.start_soon(ask, method, params)
        refused = await clients("gateway", "call", "no.such", "--url", clients.gateway.url, "--json")

    assert {method for method, (_, right) in CALLS.items() if not right(answers[method])} == set(), answers
    assert refused.code != 0
    assert "unknown method: no.such" in refused.err + refused.out


async def test_commands_that_show_how_it_is(tmp_path: Path):
    async with at_hand(tmp_path, ECHO) as clients:
        url = clients.gateway.url
        ran = await _all(
            clients,
            ("gateway", "health", "--url", url, "--json"),
            ("gateway", "status", "--url", url, "--json"),
            ("gateway", "probe", "--url", url, "--json"),
            ("gateway", "usage-cost", "--url", url, "--json"),
            ("health", "--json"),
            ("status", "--all"),
            ("status", "--deep"),
            ("status", "--json"),
            ("channels", "status", "--json"),
            ("devices", "list", *clients.address),
            ("system", "presence", *clients.address),
            ("system", "heartbeat", "last", *clients.address),
        )

    assert json.loads(ran["gateway health"].out)["ok"]
    assert json.loads(ran["gateway status"].out)["rpc"] == {"ok": True, "url": url}
    assert _reached(ran["gateway probe"], url)["connect"]["ok"]
    assert _reached(ran["gateway probe"], url)["health"]["ok"]
    assert json.loads(ran["gateway usage-cost"].out)["days"] == 30
    assert json.loads(ran["health --json"].out)["defaultAgentId"] == "main"
    assert "reachable" in ran["status --all"].out
    assert "reachable" in ran["status --deep"].out
    assert json.loads(ran["status --json"].out)["gateway"]["reachable"]
    assert json.loads(ran["channels status"].out)["channels"] == {}
    assert "operator.admin" in ran["devices list"].out
    assert json.loads(ran["system presence"].out)[0]["mode"] == "gateway"
    assert json.loads(ran["system heartbeat"].out) is None


async def test_logs_are_read_and_followed(tmp_path: Path):
    async with at_hand(tmp_path, ECHO) as clients:
        async with clients.begun("logs", *clients.address, "--follow", "--plain", "--interval", "200") as follower:
            await follower.shows("gateway.connected", seconds=60)
            # What happens while it follows is shown too.
            async with clients.gateway.client(client=_named("the-late-one")):
                await follower.shows("the-late-one", seconds=60)
        ran = await _all(clients, ("logs", *clients.address, "--plain"), ("logs", *clients.address, "--json"))

    assert "the-late-one" in ran["logs --plain"].out
    lines = [json.loads(line) for line in ran["logs --json"].out.splitlines()]
    assert any("the-late-one" in json.dumps(line) for line in lines)


async def test_agent_waits_for_the_whole_answer(tmp_path: Path):
    params = {"agentId": "main", "sessionKey": "called", "message": "hello", "idempotencyKey": "k1"}
    async with at_hand(tmp_path, ECHO) as clients:
        found: dict[str, Any] = {}

        async def said() -> None:
            ran = await clients("agent", "--agent", "main", "--message", "hi there", "--json")
            found["said"] = ran

        async def called() -> None:
            found["called"] = await clients.call("agent", params, "--expect-final")

        async with anyio.create_task_group() as group:
            group.start_soon(said)
            group.start_soon(called)
        accepted = await clients.call("agent", {**params, "idempotencyKey": "k2"})

    assert found["called"]["result"]["payloads"][0]["text"] == "You said: hello"
    # Without the gateway it would have tried to answer by itself, and said so.
    assert "falling back" not in found["said"].err, found["said"].err
    assert json.loads(found["said"].out)["result"]["payloads"][0]["text"] == "You said: hi there"
    assert (accepted["status"], accepted["runId"]) == ("accepted", "k2")


async def test_the_bridge_shows_a_turn_to_its_last_character(tmp_path: Path):
    async with at_hand(tmp_path, TOLD) as clients, clients.gateway.client(caps=["tool-events"]) as watcher:
        async with clients.bridged("--approve-all", "exec", "hello") as acpx:
            assert await acpx.wait(60) == 0, acpx.out
        key = (await watcher.request("sessions.list", {}))["sessions"][0]["key"]
        messages = (await watcher.request("chat.history", {"sessionKey": key}))["messages"]

    texts = [_text(it) for it in messages if it["role"] == "assistant"]
    assert [it for it in texts if it] == [f"Reading {WORDS}", f"Done {WORDS} end."]
    assert acpx.out.strip() == f"Reading {WORDS}\n\nDone {WORDS} end."
    assert any(it["payload"]["stream"] == "tool" for it in watcher.named("agent"))


async def test_the_bridge_cancels_a_turn(tmp_path: Path):
    async with at_hand(tmp_path, ENDLESS) as clients, clients.gateway.client() as watcher:
        async with clients.bridged("--approve-all", "exec", "hello") as acpx:
            await watcher.until(lambda: _of(watcher, "delta"), within=60)
            acpx.child.send_signal(signal.SIGINT)
            await acpx.wait(60)
        await watcher.until(lambda: _of(watcher, "aborted"), within=20)

    assert _of(watcher, "aborted")[0]["stopReason"] == "rpc"
    assert "I end." not in acpx.out


async def test_a_webchat_client_without_a_device_streams_and_reads_history(tmp_path: Path):
    async with at_hand(tmp_path, TOLD) as clients:
        env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        command = [sys.executable, "-c", ADAPTER, clients.gateway.url, TOKEN]
        ran = await run(*command, cwd=tmp_path, env=env, seconds=40)

    assert ran.code == 0, ran.err
    told = json.loads(ran.out.splitlines()[-1])
    assert "".join(told["pieces"]) == f"Reading {WORDS}\n\nDone {WORDS} end."
    assert len(told["pieces"]) > 1
    assert told["history"][0] == ["user", "hello"]
    assert told["history"][-1] == ["assistant", f"Done {WORDS} end."]


async def _all(clients: Clients, *commands: tuple[str, ...]) -> dict[str, Ran]:
    """Runs commands side by side, each of which has to succeed; what they printed, by their first two words."""
    found: dict[str, Ran] = {}

    async def one(command: tuple[str, ...]) -> None:
        ran = await clients(*command)
        assert ran.code == 0, (command, ran.err, ran.out)
        words = [word for word in command if word not in clients.address or word == "--json"]
        found[" ".join(words[:2])] = ran

    async with anyio.create_task_group() as group:
        for command in commands:
            group.start_soon(one, command)
    return found


def _reached(ran: Ran, url: str) -> dict[str, Any]:
    """The target of a probe that is the gateway."""
    target: dict[str, Any] = next(it for it in json.loads(ran.out)["targets"] if it["url"] == url)
    return target


def _named(version: str) -> dict[str, str]:
    return {"id": "test", "version": version, "platform": "linux", "mode": "test"}


def _of(watcher: Client, state: str) -> list[dict[str, Any]]:
    return [it["payload"] for it in watcher.named("chat") if it["payload"]["state"] == state]


def _text(message: dict[str, Any]) -> str:
    return "".join(part.get("text", "") for part in message["content"] if part["type"] == "text")
