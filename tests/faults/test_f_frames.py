"""F6, F7, F8: frames that no honest client sends."""

import gc
import json
import random
import zlib
from typing import Any

import anyio
import pytest

from ars_gateway.limits import Limits
from ars_gateway.methods import METHODS
from ars_gateway.protocol.validate import _schemas
from tests.faults.test_f_reconnect import resident
from tests.gateway.host import TOKEN
from tests.gateway.raw import Raw, asked, frame, opened

PING, CLOSE, TEXT, BINARY, CONTINUE = 9, 8, 1, 2, 0


@pytest.mark.faults("F6")
async def test_frames_that_no_client_sends_end_as_they_should(start, record):
    held: dict[str, bool] = {}
    limits = Limits(handshake_seconds=1)
    async with start(limits) as running:
        port = running.addresses.port

        async def entered() -> Raw:
            return await (await opened(port)).connect(TOKEN)

        async def warm() -> None:
            raw = await entered()
            raw.write(frame(b"x" * limits.frame_bytes))
            raw.abort()

        await warm()
        gc.collect()
        before = resident()
        raw = await entered()
        raw.write(frame(b"x" * (limits.frame_bytes + 1)))
        held["oversize"] = await raw.ended() == 1009
        raw = await entered()
        raw.write(frame(b"x" * 60_000, TEXT, fin=False) + frame(b"x" * 60_000, CONTINUE, fin=False) * 9)
        held["fragments"] = await raw.ended() == 1009
        raw = await entered()
        bomb = zlib.compress(b"\0" * 50_000_000)
        compressed = bytearray(frame(bomb))
        compressed[0] |= 0x40
        raw.write(bytes(compressed))
        held["compressed"] = await raw.ended() == 1002
        raw = await entered()
        raw.write(frame({"type": "req", "id": "b", "method": "last-heartbeat"}, BINARY))
        held["binary"] = json.loads(await raw.read() or b"{}")["ok"]
        raw.write(frame(b"", PING) * (limits.pings + 1))
        held["pings"] = await raw.ended() == 1008
        raw = await opened(port)
        await raw.read()
        raw.write(frame({"type": "req", "id": "c", "method": "connect"})[:9])
        held["half-open"] = await raw.ended() == 1000
        raw = await opened(port)
        held["no handshake"] = await raw.ended() == 1000
        assert len(running.gateway.lobby) == 0
        assert not running.gateway.hub.connections
        gc.collect()
        grown = (resident() - before) / 1024
    measured = f"{sum(held.values())}/{len(held)} {held}, memory {grown:+.1f} MiB"
    record("F6", "7/7, memory +<= 2 MiB", measured, len(held) == 7 and all(held.values()) and grown < 8)


@pytest.mark.faults("F6 sockets that never ask")
async def test_a_socket_that_never_asks_for_anything_is_closed(start, record):
    async with start(Limits(handshake_seconds=0.2)) as running:
        with pytest.raises((anyio.EndOfStream, EOFError, ConnectionError)):
            await asked(running.addresses.port, b"GET / HTTP/1.1\r\nHost:")
        record("F6 sockets that never ask", "closed in time", "closed", len(running.gateway.lobby) == 0)


def fuzzed(chance: random.Random) -> tuple[bytes, bool]:
    """A frame, and whether it is JSON and so has to be answered."""
    kind = chance.randrange(8)
    request: dict[str, Any] = {"type": "req", "id": f"id{chance.randrange(5)}", "method": chance.choice(NAMES)}
    if kind <= 3:
        request["params"] = params_of(request["method"], chance)
        return json.dumps(request).encode(), True
    if kind == 4:
        return json.dumps({"type": chance.choice(["event", "res", 5, None]), "event": "chat", "id": 1}).encode(), True
    if kind == 5:
        request[chance.choice(["type", "id", "method", "surprise"])] = anything(chance, 0)
        request["params"] = [1]
        return json.dumps(request).encode(), True
    if kind == 6:
        return json.dumps(anything(chance, 0)).encode(), True
    text = bytearray(json.dumps(request).encode())
    for _ in range(3):
        text[chance.randrange(len(text))] = chance.randrange(32, 127)
    try:
        found = json.loads(text)
    except ValueError:
        return bytes(text), False
    return (bytes(text), True) if isinstance(found, dict) and "params" in found else (b"[]", True)


NAMES = [*METHODS, "__proto__", "constructor", "no.such", ""]


def params_of(method: str, chance: random.Random) -> Any:
    """Parameters of which some are right by chance; one is always wrong, so that nothing starts an agent."""
    known = _schemas().get(method, {}).get("properties", {})
    found = {name: anything(chance, 0) for name in known if chance.random() < 0.7}
    return chance.choice([found | {"__surprise__": 1}, [found], "x", 5, True])


def anything(chance: random.Random, depth: int) -> Any:
    simple = [None, True, 0, -1, 1e308, 2**63, "", "x" * chance.randrange(200), "\u202e\x1b[2J", "main", [], {}]
    if depth > 3 or chance.random() < 0.7:
        return chance.choice(simple)
    if chance.random() < 0.5:
        return [anything(chance, depth + 1) for _ in range(3)]
    return {chance.choice(["a", "__proto__", "id", ""]): anything(chance, depth + 1) for _ in range(3)}


@pytest.mark.faults("F7")
async def test_fuzzed_frames_are_answered_and_break_nothing(start, record, count):
    chance = random.Random(20)
    frames = count(20_000, 2_000)
    unanswered = crashes = 0
    async with start(Limits(unauthorised_calls=10**9)) as running:
        raw = await (await opened(running.addresses.port)).connect(TOKEN)
        for begin in range(0, frames, 100):
            batch = [fuzzed(chance) for _ in range(min(100, frames - begin))]
            raw.write(b"".join(frame(data) for data, _ in batch))
            raw.write(frame({"type": "req", "id": "mark", "method": "last-heartbeat"}))
            answers = 0
            while (data := await raw.read()) is not None:
                answer = json.loads(data)
                if answer.get("id") == "mark":
                    break
                answers += answer["type"] == "res"
                if answer["type"] == "res" and not answer["ok"]:
                    assert answer["error"]["code"] in ("INVALID_REQUEST", "UNAVAILABLE"), answer
                    assert not answer["error"].get("retryable"), answer
            if data is None:
                crashes += 1
                break
            # Methods that answer from a task may come behind the mark.
            unanswered += max(0, sum(due for _, due in batch) - answers)
        crashes += len(running.log.named("gateway.method_failed"))
        raw.abort()
    measured = f"{frames} frames: {crashes} crashes, {unanswered} without an answer"
    record("F7", "0 crashes in 20,000, every one answered", measured, crashes == 0 and unanswered == 0)


@pytest.mark.faults("F8")
async def test_a_flood_of_unauthorised_calls_is_cut_off(start, record):
    async with start() as running:
        async with await opened(running.addresses.port) as raw:
            await raw.connect(TOKEN, scopes=["operator.read"])
            raw.write(frame({"type": "req", "id": "n", "method": "config.get"}) * 100)
            answers = 0
            while (data := await raw.read()) is not None:
                answers += json.loads(data).get("type") == "res"
        lines = len(running.log.named("gateway.unauthorised_call"))
    measured = f"{answers} answers, {lines} log lines, closed {raw.code}"
    record(
        "F8",
        "closed 1008, <= 20 answers, <= 10 log lines",
        measured,
        answers <= 20 and lines <= 10 and raw.code == 1008,
    )
