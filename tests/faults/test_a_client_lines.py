"""The client's end of A1, A3, A4, A6-A8, A11 and A12: lines of an agent that are too much, too odd or plainly wrong."""

import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from acp_wire.errors import ConnectionClosed
from connector import Client, Command, launch
from tests.support.parrot import AGENTS, line, peer, update

MIB = 1 << 20
INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, NOT_FOUND = -32600, -32601, -32602, -32002
Record = Callable[[str, str, str, bool], None]
Count = Callable[[int, int], int]
needs_proc = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")


def request(identity: Any, method: str = "fs/read_text_file", **more: Any) -> bytes:
    params = {"sessionId": "s1", "path": "/a"}
    return line({"jsonrpc": "2.0", "id": identity, "method": method, "params": params, **more})


@pytest.mark.faults("A1 client")
async def test_random_lines_between_requests_cost_none_of_them(record: Record, count: Count) -> None:
    dice, times = random.Random(1), count(1000, 100)
    data = b""
    for number in range(times):
        junk = dice.randbytes(dice.randrange(1, 200)).replace(b"\n", b"")
        data += b"\xff" + junk + b"\n" + request(number)
    async with peer() as client:
        shown = await client.hears(data + update("after"))
        answered = [answer["id"] for answer in await client.sent() if "result" in answer]
    measured = f"{len(answered)}/{times} answered, {client.noise.lines} lines counted, then {shown}"
    held = answered == list(range(times)) and client.noise.lines == times and shown == ["after"]
    record("A1 client", "1,000/1,000 requests between random lines answered", measured, held)


@pytest.mark.faults("A3 client")
async def test_a_wrong_envelope_is_refused_with_its_id(record: Record) -> None:
    wrong = [{"jsonrpc": "2.0", "id": "a", "method": 7}, {"id": 8, "method": "fs/read_text_file"}]
    wrong.append({"jsonrpc": "1.0", "id": "c", "method": "fs/read_text_file"})
    async with peer() as client:
        shown = await client.hears(b"".join(map(line, wrong)) + update("after"))
        answers = [(answer["id"], answer["error"]["code"]) for answer in await client.sent()]
    held = answers == [(it["id"], INVALID_REQUEST) for it in wrong] and shown == ["after"]
    record("A3 client", "3/3 answered -32600 with the id", f"{answers}, then {shown}", held)


@pytest.mark.faults("A4 client")
async def test_odd_bytes_are_accepted_or_counted(record: Record, count: Count) -> None:
    times = count(100, 10)
    bad = b'{"jsonrpc":"2.0","method":"\xff"}\n\xc3\x28\n{"a":"\xed\xa0\x80"}\n{"a":\x00}\n'
    good = b"\xef\xbb\xbf" + update("bom") + update("crlf")[:-1] + b"\r\n" + b"\r\n   \n" + update("blank")
    async with peer() as client:
        shown = await client.hears((bad + good) * times)
        answers = await client.sent()
    counted = client.noise.lines
    measured = f"{counted} of {4 * times} counted, {len(shown)} of {3 * times} accepted, {len(answers)} answered"
    held = counted == 4 * times and shown == ["bom", "crlf", "blank"] * times and not answers
    record("A4 client", "0 silent drops, counter = injected; BOM, CRLF, blank accepted", measured, held)


def peak_rss() -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) * 1024 for row in status if row.startswith("VmHWM"))


