"""A1-A5: bytes that are no messages, and messages in strange pieces."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import Client, agent, script

ECHO = "=== turn repeat\nsay: $prompt\n"
PARSE_ERROR, INVALID_REQUEST = -32700, -32600


def ping(number: int) -> bytes:
    """A valid request that has a result."""
    params = {"protocolVersion": 1, "clientCapabilities": {}}
    return json.dumps({"jsonrpc": "2.0", "id": f"ping-{number}", "method": "initialize", "params": params}).encode()


async def pong(client: Client, number: int) -> bool:
    return "result" in await client.answer(f"ping-{number}")


def not_json(dice: random.Random) -> bytes:
    """A line that is not JSON: cut, mixed up, or nothing of the kind."""
    while True:
        match dice.randrange(3):
            case 0:
                line = ping(0)[: dice.randrange(1, len(ping(0)))]
            case 1:
                shuffled = list(ping(1))
                dice.shuffle(shuffled)
                line = bytes(shuffled)
            case _:
                line = dice.randbytes(dice.randrange(1, 200)).replace(b"\n", b"")
        if line.strip() and not _is_json(line):
            return line


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


@pytest.mark.faults("A1")
async def test_random_lines_between_valid_ones_cost_none_of_them(tmp_path: Path, record: Any, count: Any) -> None:
    dice, lines = random.Random(1), count(1000, 100)
    async with agent(tmp_path, *script(tmp_path, ECHO)) as client:
        client.lenient = True
        for number in range(lines):
            client.write(not_json(dice) + b"\n" + ping(number) + b"\n")
        answered = [await pong(client, number) for number in range(lines)]
        told = [error["code"] for error in client.strays]
        alive = client.ended is None
    measured = f"{sum(answered)}/{lines} answered, {told.count(PARSE_ERROR)} parse errors, {not alive:d} exits"
    held = all(answered) and told == [PARSE_ERROR] * lines and alive
    record("A1", "1,000/1,000 valid answered, as many -32700 with id null, 0 exits", measured, held)


@pytest.mark.faults("A2")
async def test_json_that_is_no_message_is_refused_without_an_id(tmp_path: Path, record: Any) -> None:
    injected = [b"[]", b"[" + ping(1) + b"," + ping(2) + b"]", b"null", b"1", b'"s"', b"{}"]
    async with agent(tmp_path, *script(tmp_path, ECHO)) as client:
        client.lenient = True
        client.write(b"\n".join([*injected, ping(0)]) + b"\n")
        assert await pong(client, 0)
        told = [error["code"] for error in client.strays]
        alive = client.ended is None
    held = told == [INVALID_REQUEST] * 6 and alive
    record(
        "A2", "6/6 answered -32600 with id null, 0 exits", f"{told.count(INVALID_REQUEST)}/6, {not alive:d} exits", held
    )


@pytest.mark.faults("A3")
async def test_a_wrong_envelope_is_refused_with_its_id(tmp_path: Path, record: Any) -> None:
    wrong = [
        {"jsonrpc": "2.0", "id": "a", "method": 7},
        {"id": 8, "method": "initialize"},
        {"jsonrpc": "1.0", "id": "c", "method": "initialize"},
    ]
    async with agent(tmp_path, *script(tmp_path, ECHO)) as client:
        for message in wrong:
            client.send(message, wrong=True)
        answers = [await client.answer(message["id"]) for message in wrong]
    right = sum(answer.get("error", {}).get("code") == INVALID_REQUEST for answer in answers)
    record("A3", "3/3 answered -32600 with the id", f"{right}/3", right == 3)


@pytest.mark.faults("A4")
async def test_odd_bytes_are_accepted_or_counted(tmp_path: Path, record: Any, count: Any) -> None:
    times = count(100, 10)
    bad = [b'{"jsonrpc":"2.0","id":1,"method":"\xff"}', b"\xc3\x28", b'{"a":"\xed\xa0\x80"}', b'{"a":\x00}']
    async with agent(tmp_path, *script(tmp_path, ECHO)) as client:
        client.lenient = True
        for number in range(times):
            for at, line in enumerate(bad):
                good = [
                    b"\xef\xbb\xbf" + ping(number * 10),
                    ping(number * 10 + 1) + b"\r",
                    b"\r\n   \n" + ping(number * 10 + 2),
                ]
                client.write(line + b"\n" + (b"\n".join(good) + b"\n" if at == 0 else b""))
        session_id = await client.new_session()
        told = [error["code"] for error in client.strays]
        accepted = sum([await pong(client, number * 10 + kind) for number in range(times) for kind in range(3)])
        turn = await client.prompt(session_id, "a\0b")
    counted = sum(line["code"] == PARSE_ERROR for line in client.logged("message.refused"))
    injected = times * len(bad)
    measured = f"{counted} of {injected} counted, {told.count(PARSE_ERROR)} answered, {accepted}/{3 * times} accepted"
    held = counted == told.count(PARSE_ERROR) == len(told) == injected and accepted == 3 * times and turn.text == "a\0b"
    record("A4", "0 silent drops, counter = injected; BOM, CRLF, blank accepted", measured, held)


@pytest.mark.faults("A5")
async def test_text_is_the_same_however_its_bytes_are_cut(tmp_path: Path, record: Any, count: Any) -> None:
    dice, wanted = random.Random(5), count(10_000, 500)
    said, writes = [], 0
    async with agent(tmp_path, *script(tmp_path, ECHO), within=120) as client:
        session_id = await client.new_session()
        while writes < wanted:
            text = " ".join(dice.choice(["мир", "🌍🧪", "Grüße", "語", "plain", "👩‍💻"]) for _ in range(40))
            params = {"sessionId": session_id, "prompt": [{"type": "text", "text": text}]}
            message = {"jsonrpc": "2.0", "id": f"p{len(said)}", "method": "session/prompt", "params": params}
            line = json.dumps(message, ensure_ascii=False).encode() + b"\n"
            client.wire.sent_by_client(message)
            first = len(client.updates)
            while line:
                size = dice.choice([1, 1, 2, 3, 7])
                client.write(line[:size])
                await client.taken()
                line, writes = line[size:], writes + 1
            await client.answer(f"p{len(said)}")
            chunks = [it["update"] for it in client.updates[first:] if "messageId" in it["update"]]
            shown = "".join(chunk["content"]["text"] for chunk in chunks)
            said.append((text, shown))
        client.lenient = True
        client.write(ping(1) + b"\n" + ping(2) + b"\n" + ping(3) + ping(4) + b"\n" + ping(5) + b"\n")
        both = [await pong(client, number) for number in (1, 2, 5)]
        told = [error["code"] for error in client.strays]
    lost = sum(text != shown for text, shown in said)
    replaced = sum("\ufffd" in shown for _, shown in said)
    measured = f"{lost} of {len(said)} texts differ in {writes} writes, {replaced} with U+FFFD, no newline: {told}"
    held = not lost and not replaced and all(both) and told == [PARSE_ERROR]
    record("A5", "0 U+FFFD, 0 lost of 10,000 writes; two in a write taken, two in a line -32700", measured, held)
