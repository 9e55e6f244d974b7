"""What a client does with lines: how they may be cut, how long they may be, and what is no message at all."""

import json
import secrets

import anyio

from acp_check.client_agent import PING, update_of
from acp_check.client_run import Turn
from acp_check.client_table import Broken, in_turn

MEBIBYTE = 1 << 20
BIG_SECONDS = 20.0
PIECE_SECONDS = 0.02


async def _long(turn: Turn, size: int) -> None:
    usage = {"sessionUpdate": "usage_update", "used": 1, "size": 2, "_meta": {"example.com/long": "@"}}
    before, after = json.dumps({"jsonrpc": "2.0", **update_of(turn.session, usage)}).encode().split(b"@")
    await turn.agent.write(before + b"x" * size + after + b"\n")
    if not await turn.alive(turn.agent.limit + BIG_SECONDS):
        raise Broken(f"nothing was answered after a line of {size >> 20} MiB")


@in_turn("LINE-001", "mandatory", "Blank lines are nothing, and CRLF ends a line as well")
async def _(turn: Turn) -> None:
    await turn.agent.write(b"\n\r\n  \n\r\n")
    await turn.agent.answer(await turn.agent.begin(PING, {}, ending=b"\r\n"))


@in_turn("LINE-002", "mandatory", "Messages may come in pieces, cut inside a character, and many at once")
async def _(turn: Turn) -> None:
    agent = turn.agent
    ids = [f"Жё🙂 {secrets.token_hex(2)}" for _ in range(20)]
    lines = []
    for one in ids:
        message = {"jsonrpc": "2.0", "id": one, "method": PING, "params": {"text": "Жё🙂"}}
        agent.expect(message)
        lines.append(json.dumps(message, ensure_ascii=False).encode() + b"\n")
    for at, byte in enumerate(lines[0]):
        await agent.write(bytes([byte]))
        if byte > 127 and at % 2:
            await anyio.sleep(PIECE_SECONDS)  # so that it is read by itself
    await agent.write(b"".join(lines[1:]))
    for one in ids:
        await agent.answer(one)


@in_turn("LINE-003", "mandatory", "A line of 1 MiB is taken")
async def _(turn: Turn) -> None:
    await _long(turn, MEBIBYTE)


@in_turn("LINE-004", "advisory", "A line of 32 MiB is taken")
async def _(turn: Turn) -> None:
    await _long(turn, 32 * MEBIBYTE - 1024)


@in_turn("LINE-005", "advisory", "What an agent prints beside its messages is skipped")
async def _(turn: Turn) -> None:
    await turn.agent.write(b"Loaded cached credentials.\n{half a message\n\x1b[31mError\x1b[0m: 3 < 4\n\xff\xfe\n")


@in_turn("LINE-006", "advisory", "JSON that is no message is skipped")
async def _(turn: Turn) -> None:
    for line in (b"null", b"[]", b"1", b'"s"', b"{}", b'[{"jsonrpc":"2.0","method":"_x"}]', b'{"jsonrpc":"2.0"}'):
        await turn.agent.write(line + b"\n")
        if not await turn.alive():
            raise Broken(f"it was gone after the line {line.decode()}")


@in_turn("LINE-007", "mandatory", "An answer that nobody waits for is ignored, and not answered")
async def _(turn: Turn) -> None:
    error = {"code": -32603, "message": "of nobody's request"}
    await turn.agent.send(
        {"id": 987_654, "result": {}}, {"id": "nobody's", "error": error}, {"id": None, "error": error}
    )


@in_turn("LINE-008", "advisory", "What is nested too deep is no end of anything")
async def _(turn: Turn) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    await turn.agent.write(b'{"jsonrpc":"2.0","method":"_acp_check.example/deep","params":' + deep + b"}\n")
