"""A6-A8: lines up to the limit and over it, a line without end, and values that break parsers."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import Client, agent, script

ECHO = "=== turn repeat\nsay: $prompt\n"
KIB, MIB = 1 << 10, 1 << 20
INVALID_REQUEST = -32600


def padded(identity: str, size: int) -> bytes:
    """A valid request of exactly so many bytes, its newline not counted."""
    params: dict[str, Any] = {"protocolVersion": 1, "clientCapabilities": {}, "_meta": {"padding": ""}}
    message = {"jsonrpc": "2.0", "id": identity, "method": "initialize", "params": params}
    params["_meta"]["padding"] = "x" * (size - len(json.dumps(message)))
    return json.dumps(message).encode()


async def quick(client: Client) -> float:
    """Seconds that a small request takes."""
    began = time.monotonic()
    request_id = client.begin("initialize", {"protocolVersion": 1, "clientCapabilities": {}})
    await client.answer(request_id)
    return client.answers[int, request_id].at - began


@pytest.mark.faults("A6")
async def test_lines_are_taken_up_to_the_limit_and_refused_over_it(
    tmp_path: Path, record: Any, count: Any, at_most: Any
) -> None:
    limit = count(64 * MIB, 2 * MIB)
    slack = count(0, 16 * MIB)  # the allocator's own, which a small limit is lost in
    sizes = [70 * KIB, limit // 8, limit, limit + 1]
    async with agent(tmp_path, *script(tmp_path, ECHO), env={"ARS_MAX_LINE": str(limit)}, within=60) as client:
        client.lenient = True
        await client.new_session()
        rises, nexts, refused = [], [], []
        for size in sizes:
            before = client.rss()
            client.reset_peak()
            client.write(padded(f"n{size}", size) + b"\n")
            await client.until(lambda size=size: (str, f"n{size}") in client.answers or len(client.strays) > 0, 30)
            await client.flush()
            nexts.append(await quick(client))
            rises.append(client.rss("VmHWM") - before)
        refused = [error["code"] for error in client.strays]
        accepted = sum("result" in client.answers[str, f"n{size}"].message for size in sizes[:3])
    slowest = max(nexts) * 1000
    measured = f"{accepted} accepted, then {refused}; RSS +{max(rises) / limit:.1f}x; next in {slowest:.0f} ms"
    held = (
        accepted == 3 and refused == [INVALID_REQUEST] and max(rises) <= 3 * limit + slack and max(nexts) < at_most(0.1)
    )
    record("A6", "3 accepted, the 4th refused; RSS rise <= 3x limit; next request < 100 ms", measured, held)


@pytest.mark.faults("A7")
async def test_a_line_without_end_ends_the_connection(tmp_path: Path, record: Any, count: Any, at_most: Any) -> None:
    limit, total = count(64 * MIB, 2 * MIB), count(1024 * MIB, 32 * MIB)
    block, sent, peak, over, told_after = b"x" * (256 * KIB), 0, 0, 0.0, 99.0
    async with agent(tmp_path, *script(tmp_path, ECHO), env={"ARS_MAX_LINE": str(limit)}, within=60) as client:
        while sent < total and not client.deaf:
            client.write(block)
            await client.flush()
            sent += len(block)
            if client.ended is None:
                peak = max(peak, client.rss("VmHWM"))
            if sent > limit and not over:
                over = time.monotonic()
            if over and client.strays and told_after == 99.0:
                told_after = time.monotonic() - over
        assert client.strays
        ended = await client.gone()
    allowed = limit * 2 + 64 * MIB
    measured = f"peak {peak // MIB} MiB of {allowed // MIB}; told {told_after:.2f} s after, closed at {sent // MIB} MiB"
    held = peak <= allowed and told_after <= at_most(1) and sent <= limit * 2 + 8 * MIB and ended.code == 0
    record("A7", "RSS <= limit x 2 + 64 MiB; connection error <= 1 s after the limit", measured, held)


@pytest.mark.faults("A8")
async def test_values_that_break_parsers_are_answered(tmp_path: Path, record: Any) -> None:
    def request(identity: str, params: str) -> bytes:
        head = f'{{"jsonrpc":"2.0","id":"{identity}","method":"initialize","params":'
        return (head + params + "}\n").encode()

    def meta(value: str) -> str:
        return f'{{"protocolVersion":1,"_meta":{{"x":{value}}}}}'

    injected = [
        request("deep", meta("[" * 1_000 + "]" * 1_000)),
        request("deeper", meta("[" * 100_000 + "]" * 100_000)),
        request("digits", meta("9" * 5_000)),
        request("nan", meta("NaN")),
        request("twice", '{"protocolVersion":7,"protocolVersion":1}'),
    ]
    async with agent(tmp_path, *script(tmp_path, ECHO)) as client:
        client.lenient = True
        answered = 0
        for number, line in enumerate(injected, 1):
            before = len(client.answers) + len(client.strays)
            client.write(line)
            await quick(client)
            answered += len(client.answers) + len(client.strays) == before + 2
            assert client.ended is None, number
        recursion = "RecursionError" in client.log_text()
        codes = [error["code"] for error in client.strays]
    measured = f"{answered}/5 answered (errors: {codes}), recursion: {recursion}"
    record("A8", "5/5 answered, no crash, no recursion", measured, answered == 5 and not recursion)
