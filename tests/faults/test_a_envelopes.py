"""A9-A12: ids, answers to nothing, bad params, and halves of surrogate pairs."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.hands import EVERYTHING, Hands, Wrong
from tests.support.process import Client, agent, script

SLOW = """=== turn repeat
call read_file {"path": "a.py"}
--- step
pace 0.01
say: one two three four five six seven eight
"""
INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, NOT_FOUND = -32600, -32601, -32602, -32002
IDS = ['"text"', "null", "0", "-1", "1.5", "9007199254740993", '{"a":1}', "170141183460469231731687303715884105729"]


def request(identity: str, method: str = "initialize") -> bytes:
    params = json.dumps({"protocolVersion": 1, "clientCapabilities": EVERYTHING})
    return f'{{"jsonrpc":"2.0","id":{identity},"method":"{method}","params":{params}}}\n'.encode()


def echoed(line: bytes) -> str:
    """The id of an answer, as it is written."""
    found = re.search(rb'"id":([^,{}]*)(?:}$|,"error":)', line)
    return found[1].decode() if found else ""


@pytest.mark.faults("A9")
async def test_ids_come_back_exactly_or_are_refused(tmp_path: Path, record: Any) -> None:
    async with agent(tmp_path, *script(tmp_path, SLOW)) as client:
        client.lenient = True
        session_id = await client.new_session()
        right = 0
        for identity in IDS:
            before = len(client.received)
            client.write(request(identity))
            await client.until(lambda before=before: len(client.received) > before)
            line = client.received[-1]
            refused = identity in ("1.5", '{"a":1}')
            expected = "null" if refused else identity
            right += echoed(line) == expected and (f'"code":{INVALID_REQUEST}'.encode() in line) == refused
        running = client.begin_turn(session_id, "go")
        twice = {"jsonrpc": "2.0", "id": running.request_id, "method": "session/new", "params": {}}
        client.write(json.dumps(twice).encode() + b"\n")
        second = await client.answer(running.request_id)
        await client.until(lambda: "result" in client.answers[int, running.request_id].message)
        right += second["error"]["code"] == INVALID_REQUEST
        own = [json.loads(line)["id"] for line in client.received if b'"method":"fs/' in line]
    measured = f"{right}/9 exact, own ids up to {max(own)}"
    record("A9", "8/8 exact (and one over 64 bits), own ids < 2^53", measured, right == 9 and max(own) < 2**53)


@pytest.mark.faults("A10")
async def test_answers_to_nothing_and_unknown_notifications_get_no_reply(
    tmp_path: Path, record: Any, count: Any
) -> None:
    times, doubled = count(1000, 100), {"result": {"content": "x = 1\n"}}
    hands = Hands(fs_read_text_file=lambda params: Wrong(doubled, doubled))
    async with agent(tmp_path, *script(tmp_path, SLOW), hands=hands) as client:
        session_id = await client.new_session()
        turn = await client.prompt(session_id)
        before = len(client.received)
        for number in range(times):
            answer = {"result": {}} if number % 2 else {"error": {"code": -1, "message": "x"}}
            noise = [
                {"id": [number + 1000, f"x{number}", None, 1.5, -number][number % 5], **answer},
                {"method": ["$/progress", "_other/thing", "session/updated", "fs/changed"][number % 4], "params": []},
            ]
            client.write(b"".join(json.dumps({"jsonrpc": "2.0", **it}).encode() + b"\n" for it in noise))
        await client.new_session()
        # Updates of the sessions may come at any time and answer nothing.
        replies = sum(b'"method":' not in line for line in client.received[before:]) - 1
        alive = client.ended is None
    counted = len(client.logged("answer.unknown")), len(client.logged("notification.unknown"))
    measured = f"{replies} replies, {not alive:d} exits, {counted[0]} answers and {counted[1]} notifications counted"
    held = replies == 0 and alive and turn.stop == "end_turn" and counted == (times + 2, times)
    record("A10", "0 replies, 0 exits in 1,000 of each, all counted", measured, held)


async def _code(client: Client, method: str, params: Any) -> int:
    answer = await client.answer(client.begin(method, params, wrong=True))
    code: int = answer.get("error", {}).get("code", 0)
    return code


@pytest.mark.faults("A11")
async def test_wrong_params_and_order_get_their_codes(tmp_path: Path, record: Any) -> None:
    text = [{"type": "text", "text": "hello"}]
    async with agent(tmp_path, *script(tmp_path, SLOW), handshake=False) as client:
        early = await _code(client, "session/prompt", {"sessionId": "sess_1", "prompt": text})
        await client.initialize()
        again = await _code(client, "initialize", {"protocolVersion": 1})
        codes = {
            "bad params": await _code(client, "session/new", {"cwd": 7, "mcpServers": []}),
            "missing field": await _code(client, "session/prompt", {"sessionId": "sess_1"}),
            "unknown session": await _code(client, "session/prompt", {"sessionId": "sess_1", "prompt": text}),
            "relative cwd": await _code(client, "session/new", {"cwd": "here", "mcpServers": []}),
        }
    expected = dict(zip(codes, [INVALID_PARAMS, INVALID_PARAMS, NOT_FOUND, INVALID_PARAMS], strict=True))
    right = sum(codes[case] == expected[case] for case in codes) + (early == INVALID_REQUEST) + (again == 0)
    record("A11", "6/6 codes", f"{right}/6: early {early}, initialize again {again}, {codes}", right == 6)


SURROGATES = r"""=== turn repeat
call write_file {"path": "a.txt", "content": "$prompt \udfff"}
call read_file {"path": "b.txt"}
--- step
say: $prompt | $result
"""
MARK = "\udbff alone"


@pytest.mark.faults("A12")
async def test_lone_surrogates_go_round(tmp_path: Path, record: Any, count: Any) -> None:
    times, right = count(100, 10), 0
    async with agent(tmp_path, "--mode", "full", *script(tmp_path, SURROGATES)) as client:
        session_id = await client.new_session()
        for number in range(times):
            said = f"{number} \ud83d here"
            client.hands.files = {"/project/b.txt": f"{number} {MARK}\n"}
            turn = await client.prompt(session_id, said)
            written = _same(client.hands.files.get("/project/a.txt", ""), f"{said} \udfff")
            shown = _contains(turn.text, said) and _contains(turn.text, MARK)
            right += turn.stop == "end_turn" and written and shown
        failed = len(client.logged("handler.failed"))
    record(
        "A12",
        "100/100 round trips, never an exception",
        f"{right}/{times}, {failed} exceptions",
        right == times and not failed,
    )


def _contains(text: str, wanted: str) -> bool:
    return wanted in text or wanted.encode("utf-8", "replace").decode().replace("?", "\ufffd") in text


def _same(text: str, wanted: str) -> bool:
    return len(text) == len(wanted) and _contains(text, wanted)
