"""Streams of the remote transport over HTTP that are cut, taken over, asked for again, or not read at all."""

import asyncio
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from ars_gateway.http.acp import Streams
from ars_gateway.limits import LIMITS
from tests.gateway.http.asking import error_of
from tests.gateway.http.editors import Editor, closed, editor, gone
from tests.gateway.http.test_acp import opened
from tests.support.waiting import until


async def told_to_go_on(one: Editor) -> None:
    await one.post({"jsonrpc": "2.0", "method": "go on"})


# ── cut, and taken up again ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_stream_that_is_cut_a_hundred_times_loses_nothing_and_doubles_nothing(served):
    times, many, rng = 100, 40, random.Random(8)
    async with served() as running, editor(running) as one:
        session = await opened(one)
        stream = one.streams[1]
        texts: list[str] = []
        id = await one.do(session, *[["say", [many, 50]], ["wait", 1]] * times)
        for _ in range(times):
            enough = rng.randrange(1, many)
            await one.until(lambda: len(stream.messages) >= enough)  # noqa: B023
            if rng.random() < 0.5:  # in the middle of what the agent says, or while it is silent
                await told_to_go_on(one)
                await stream.cut()
            else:
                await stream.cut()
                await told_to_go_on(one)
            texts += stream.texts()
            stream = await one.listen(session, stream.ids[-1])
        await one.answer(id)
        texts += stream.texts()
        assert texts == [f"{n:06d}" for n in range(times * many)]
        assert stream.messages[-1]["result"]["_meta"]["said"] == times * many


async def test_a_message_that_nobody_has_got_yet_is_the_next_ones_without_any_id(served):
    async with served() as running, editor(running) as one:
        session = await opened(one)
        await one.answer(await one.do(session, ["say", [2, 0]]))
        await one.streams[1].cut()
        await one.until(lambda: one.streams[1].over.is_set())
        id = await one.do(session, ["say", [3, 0]])
        stream = await one.listen(session)
        await one.answer(id)
        assert stream.texts() == ["000000", "000001", "000002"]


async def test_a_second_reader_takes_the_place_of_the_first(served):
    async with served() as running, editor(running) as one:
        session = await opened(one)
        id = await one.do(session, ["say", [2, 0]], ["wait", 1], ["say", [2, 0]])
        first = one.streams[1]
        await one.until(lambda: len(first.messages) == 2)
        second = await one.listen(session, first.ids[0])
        await first.over.wait()
        await told_to_go_on(one)
        await one.answer(id)
        assert (first.texts(), second.texts()) == (["000000", "000001"], ["000001", "000002", "000003"])


async def test_an_id_that_is_of_no_event_here_or_is_forgotten_is_said_to_be(served):
    limits = replace(LIMITS, remote_kept_bytes=2_000)
    async with served(limits=limits) as running, editor(running) as one:
        session = await opened(one)
        await one.answer(await one.do(session, ["say", [50, 100]]))
        stream = one.streams[1]
        events = {"accept": "text/event-stream"}
        for last, status in [
            (stream.ids[0], 409),
            (f"{stream.ids[-1]}9", 409),
            ("1-1", 409),
            ("9-1", 409),
            ("", 400),
            ("x", 400),
            ("2-", 400),
            ("2-" + "1" * 5000, 400),
        ]:
            headers = one.headers(session, **events, **{"last-event-id": last})
            answer = await one.http.get("/acp", headers=headers)
            assert answer.status_code == status, last
            assert error_of(answer)["code"] == ("CONFLICT" if status == 409 else "INVALID_MESSAGE")
        # Nobody's stream was taken by those.
        assert not stream.over.is_set()
        again = await one.listen(session, stream.ids[-3])
        await one.until(lambda: len(again.messages) == 2)
        assert again.messages == stream.messages[-2:]


# ── nobody reads, or nobody is there ──────────────────────────────────────────────────────────────────────────────────


