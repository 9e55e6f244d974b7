"""Broadcasts, their numbers, slow consumers, and what a client that was away can still get."""

import anyio
import anyio.lowlevel
import pytest

from ars_gateway.limits import Limits
from ars_gateway.sockets.hub import Marks
from tests.gateway.client import Client, Refusal
from tests.support.waiting import until

CHAT = {"runId": "r", "sessionKey": "main", "seq": 1, "state": "final"}


def said(running, *names: str, **more) -> None:
    for name in names:
        running.gateway.hub.broadcast("chat", CHAT | {"runId": name}, **more)


def runs(client: Client) -> list[str]:
    return [event["payload"]["runId"] for event in client.named("chat")]


async def test_numbers_have_no_gaps_whatever_others_see(running):
    async with running.client("operator.read") as reader, running.client("operator.pairing") as other:
        said(running, "a", "b")
        running.gateway.hub.broadcast("tick", {"ts": 1})
        said(running, "c")
        running.gateway.hub.broadcast("tick", {"ts": 2})
        await other.event("tick", 2)
        assert [event["seq"] for event in other.events[1:]] == [1, 2]
        await reader.event("tick", 2)
        numbers = [event["seq"] for event in reader.events[1:] if event["event"] != "presence"]
        assert numbers == sorted(numbers)
        assert len(numbers) == 5


async def test_nothing_is_kept_where_nobody_is_there_and_nobody_can_come_back(start):
    limits = Limits(kept_seconds=0.05)
    async with start(limits) as running:
        hub = running.gateway.hub
        said(running, "nobody")
        assert (hub.number, len(hub._kept)) == (0, 0)
        async with running.client() as client:
            said(running, "somebody")
            await client.event("chat")
        number = hub.number
        said(running, "somebody who may come back")
        assert hub.number > number
        await until(lambda: (hub.sweep(), not hub._past)[1])
        number = hub.number
        said(running, "nobody again")
        assert hub.number == number


async def test_the_state_version_stands_on_presence(start):
    limits = Limits(presence_seconds=0.05)
    async with start(limits) as running, running.client() as watcher, running.client():
        event = await watcher.event("presence")
        assert event["stateVersion"]["presence"] >= 2
        assert {entry["mode"] for entry in event["payload"]["presence"]} == {"gateway", "test"}


