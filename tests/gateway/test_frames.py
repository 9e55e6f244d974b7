"""Frames after hello: what is answered, in which words, and what is let pass."""

import asyncio
import json
import struct

import anyio
import pytest

from ars_gateway.call import Method
from ars_gateway.errors import AGENT_TIMEOUT, MethodError
from ars_gateway.limits import LIMITS
from ars_gateway.protocol.frames import text_frame
from tests.gateway.client import Refusal
from tests.gateway.wire import recorded


async def test_recorded_bad_frames_are_answered_in_the_same_words(running):
    conversation = recorded("fr_bad_frames")
    begun = next(index for index, line in enumerate(conversation) if line["dir"] == "c2s") + 1
    lines = [
        line for line in conversation[begun:] if line["dir"] == "c2s" or line.get("frame", {}).get("type") == "res"
    ]
    async with running.client() as client:
        expected = []
        for line in lines[1:]:
            if line["dir"] == "s2c":
                expected.append(line["frame"])
            elif (line.get("frame") or {}).get("id") != "still-alive":
                await client.send(line["raw"] if "raw" in line else line["frame"])
        await client.request("last-heartbeat")
        assert client.strays == [frame for frame in expected if frame["id"] != "still-alive"]


async def test_equal_ids_are_answered_each(running):
    async with running.client() as client:
        await client.begin("last-heartbeat", request_id="dup")
        await client.begin("system-presence", request_id="dup")
        assert await client.answer("dup", 1) is None
        assert isinstance(await client.answer("dup", 2), list)


@pytest.mark.parametrize(("params", "fits"), [(None, True), ({}, True), ([], False), ("x", False), (5, False)])
async def test_parameters_are_an_object_or_nothing(running, params, fits):
    async with running.client() as client:
        await client.send({"type": "req", "id": "p", "method": "device.pair.list", "params": params})
        await client.until(lambda: client.strays)
        answer = client.strays[0]
        if fits:
            assert answer["payload"] == {"pending": [], "paired": []}
        else:
            assert answer["error"]["message"] == "invalid device.pair.list params: must be object"


@pytest.mark.parametrize("name", ["constructor", "toString", "__proto__", "hasOwnProperty", "nodes.list", "HEALTH"])
async def test_an_unknown_method_is_named_whatever_it_is_called(running, name):
    async with running.client() as client:
        with pytest.raises(Refusal) as raised:
            await client.request(name)
        assert raised.value.error == {"code": "INVALID_REQUEST", "message": f"unknown method: {name}"}


async def test_recorded_unknown_methods_are_unknown_here_too(running):
    conversation = recorded("fr_unknown_method")
    asked = {line["frame"]["id"]: line["frame"] for line in conversation if line["dir"] == "c2s"}
    answers = {
        line["frame"]["id"]: line["frame"]
        for line in conversation
        if line["dir"] == "s2c" and line["frame"]["type"] == "res"
    }
    async with running.client() as client:
        seen = 0
        for key, frame in asked.items():
            error = answers.get(key, {}).get("error")
            if frame["method"] == "connect" or error is None or "unknown method" not in error["message"]:
                continue
            with pytest.raises(Refusal) as raised:
                await client.request(frame["method"], frame.get("params"))
            assert raised.value.error == error
            seen += 1
        assert seen > 3


async def test_a_method_of_a_later_time_says_so_and_is_not_advertised(running):
    async with running.client() as client:
        with pytest.raises(Refusal) as raised:
            await client.request("cron.list")
        assert raised.value.error == {
            "code": "UNAVAILABLE",
            "message": "cron.list is not served by this gateway",
        }
        assert "cron.list" not in client.hello["features"]["methods"]


async def test_json_in_a_binary_frame_is_taken(running):
    async with running.client() as client:
        await client.send(json.dumps({"type": "req", "id": "b", "method": "last-heartbeat"}).encode())
        await client.until(lambda: client.strays)
        assert client.strays == [{"type": "res", "id": "b", "ok": True, "payload": None}]


async def test_a_message_in_fragments_is_one_message(running):
    async with running.client() as client:
        text = json.dumps({"type": "req", "id": "f", "method": "last-heartbeat"})
        await client.socket.send([text[:7], text[7:20], "", text[20:]])
        await client.until(lambda: client.strays)
        assert client.strays[0]["ok"]


async def test_answers_come_in_the_order_of_completion(start):
    gate = anyio.Event()

    async def slow(call, params):
        await gate.wait()
        return {"slow": True}

    rows = [Method("test.slow", None, slow, params=None)]
    async with start(methods=rows) as running, running.client() as client:
        first = await client.begin("test.slow")
        assert await client.request("last-heartbeat") is None
        gate.set()
        assert await client.answer(first) == {"slow": True}


async def test_a_method_may_answer_twice(start):
    async def twice(call, params):
        call.answer({"status": "accepted"})
        return {"status": "ok"}

    async with start(methods=[Method("test.twice", None, twice, params=None)]) as running, running.client() as client:
        request = await client.begin("test.twice")
        assert await client.answer(request, 1) == {"status": "accepted"}
        assert await client.answer(request, 2) == {"status": "ok"}


async def test_a_methods_error_is_told_whole(start):
    async def fails(call, params):
        raise MethodError(AGENT_TIMEOUT, "too slow", {"agent": "main"}, retryable=True, retry_after_ms=250)

    async with start(methods=[Method("test.fails", None, fails, params=None)]) as running, running.client() as client:
        with pytest.raises(Refusal) as raised:
            await client.request("test.fails")
        assert raised.value.error == {
            "code": "AGENT_TIMEOUT",
            "message": "too slow",
            "details": {"agent": "main"},
            "retryable": True,
            "retryAfterMs": 250,
        }