def rss(pid: int) -> int:
    """KiB in memory."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0])


async def test_an_editor_that_reads_nothing_holds_up_its_agent_and_is_left_in_the_end(served):
    limits = replace(LIMITS, remote_waiting_bytes=500_000, remote_stalled_seconds=1.0)
    async with served(limits=limits) as running, editor(running) as one:
        await one.initialize()
        await one.begin("session/new", {})
        await until(lambda: running.gateway.remotes.owned.has("owner", "main", "session-1"))
        before = rss(os.getpid())
        await one.do("session-1", ["say", [200, 500_000]])  # 100 MB
        remote = running.gateway.remotes.find(one.id, "owner")
        assert remote is not None
        await gone(one.pid)
        assert rss(os.getpid()) - before < 20_000
        assert remote.why == "the editor has taken nothing for 1 s"


async def test_an_editor_that_stops_reading_in_mid_stream_is_left_too(served):
    limits = replace(LIMITS, remote_waiting_bytes=500_000, remote_kept_bytes=500_000, remote_stalled_seconds=1.0)
    async with served(limits=limits) as running, editor(running) as one:
        session = await opened(one)
        reader, writer = await asyncio.open_connection("127.0.0.1", running.addresses.port)
        head = {"host": f"127.0.0.1:{running.addresses.port}", "authorization": f"Bearer {running.token}"}
        head |= one.headers(session, accept="text/event-stream")
        writer.write(b"GET /acp HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in head.items()).encode() + b"\r\n")
        assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        before = rss(os.getpid())
        await one.do(session, ["say", [400, 500_000]])
        await gone(one.pid)
        assert rss(os.getpid()) - before < 30_000
        writer.transport.abort()


async def test_an_editor_that_has_no_stream_open_for_long_is_left(served):
    async with served(limits=replace(LIMITS, remote_idle_seconds=1)) as running, editor(running) as one:
        await one.initialize()
        stream = await one.listen()
        await stream.cut()
        await gone(one.pid)
        assert (await one.post({"jsonrpc": "2.0", "id": 1, "method": "x"})).status_code == 404


async def test_an_agent_that_reads_nothing_makes_its_editor_wait_and_then_says_so(served):
    limits = replace(LIMITS, remote_stalled_seconds=0.5)
    async with served(limits=limits) as running, editor(running) as one:
        session = await opened(one)
        await one.do(session, ["deaf", 1])
        message = {"jsonrpc": "2.0", "method": "x", "params": {"t": "x" * 3_000_000}}
        assert (await one.post(message)).status_code == 202
        answer = await one.post(message)
        assert (answer.status_code, error_of(answer)["code"]) == (503, "AGENT_UNAVAILABLE")
        await one.http.delete("/acp", headers=one.headers())
        await gone(one.pid)


async def test_more_requests_than_an_agent_may_owe_are_answered_at_once(served):
    async with served(limits=replace(LIMITS, remote_pending=5)) as running, editor(running) as one:
        await one.initialize()
        await one.listen()
        for _ in range(5):
            await one.begin("never")
        assert "too many" in (await one.request("never"))["error"]["message"]


# ── ends ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_agent_that_is_killed_in_mid_turn_leaves_no_request_without_an_answer(served):
    async with served() as running, editor(running) as one:
        session = await opened(one)
        turn = await one.do(session, ["say", [3, 0]], ["err", "a secret: sk-abcdefgh12345678"], ["wait", 1], ["die", 1])
        other = await one.begin("echo")
        await told_to_go_on(one)
        for id in (turn, other):
            error = (await one.answer(id))["error"]
            assert error == {"code": -32603, "message": "agent main has ended: killed by SIGKILL"}
        assert one.streams[1].texts() == ["000000", "000001", "000002"]
        for stream in one.streams:
            await stream.over.wait()
        answer = await one.post({"jsonrpc": "2.0", "id": 9, "method": "x"})
        assert (answer.status_code, error_of(answer)["message"]) == (404, "agent main has ended: killed by SIGKILL")
        assert "a secret: [redacted]" in (await closed(running))["stderr"]


async def test_what_an_agent_has_said_last_can_still_be_asked_for_by_an_editor_that_was_cut_off(served):
    async with served() as running, editor(running) as one:
        session = await opened(one)
        id = await one.do(session, ["say", [2, 0]], ["wait", 1], ["say", [1, 0]], ["die", 1])
        stream = one.streams[1]
        await one.until(lambda: len(stream.messages) == 2)
        await stream.cut()
        await told_to_go_on(one)
        await gone(one.pid)
        again = await one.listen(session, stream.ids[0])
        assert "SIGKILL" in (await one.answer(id))["error"]["message"]
        assert again.texts() == ["000001", "000002"]
        await again.over.wait()


async def test_the_end_of_the_gateway_answers_what_is_open_and_ends_every_agent(served):
    async with served() as running, editor(running) as one, editor(running) as deaf:
        session = await opened(one)
        id = await one.do(session, ["wait", 1])
        other = await opened(deaf)
        await deaf.do(other, ["deaf", 1])
        running.gateway.say_goodbye()
        assert (await one.answer(id))["error"]["message"] == "the gateway ends"
        for stream in one.streams:
            await stream.over.wait()
        await gone(one.pid)
        await gone(deaf.pid)
        assert (
            await one.http.post("/acp", json={"jsonrpc": "2.0", "id": 1, "method": "initialize"})
        ).status_code == 429


async def test_a_message_too_long_to_be_passed_on_ends_the_connection(served):
    limits = replace(LIMITS, remote_message_bytes=50_000)
    async with served(limits=limits) as running, editor(running) as one:
        session = await opened(one)
        id = await one.do(session, ["say", [1, 60_000]])
        assert "too long" in (await one.answer(id))["error"]["message"]
        await gone(one.pid)


async def test_a_fault_of_ours_in_one_connection_is_no_others(served, monkeypatch):
    def put(streams: Streams, message: Any, line: bytes, route: str | None) -> None:
        if message.get("method") == "bad":
            raise ZeroDivisionError
        of_theirs(streams, message, line, route)

    of_theirs = Streams.put
    monkeypatch.setattr(Streams, "put", put)
    async with served() as running, editor(running) as one, editor(running) as other:
        session = await opened(one)
        await other.initialize()
        await other.listen()
        id = await one.do(session, ["raw", '{"jsonrpc": "2.0", "method": "bad"}'], ["wait", 1])
        assert (await one.answer(id))["error"]["message"] == "a fault of the gateway's"
        assert "result" in await other.request("echo")
        (line,) = running.log.named("remote.fault")
        assert isinstance(line["exc_info"], ZeroDivisionError)
        await gone(one.pid)