async def test_command_line_clients_are_not_listed(running):
    params = {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"}
    async with running.client(client=params) as client:
        assert [entry["mode"] for entry in await client.request("system-presence")] == ["gateway"]


async def test_what_an_operator_says_of_a_machine_is_listed(running):
    async with running.client() as client:
        await client.request("system-event", {"text": "Node: \x1b[31mhut\x1b[0m", "deviceId": "d1", "tags": ["x"]})
        entry = next(it for it in await client.request("system-presence") if it.get("deviceId") == "d1")
        assert (entry["text"], entry["tags"]) == ("Node: hut", ["x"])
        with pytest.raises(Refusal, match="text required"):
            await client.request("system-event", {})


async def test_presence_entries_are_few_and_end(running):
    presence = running.gateway.presence
    for number in range(250):
        presence.told({"text": "x", "deviceId": str(number)})
    assert len(presence.listed()) == 201
    later = running.gateway.now_ms() + 5 * 60 * 1000 + 1000
    presence._now = lambda: later
    assert len(presence.listed()) == 1


# ── resume ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_resume_in_connect_replays_what_was_missed_before_anything_new(running):
    async with running.client() as client:
        said(running, "1", "2", "3")
        await client.event("chat", 3)
        former, last = client.conn_id, client.named("chat")[1]["seq"]
    said(running, "4", "5")
    async with running.client(resume={"connId": former, "lastSeq": last}) as client:
        assert client.hello["resume"] == {"resumed": True, "replayed": 3}
        said(running, "6")
        await client.event("chat", 4)
        assert runs(client) == ["3", "4", "5", "6"]
        assert [event["seq"] for event in client.named("chat")] == [1, 2, 3, 4]


async def test_resume_as_a_request_does_the_same_later(running):
    async with running.client() as client:
        said(running, "1")
        await client.event("chat")
        former, last = client.conn_id, client.named("chat")[0]["seq"]
    said(running, "2", "3")
    async with running.client() as client:
        answer = await client.request("resume", {"connId": former, "lastSeq": last})
        assert (answer["resumed"], answer["replayed"]) == (True, 2)
        said(running, "4")
        await client.event("chat", 3)
        assert runs(client) == ["2", "3", "4"]


async def test_resume_goes_through_several_connections(running):
    former, last, seen = "", 0, []
    for number in range(5):
        more = {"resume": {"connId": former, "lastSeq": last}} if former else {}
        async with running.client(**more) as client:
            said(running, f"{number}")
            await client.until(lambda client=client, number=number: f"{number}" in runs(client))
            seen += runs(client)
            former, last = client.conn_id, client.named("chat")[-1]["seq"]
        said(running, f"{number} away")
    assert seen == [name for number in range(5) for name in (f"{number - 1} away", f"{number}")][1:]


async def test_a_client_that_is_cut_off_before_it_reads_its_replay_gets_it_again(running):
    async with running.client() as client:
        former = client.conn_id
    said(running, "1", "2")
    for _ in range(3):
        async with running.client(resume={"connId": former, "lastSeq": 0}) as client:
            former = client.conn_id
    async with running.client(resume={"connId": former, "lastSeq": 0}) as client:
        await client.event("chat", 2)
        assert runs(client) == ["1", "2"]


async def test_what_was_replayed_late_is_missed_like_anything_else(running):
    async with running.client() as client:
        former = client.conn_id
    said(running, "1", "2")
    async with running.client() as client:
        said(running, "3")
        await client.event("chat")
        await client.request("resume", {"connId": former, "lastSeq": 0})
        former = client.conn_id
    async with running.client(resume={"connId": former, "lastSeq": 1}) as client:
        await client.event("chat", 2)
        assert runs(client)[:2] == ["1", "2"]


async def test_resume_shows_only_what_the_new_connection_may_see(running):
    async with running.client() as client:
        former = client.conn_id
    said(running, "1")
    running.gateway.hub.broadcast("exec.approval.resolved", {"id": "x"})
    said(running, "2", only=lambda caller: False)
    async with running.client("operator.approvals", resume={"connId": former, "lastSeq": 0}) as client:
        await client.event("exec.approval.resolved")
        assert client.hello["resume"] == {"resumed": True, "replayed": 1}
        assert not client.named("chat")


async def test_an_outage_longer_than_what_is_kept_is_told(start):
    async with start(Limits(kept_events=10)) as running:
        async with running.client() as client:
            former = client.conn_id
        said(running, *map(str, range(11)))
        async with running.client(resume={"connId": former, "lastSeq": 0}) as client:
            assert client.hello["resume"] == {
                "resumed": False,
                "reason": "cannot resume: what was missed is no longer kept",
                "resyncRequired": True,
            }
            with pytest.raises(Refusal) as raised:
                await client.request("resume", {"connId": former, "lastSeq": 0})
            assert raised.value.error["details"] == {"resyncRequired": True}


@pytest.mark.parametrize("last", [99, 4_000_000_000])
async def test_a_number_that_has_never_been_is_not_resumed_from(running, last):
    async with running.client() as client:
        former = client.conn_id
    async with running.client() as client:
        with pytest.raises(Refusal, match="no longer kept"):
            await client.request("resume", {"connId": former, "lastSeq": last})


async def test_a_connection_of_somebody_else_is_unknown(running):
    from tests.gateway.client import Device

    async with running.client(device=Device()) as client:
        former = client.conn_id
    async with running.client() as client:
        for conn_id in (former, "no-such-connection"):
            with pytest.raises(Refusal, match="unknown connection"):
                await client.request("resume", {"connId": conn_id, "lastSeq": 0})


async def test_who_resumes_a_connection_that_is_still_open_ends_it(running):
    async with running.client() as first:
        said(running, "1")
        await first.event("chat")
        async with running.client(resume={"connId": first.conn_id, "lastSeq": 0}) as second:
            assert await first.ended() == (1008, "resumed elsewhere")
            await second.event("chat")


async def test_connections_that_have_gone_are_forgotten_in_time(start):
    now = [0.0]
    async with start(Limits(kept_connections=3), clock=lambda: now[0]) as running:
        gone = []
        for _ in range(5):
            async with running.client() as client:
                gone.append(client.conn_id)
        with anyio.fail_after(20):
            while running.gateway.hub.connections:
                await anyio.lowlevel.checkpoint()
        assert list(running.gateway.hub._past) == gone[2:]
        now[0] += 301
        running.gateway.hub.sweep()
        assert not running.gateway.hub._past


def test_marks_forget_the_oldest_numbers():
    marks = Marks(100, most=10)
    for number in range(1, 50):
        marks.add(100 + number)
    assert marks.number_of(49) == 149
    assert marks.number_of(39) is not None
    assert marks.number_of(5) is None
    assert marks.number_of(50) is None
    assert marks.number_of(-1) is None


# ── slow consumers ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_client_that_is_behind_loses_droppable_events_and_then_the_connection(running):
    text = "x" * 20_000
    async with running.client() as slow, running.client() as quick:
        slow.socket.transport.pause_reading()
        for number in range(400):
            said(running, text + str(number), droppable=True)
            await quick.event("chat", number + 1)
        assert slow.conn_id in running.gateway.hub.connections
        said(running, *(text for _ in range(200)))
        assert slow.conn_id not in running.gateway.hub.connections
        await quick.event("chat", 600)
        slow.socket.transport.resume_reading()
        assert await slow.ended() == (1008, "slow consumer")
        numbers = [event["seq"] for event in slow.named("chat")]
        assert numbers == list(range(1, len(numbers) + 1))
        assert running.log.named("gateway.slow_consumer")


async def test_more_small_frames_than_may_wait_end_the_connection_too(start):
    limits = Limits(queued_frames=100, queued_bytes=100_000_000)
    async with start(limits) as running, running.client() as slow:
        slow.socket.transport.pause_reading()
        for _ in range(400):
            said(running, "x" * 50_000)
            await anyio.lowlevel.checkpoint()
        assert slow.conn_id not in running.gateway.hub.connections


async def test_a_client_that_takes_nothing_for_too_long_is_closed(start):
    now = [0.0]
    async with start(clock=lambda: now[0]) as running, running.client() as slow:
        slow.socket.transport.pause_reading()
        said(running, "x" * 400_000, droppable=True)
        connection = running.gateway.hub.connections[slow.conn_id]
        with anyio.fail_after(20):
            while not connection.socket._paused:
                said(running, "x" * 400_000, droppable=True)
                await anyio.lowlevel.checkpoint()
        running.gateway.hub.sweep()
        now[0] += 29
        running.gateway.hub.sweep()
        assert slow.conn_id in running.gateway.hub.connections
        now[0] += 2
        running.gateway.hub.sweep()
        assert slow.conn_id not in running.gateway.hub.connections


async def test_a_slow_client_that_catches_up_goes_on(running):
    async with running.client() as client:
        client.socket.transport.pause_reading()
        for _ in range(60):
            said(running, "x" * 20_000)
            await anyio.lowlevel.checkpoint()
        client.socket.transport.resume_reading()
        await client.event("chat", 60)
        said(running, "after")
        await client.event("chat", 61)
        assert await client.request("last-heartbeat") is None
