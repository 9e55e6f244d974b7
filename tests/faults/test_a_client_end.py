"""The client's end of part A: our own connection, against agents that write what they should not."""

import base64
import contextlib
import json
import random
import time
from typing import Any

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from acp_wire import methods
from acp_wire.errors import RpcError
from tests.support.noise import bombard
from tests.support.parrot import Peer, line, peer, update

INVALID_REQUEST = -32600


@pytest.mark.faults("A2 client")
async def test_json_that_is_no_message_is_skipped(record: Any) -> None:
    async with peer() as client:
        shown = await client.hears(b'[]\n[{"jsonrpc":"2.0"}]\nnull\n1\n"s"\n{}\n' + update("after"))
        answers = await client.sent()
    held = shown == ["after"] and not answers and client.noise.lines == 6
    measured = f"{client.noise.lines}/6 counted, {len(answers)} answered, then {shown}"
    record("A2 client", "6/6 counted as print, not answered; what follows is taken", measured, held)


@pytest.mark.faults("A5 client")
async def test_updates_are_the_same_however_their_bytes_are_cut(record: Any, count: Any) -> None:
    dice, number = random.Random(5), count(10_000, 300)
    texts = [dice.choice(["мир ", "🌍🧪", "Grüße", "語", "plain ", "👩‍💻"]) for _ in range(number)]
    lines = list(map(update, texts))
    # In full every byte of a hundred updates comes alone; the rest in pieces that end anywhere.
    alone, rest = b"".join(lines[: number // 100]), b"".join(lines[number // 100 :])
    async with peer(within=120) as client:
        shown = await client.hears(alone, [1])
        shown += await client.hears(rest, [dice.randrange(1, 400) for _ in range(999)])
    differ = sum(one != other for one, other in zip(shown, texts, strict=True))
    replaced = "\ufffd" in "".join(shown)
    record(
        "A5 client",
        "0 U+FFFD, 0 lost of 10,000",
        f"{differ} of {len(shown)} differ, U+FFFD: {replaced}",
        not differ and not replaced,
    )


@pytest.mark.faults("A9 client")
async def test_an_agent_gets_its_ids_back_exactly(record: Any) -> None:
    ids = ["text", None, 0, -1, 1.5, 2**53 + 1, {"a": 1}]
    asked = [
        {"jsonrpc": "2.0", "id": it, "method": "fs/read_text_file", "params": {"sessionId": "s1", "path": "/a"}}
        for it in ids
    ]
    async with peer() as client:
        await client.hears(b"".join(map(line, asked)))
        answers = await client.sent()
    results = [answer["id"] for answer in answers if "result" in answer]
    refused = [answer["error"]["code"] for answer in answers if "error" in answer and answer["id"] is None]
    exact = [(type(it), it) for it in results] == [(type(it), it) for it in ids if type(it) not in (float, dict)]
    record(
        "A9 client",
        "5 echoed exactly, 2 refused -32600",
        f"{results}, {refused}",
        exact and refused == [INVALID_REQUEST] * 2,
    )


@pytest.mark.faults("A10 client")
async def test_answers_to_nothing_and_unknown_notifications_are_ignored(record: Any, count: Any) -> None:
    times = count(1000, 100)
    data = b""
    for number in range(times):
        data += line({"jsonrpc": "2.0", "id": 10**6 + number, "result": {}})
        data += line({"jsonrpc": "2.0", "method": "_other/thing", "params": number})
    async with peer() as client:
        shown = await client.hears(data + update("after"))
        replies = await client.sent()
        counts = client.connection.counts
    held = not replies and shown == ["after"] and counts["answer.unknown"] == counts["notification.unknown"] == times
    record("A10 client", "0 replies in 1,000 of each, all counted", f"{len(replies)} replies, {dict(counts)}", held)


@pytest.mark.faults("A13")
async def test_what_an_agent_prints_costs_no_update(record: Any, count: Any) -> None:
    wanted = count(10_000, 500)
    async with peer("noisy.py") as client:
        await client.connection.request(methods.SESSION_NEW, {"cwd": "/", "mcpServers": []}, timeout=10)
        shown = list(await client.prompt(str(wanted)))
        again = list(await client.prompt("3"))
        refused, printed = client.connection.counts["message.refused"], client.noise.lines
        kept = client.noise.tail()
    lost = wanted - sum(f"{number} " == text for number, text in enumerate(shown))
    complete = not lost and len(shown) == wanted and again == ["0 ", "1 ", "2 "]
    held = complete and not refused and printed > wanted / 100 and "late noise" in kept and len(kept) <= 8192
    measured = f"{lost} lost of {wanted}, {printed} lines counted, {refused} answered, {len(kept)} bytes kept"
    record("A13", "0 lost of 10,000 updates between banners; counted, not answered, 8 KiB kept", measured, held)


async def shown_after(client: Peer, data: bytes, mark: str) -> float:
    """Seconds until an update that follows these bytes is there."""
    told = {"write": [(base64.b64encode(data + b"\n" + update(mark)).decode(), 1)]}
    began = time.monotonic()
    with anyio.fail_after(20), contextlib.suppress(RpcError):  # the bytes may hold an answer to this very request
        await client.prompt(json.dumps(told))
        while mark not in client.texts:
            await client.changed.wait()
    return time.monotonic() - began


@pytest.mark.faults("A16 client")
def test_after_any_bytes_an_update_is_taken(record: Any, count: Any, at_most: Any) -> None:
    examples = count(20_000, 150)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(peer(within=600)) as client:
        took = bombard(examples, lambda data, number: portal.call(shown_after, client, data, f"mark {number}"))
        failed = client.connection.counts["handler.failed"]
    measured = f"{len(took)} survived, slowest {max(took) * 1000:.0f} ms, {failed} failures"
    record(
        "A16 client",
        "0 crashes in 20,000 byte sequences, 0 hangs > 1 s",
        measured,
        len(took) >= examples * 0.9 and max(took) <= at_most(1),
    )
