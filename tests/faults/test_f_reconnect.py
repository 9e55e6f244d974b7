"""F1, F2, F4, F11: clients that go and come back, that do not read, and a clock that jumps."""

import json
import random
import time
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from ars_gateway.limits import Limits
from tests.gateway.host import TOKEN
from tests.gateway.raw import Raw, frame, opened

CHAT = {"sessionKey": "main", "seq": 1, "state": "final"}


def resident() -> int:
    """KiB of this process in memory, client and gateway together."""
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0])


@pytest.mark.faults("F1")
async def test_a_client_that_is_cut_off_at_random_misses_nothing(start, record, count, at_most):
    cuts, events = count(1000, 60), count(10_000, 600)
    seen: list[int] = []
    replays: list[float] = []
    chance = random.Random(7)
    async with start() as running:

        async def speak(hub) -> None:
            for number in range(events):
                hub.broadcast("chat", CHAT | {"runId": str(number)})
                if number % 7 == 0:
                    await anyio.lowlevel.checkpoint()
                if number % max(1, events // cuts) == 0:
                    await heard.wait()

        former, last, done = None, 0, 0
        heard = anyio.Event()
        async with anyio.create_task_group() as tasks:
            while not seen or seen[-1] < events - 1:
                more = {} if former is None else {"resume": {"connId": former, "lastSeq": last}}
                begun = time.monotonic()
                raw = await (await opened(running.addresses.port)).connect(TOKEN, **more)
                assert former is None or raw.hello["resume"]["resumed"], raw.hello
                if former is None:
                    tasks.start_soon(speak, running.gateway.hub)
                former, last = raw.hello["server"]["connId"], 0
                before, heard = heard, anyio.Event()
                before.set()
                enough = chance.randrange(1, 30) if done < cuts else events
                for number in range(enough):
                    with anyio.move_on_after(0.05 if done < cuts else 5):
                        event = json.loads(await raw.read() or b"{}")
                        if number == 0:
                            replays.append(time.monotonic() - begun)
                        last = event["seq"]
                        if event["event"] == "chat":
                            seen.append(int(event["payload"]["runId"]))
                        if seen and seen[-1] == events - 1:
                            break
                        continue
                    break
                raw.abort()
                done += 1
            heard.set()
            tasks.cancel_scope.cancel()
    lost, slowest = events - len(set(seen)), sorted(replays)[len(replays) * 99 // 100]
    measured = (
        f"{done} cuts, {events} events: {lost} lost, {seen != sorted(seen)} reordered, replay p99 {slowest:.3f} s"
    )
    record("F1", "0 lost, 0 reordered, replay < 0.2 s", measured, seen == list(range(events)) and slowest < at_most(2))


@pytest.mark.faults("F2")
async def test_an_outage_that_was_too_long_is_never_silent(start, record, count):
    silent = told = whole = 0
    chance = random.Random(11)
    trials = count(1000, 60)
    async with start(Limits(kept_events=20)) as running:
        for _ in range(trials):
            first = await (await opened(running.addresses.port)).connect(TOKEN)
            former = first.hello["server"]["connId"]
            first.abort()
            missed = chance.randrange(0, 40)
            for number in range(missed):
                running.gateway.hub.broadcast("chat", CHAT | {"runId": str(number)})
            again = {"resume": {"connId": former, "lastSeq": 0}}
            async with await opened(running.addresses.port) as raw:
                await raw.connect(TOKEN, **again)
                said = raw.hello["resume"]
                if said["resumed"]:
                    found = [json.loads(await raw.read() or b"{}") for _ in range(said["replayed"])]
                    runs = [int(it["payload"]["runId"]) for it in found]
                    whole += runs == list(range(missed))
                    silent += runs != list(range(missed))
                else:
                    told += said["resyncRequired"]
                    silent += missed <= 20
    measured = f"{trials} outages: {whole} replayed whole, {told} told, {silent} silent or needless"
    record("F2", "0 silent gaps", measured, silent == 0 and told > 0 and whole > 0)


@pytest.mark.faults("F4")
async def test_a_client_that_does_not_read_costs_the_others_nothing(start, record, count, at_most):
    text = "x" * 20_000
    async with start() as running:
        slow = await (await opened(running.addresses.port)).connect(TOKEN)
        quick = await (await opened(running.addresses.port)).connect(TOKEN)
        slow.writer.transport.pause_reading()
        connection = running.gateway.hub.connections[slow.hello["server"]["connId"]]
        before, worst, took = resident(), 0, []
        for number in range(count(5_000, 500)):
            begun = time.perf_counter()
            running.gateway.hub.broadcast("chat", CHAT | {"runId": text + str(number)})
            while text not in (event := (await quick.read() or b"").decode()) or f"{number}" not in event:
                pass
            took.append(time.perf_counter() - begun)
            worst = max(worst, resident() - before)
        assert connection.id not in running.gateway.hub.connections
        slow.writer.transport.resume_reading()
        code = await slow.ended()
        slow.abort()
        quick.abort()
    p99 = sorted(took)[len(took) * 99 // 100] * 1000
    measured = f"closed {code} {slow.reason!r}, memory +{worst / 1024:.1f} MiB, others p99 {p99:.1f} ms"
    held = (code, slow.reason) == (1008, "slow consumer") and worst < 20 * 1024 and p99 < at_most(250)
    record("F4", "1008 slow consumer, memory +<= 20 MiB, others p99 < 50 ms", measured, held)


@pytest.mark.faults("F11")
async def test_a_clock_that_jumps_ends_nothing(start, record):
    jump = [0]
    spurious = 0
    async with start(wall=lambda: time.time_ns() + jump[0] * 1_000_000_000) as running:
        raw = await (await opened(running.addresses.port)).connect(TOKEN)
        waiting = await opened(running.addresses.port)
        for seconds in (3600, -3600, 7200, -7200, 0):
            jump[0] = seconds
            running.gateway.hub.sweep()
            running.gateway.hub.broadcast("tick", {"ts": running.gateway.now_ms()})
            raw.write(frame({"type": "req", "id": "x", "method": "last-heartbeat"}))
            answers = [json.loads(await raw.read() or b"{}") for _ in range(2)]
            spurious += {it.get("type") for it in answers} != {"res", "event"}
            assert running.gateway.limiter.wait("anybody") == 0
        await waiting.connect(TOKEN)
        for one in (raw, waiting):
            one.abort()
    record("F11", "0 spurious timeouts", f"5 jumps of up to 2 h: {spurious}", spurious == 0)


async def test_the_counts_are_not_vacuous(start):
    """What F1 counts is seen to be lost without a resume."""
    async with start() as running:
        first: Raw = await (await opened(running.addresses.port)).connect(TOKEN)
        first.abort()
        running.gateway.hub.broadcast("chat", CHAT | {"runId": "1"})
        async with await opened(running.addresses.port) as raw:
            await raw.connect(TOKEN)
            running.gateway.hub.broadcast("chat", CHAT | {"runId": "2"})
            assert json.loads(await raw.read() or b"{}")["payload"]["runId"] == "2"