@pytest.mark.parametrize("inline", [True, False])
async def test_a_methods_fault_is_an_answer_and_a_line_in_the_log(start, inline):
    def breaks(call, params):
        raise ZeroDivisionError("secret detail")

    async def breaks_later(call, params):
        raise ZeroDivisionError("secret detail")

    rows = [Method(f"test.breaks.{inline}", None, breaks if inline else breaks_later, params=None)]
    async with start(methods=rows) as running, running.client() as client:
        with pytest.raises(Refusal, match="UNAVAILABLE: internal error"):
            await client.request(rows[0].name)
        assert running.log.named("gateway.method_failed")
        assert await client.request("last-heartbeat") is None


async def test_a_call_ends_with_its_connection(start):
    begun, ended = anyio.Event(), anyio.Event()

    async def waits(call, params):
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    async with start(methods=[Method("test.waits", None, waits, params=None)]) as running:
        async with running.client() as client:
            await client.begin("test.waits")
            with anyio.fail_after(20):
                await begun.wait()
        with anyio.fail_after(20):
            await ended.wait()


async def test_a_method_with_a_rate_says_when_to_come_again(start):
    rows = [Method("test.rare", None, lambda call, params: {}, params=None, rate=(3, 60))]
    async with start(methods=rows) as running, running.client() as client:
        for _ in range(3):
            assert await client.request("test.rare") == {}
        with pytest.raises(Refusal) as raised:
            await client.request("test.rare")
        assert raised.value.error["retryable"] is True
        assert 59_000 < raised.value.error["retryAfterMs"] <= 60_000


# ── sizes ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def padded(size: int) -> str:
    """A request of exactly `size` bytes."""
    empty = json.dumps({"type": "req", "id": "big", "method": "last-heartbeat", "params": {"x": ""}})
    return empty.replace('"x": ""', f'"x": "{"a" * (size - len(empty))}"')


async def test_a_frame_of_the_largest_size_is_read_and_one_byte_more_closes(running):
    async with running.client() as client:
        await client.send(padded(LIMITS.frame_bytes))
        await client.until(lambda: client.strays)
        await client.send(padded(LIMITS.frame_bytes + 1))
        assert (await client.ended())[0] == 1009


async def test_before_hello_64_kib_are_the_most(running):
    async with running.socket() as client:
        await client.challenge()
        await client.send(padded(LIMITS.hello_bytes + 1))
        assert (await client.ended())[0] == 1009


@pytest.mark.parametrize("depth", [99, 101, 1000, 100_000])
async def test_json_nested_too_deep_is_no_request(running, depth):
    async with running.client() as client:
        params = "[" * (depth - 1) + "]" * (depth - 1)
        await client.send(f'{{"type":"req","id":"deep","method":"last-heartbeat","params":{params}}}')
        assert await client.request("system-presence")
        said = [frame.get("error", {}).get("message") for frame in client.strays]
        if depth < 100:
            assert said == [None]
        elif depth <= 1000:
            assert said == ["invalid request frame: nested deeper than 100"]
        else:
            assert said == []  # to the parser that is no JSON, and what is none is not answered


async def test_text_that_is_no_utf8_closes_with_1007(running):
    async with running.client() as client:
        await client.socket.send(b"\xff\xfe\xfd", text=True)
        assert await client.ended() == (1007, "invalid UTF-8")


async def test_compression_is_offered_and_not_taken(running):
    async with running.client(options={"compression": "deflate"}) as client:
        assert client.socket.protocol.extensions == []
        assert await client.request("last-heartbeat") is None


async def test_pings_are_answered(running):
    async with running.client() as client:
        with anyio.fail_after(20):
            await (await client.socket.ping(b"hello"))


async def test_answers_may_be_larger_than_requests(start):
    rows = [Method("test.large", None, lambda call, params: "x" * 3_000_000, params=None)]
    async with start(methods=rows) as running, running.client() as client:
        assert len(await client.request("test.large")) == 3_000_000


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 100_000])
def test_the_head_of_a_text_frame_says_its_size(size):
    frame = text_frame(b"x" * size)
    assert frame[0] == 0x81
    if size < 126:
        assert (frame[1], len(frame)) == (size, size + 2)
    elif size < 65536:
        assert (frame[1], struct.unpack("!H", frame[2:4])[0], len(frame)) == (126, size, size + 4)
    else:
        assert (frame[1], struct.unpack("!Q", frame[2:10])[0], len(frame)) == (127, size, size + 10)


async def test_a_client_that_reads_nothing_is_not_read_either(start):
    """Answers that wait are bounded by not taking more requests."""
    asked = 0

    def large(call, params):
        nonlocal asked
        asked += 1
        return "x" * 100_000

    rows = [Method("test.large", None, large, params=None)]
    async with start(methods=rows) as running, running.client() as client:
        client.socket.transport.pause_reading()
        frame = json.dumps({"type": "req", "id": "l", "method": "test.large"})
        for _ in range(1000):
            await client.send(frame)
        for _ in range(200):
            await asyncio.sleep(0)
        assert asked < 500
        client.socket.transport.resume_reading()
        await client.until(lambda: len(client.strays) == 1000)
