"""Clients that leave in the middle, ask for too much at once, or have many lists made: nothing is left half done."""

import json
import shlex
import sys
from pathlib import Path

import anyio

from ars_gateway.limits import Limits
from ars_gateway.sessions.lists import MOST_BYTES, Lists
from ars_gateway.sessions.rooms import Room
from tests.gateway.client import Refusal
from tests.gateway.conftest import Running, Start
from tests.gateway.talking import last, mock, send


async def test_what_is_asked_in_the_breath_in_which_the_client_leaves_waits_for_nobody(running: Running):
    async with running.client("operator.approvals") as other, running.client() as leaving:
        connection = running.gateway.hub.connections[leaving.hello["server"]["connId"]]
        asked = {"type": "req", "id": "1", "method": "exec.approval.request", "params": {"command": "ls"}}
        connection.received(json.dumps(asked).encode())
        connection.lost()
        await other.until(lambda: other.named("exec.approval.requested"))
        assert not running.gateway.talks.approvals.pending


async def test_a_session_is_deleted_whole_though_its_client_leaves(start: Start, tmp_path: Path):
    async with start(agent=mock(tmp_path, "=== turn repeat\nsay: hello\n")) as gateway, gateway.client() as client:
        await send(client, "run", key="x")
        await last(client, "run")
        talks = gateway.gateway.talks
        (room,) = talks.rooms.of("owner")
        entered, go, forgotten = anyio.Event(), anyio.Event(), anyio.Event()
        close, forget = talks.agents.close_session, talks.transcripts.forget

        async def slow(room: Room) -> None:
            entered.set()
            await go.wait()
            await close(room)

        async def told(room: Room) -> bool:
            found = await forget(room)
            forgotten.set()
            return found

        talks.agents.close_session = slow  # type: ignore[method-assign]
        talks.transcripts.forget = told  # type: ignore[method-assign]
        async with gateway.client() as leaving:
            await leaving.send({"type": "req", "id": "1", "method": "sessions.delete", "params": {"key": "x"}})
            with anyio.fail_after(20):
                await entered.wait()
            gateway.gateway.hub.connections[leaving.hello["server"]["connId"]].lost()
        go.set()
        with anyio.fail_after(20):
            await forgotten.wait()
        assert list(talks.rooms.of("owner")) == [] == await talks.transcripts.messages(room)


async def test_one_client_has_so_many_requests_open_and_no_more(start: Start):
    async with start(limits=Limits(calls=2)) as gateway, gateway.client() as client, gateway.client() as other:
        refused = []
        async with anyio.create_task_group() as tasks:

            async def wait(client: object) -> None:
                try:
                    await client.request("agent.wait", {"runId": "none", "timeoutMs": 300})  # type: ignore[attr-defined]
                except Refusal as why:
                    refused.append(why)

            for one in (client, client, client, other):
                tasks.start_soon(wait, one)
        assert [(why.code, why.error["retryable"]) for why in refused] == [("UNAVAILABLE", True)]
        assert await client.request("agent.wait", {"runId": "none", "timeoutMs": 1})


def test_lists_are_kept_within_a_size():
    lists = Lists()
    rows = [{"key": "x" * 1024 * 1024}] * 4
    for number in range(20):
        assert lists.put(b"%d" % number, rows)[0] == 4
    kept = [number for number in range(20) if lists.get(b"%d" % number) is not None]
    assert 19 in kept
    assert len(kept) * 4 * 1024 * 1024 <= MOST_BYTES
    assert lists.put(b"large", rows * 5)[0] == 20
    assert lists.get(b"large") is None


async def test_a_session_whose_agent_never_comes_is_reset_soon(start: Start):
    silent = shlex.join([sys.executable, "-c", "import sys; sys.stdin.read()"])
    async with start(agent=silent) as gateway, gateway.client() as client:
        await send(client, "run")
        await client.request("chat.abort", {"sessionKey": "main"})
        assert (await client.request("sessions.reset", {"key": "main"}, within=8))["ok"]
