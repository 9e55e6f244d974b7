"""Many clients that do everything at once to a few sessions: every run has its end, and the gateway goes on."""

import random
from pathlib import Path

import anyio

from tests.gateway.client import Client, Json, Refusal
from tests.gateway.conftest import Start
from tests.gateway.talking import mock

CLIENTS, STEPS, SESSIONS = 5, 60, 4
DEEDS = {
    "chat.send": 7,
    "chat.abort": 1,
    "sessions.reset": 1,
    "sessions.delete": 1,
    "sessions.patch": 1,
    "sessions.list": 1,
    "chat.inject": 1,
    "chat.history": 1,
    "agent.wait": 1,
}


def params(method: str, key: str, run: str, chance: random.Random) -> Json:
    """What a client would say there and then."""
    return {
        "chat.send": {"sessionKey": key, "message": chance.choice(["go", "go", "/stop"]), "idempotencyKey": run},
        "chat.abort": {"sessionKey": key},
        "chat.inject": {"sessionKey": key, "message": "a note"},
        "chat.history": {"sessionKey": key},
        "agent.wait": {"runId": run, "timeoutMs": 20},
        "sessions.list": {"includeLastMessage": True},
        "sessions.patch": {"key": key, "label": f"label {chance.randrange(3)}"},
    }.get(method, {"key": key})


async def test_whatever_clients_do_at_once_each_run_has_one_end(start: Start, tmp_path: Path):
    chance = random.Random(1)
    script = "=== turn repeat\nsay: a b c\nwait 0.03\nsay: d\n"
    agent = mock(tmp_path, script, "ars", "--store", str(tmp_path / "kept"))
    refused: set[str] = set()

    async def act(client: Client, name: str) -> None:
        for step in range(STEPS):
            method = chance.choices([*DEEDS], [*DEEDS.values()])[0]
            key = f"s{chance.randrange(SESSIONS)}"
            try:
                await client.request(method, params(method, key, f"{name}-{step}", chance), within=30)
            except Refusal as why:
                refused.add(why.code)

    async with start(agent=agent) as gateway, gateway.client() as last_one:
        async with anyio.create_task_group() as tasks:
            for number in range(CLIENTS):

                async def one(number: int = number) -> None:
                    # One of them shows forms: while it is there, sessions move to a process that was told so.
                    async with gateway.client(caps=["elicitation"] if number == 0 else []) as client:
                        await act(client, f"c{number}")

                tasks.start_soon(one)
        talks = gateway.gateway.talks
        for run in list(talks.runs.live.values()):
            with anyio.fail_after(30):
                await run.over.wait()
        await last_one.request("chat.send", {"sessionKey": "s0", "message": "end", "idempotencyKey": "end"})
        assert (await last_one.request("agent.wait", {"runId": "end"}, within=30))["status"] == "ok"
        assert talks.ledger.left_open() == []
        assert refused <= {"INVALID_REQUEST"}
        assert gateway.log.named("gateway.method_failed") == gateway.log.named("run.failed") == []