def reset_peak() -> int:
    """Forgets the peak so far; what is used now."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_rss()


@needs_proc
@pytest.mark.faults("A6 client")
async def test_lines_are_taken_up_to_the_limit_and_refused_over_it(record: Record, count: Count, at_most: Any) -> None:
    limit = count(64 * MIB, 2 * MIB)
    slack = count(0, 16 * MIB)  # the allocator's own, which a small limit is lost in
    head, tail = update("@").split(b"@")
    accepted, rises, nexts = [], [], []
    async with peer(limit=limit) as client:
        for size in (70 << 10, limit // 8, limit, limit + 1):
            before = reset_peak()
            inside = size - len(head) - len(tail) + 1  # the limit does not count the newline
            shown = await client.hears_pieces((head, 1), (b"x", inside), (tail, 1))
            accepted.append(list(map(len, shown)) == [inside])
            rises.append(peak_rss() - before)
            shown.clear()
            began = time.monotonic()
            await client.hears(update("small"))
            nexts.append(time.monotonic() - began)
        codes = [answer["error"]["code"] for answer in await client.sent()]
    measured = f"{accepted}, {codes}; RSS +{max(rises) / limit:.1f}x; next in {max(nexts) * 1000:.0f} ms"
    held = accepted == [True] * 3 + [False] and codes == [INVALID_REQUEST] and max(rises) <= 3 * limit + slack
    record(
        "A6 client", "3 accepted, the 4th refused; RSS rise <= 3x limit", measured, held and max(nexts) < at_most(0.1)
    )


@needs_proc
@pytest.mark.faults("A7 client")
async def test_a_line_without_end_ends_the_connection(record: Record, count: Count) -> None:
    limit, size = count(64 * MIB, 2 * MIB), count(1024, 8)
    before = reset_peak()
    async with peer(limit=limit) as client:
        with pytest.raises(ConnectionClosed):
            await client.hears_pieces((b"x" * 1024, 1024 * size))
    rise = peak_rss() - before
    measured = f"closed, RSS +{rise // MIB} MiB"
    record(
        "A7 client", "closed after the limit of 1 GiB; RSS <= 2x limit + 64 MiB", measured, rise <= 2 * limit + 64 * MIB
    )


@pytest.mark.faults("A8 client")
async def test_values_that_break_parsers_break_nothing(record: Record) -> None:
    def with_meta(identity: str, value: str) -> bytes:
        params = f'{{"sessionId":"s1","path":"/a","_meta":{{"x":{value}}}}}'
        return f'{{"jsonrpc":"2.0","id":"{identity}","method":"fs/read_text_file","params":{params}}}\n'.encode()

    values = ["[" * 1_000 + "]" * 1_000, "[" * 100_000 + "]" * 100_000, "9" * 5_000, "NaN", '1,"x":2']
    answered = 0
    async with peer() as client:
        for number, value in enumerate(values):
            shown = await client.hears(with_meta(str(number), value) + update("after"))
            answers, printed = await client.sent(), client.noise.lines
            client.noise.lines = 0
            answered += shown == ["after"] and len(answers) + printed == 1
        failed = client.connection.counts["handler.failed"]
    held = answered == 5 and not failed
    record("A8 client", "5/5 answered or counted, no crash, no recursion", f"{answered}/5, {failed} failures", held)


@pytest.mark.faults("A11 client")
async def test_wrong_params_get_their_codes(tmp_path: Path, record: Record) -> None:
    asked: dict[str, tuple[str, dict[str, Any], int]] = {
        "missing field": ("fs/read_text_file", {"sessionId": "s1"}, INVALID_PARAMS),
        "wrong type": ("fs/write_text_file", {"sessionId": "s1", "path": 7, "content": ""}, INVALID_PARAMS),
        "relative path": ("fs/read_text_file", {"sessionId": "s1", "path": "a.txt"}, INVALID_PARAMS),
        "relative cwd": ("terminal/create", {"sessionId": "s1", "command": "true", "cwd": "a"}, INVALID_PARAMS),
        "unknown session": ("fs/read_text_file", {"sessionId": "s2", "path": f"{tmp_path}/a"}, NOT_FOUND),
        "unknown terminal": ("terminal/output", {"sessionId": "s1", "terminalId": "t"}, NOT_FOUND),
        "unknown method": ("fs/remove", {"sessionId": "s1", "path": f"{tmp_path}/a"}, METHOD_NOT_FOUND),
    }
    steps = [["ask", method, params] for method, params, _ in asked.values()]
    with anyio.fail_after(10):
        async with launch(
            Command("asks", [sys.executable, "-S", str(AGENTS / "asks.py")]), Client(), cwd=str(tmp_path)
        ) as agent:
            session = await agent.new_session(str(tmp_path))
            turn = await session.prompt(json.dumps(steps))
    codes = [answer.get("code", answer) for answer in json.loads(turn.text)]
    expected = [code for _, _, code in asked.values()]
    right = sum(one == other for one, other in zip(codes, expected, strict=True))
    record("A11 client", "7/7 codes", f"{right}/7: {dict(zip(asked, codes, strict=True))}", codes == expected)


@pytest.mark.faults("A12 client")
async def test_lone_surrogates_go_round(record: Record, count: Count) -> None:
    times, right = count(100, 10), 0
    async with peer() as client:
        for number in range(times):
            said, client.file = f"{number} \ud83d here", f"{number} \udfff alone"
            escaped = json.dumps(json.loads(update("@")) | {}).replace("@", json.dumps(said)[1:-1])
            shown = await client.hears(escaped.encode() + b"\n" + request(number))
            answers = await client.sent()
            right += shown == [said] and [answer["result"]["content"] for answer in answers] == [client.file]
        failed = client.connection.counts["handler.failed"]
    held = right == times and not failed
    record("A12 client", "100/100 round trips, never an exception", f"{right}/{times}, {failed} exceptions", held)
