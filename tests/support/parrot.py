"""An agent that writes whatever it is told (`fixtures/agents/parrot.py`), and our own connection at its other end."""

import base64
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from acp_wire import framing, methods
from acp_wire.connection import CLIENT_SIDE, Call, Connection
from acp_wire.streams import fd_stream
from connector.noise import Noise

AGENTS = Path(__file__).parents[2] / "fixtures" / "agents"


class Peer:
    """The client's end, as the connector sets it up: what it was shown, and one file that can be read."""

    connection: Connection

    def __init__(self) -> None:
        self.noise = Noise(str, None)
        self.file = "x = 1\n"
        self.texts: list[str] = []
        self.changed = anyio.Event()

    def session_update(self, params: Any) -> None:
        self.texts.append(getattr(getattr(params.update, "content", None), "text", ""))
        self.changed.set()
        self.changed = anyio.Event()

    async def fs_read_text_file(self, params: Any, call: Call) -> dict[str, Any]:
        return {"content": self.file}

    async def prompt(self, text: str) -> list[str]:
        """The texts of a whole turn."""
        self.texts.clear()
        params = {"sessionId": "s1", "prompt": [{"type": "text", "text": text}]}
        await self.connection.request(methods.SESSION_PROMPT, params, timeout=60)
        return self.texts

    async def hears(self, data: bytes, cuts: list[int] | None = None) -> list[str]:
        """A turn in which the agent writes those bytes."""
        return await self.hears_pieces((data, 1), cuts=cuts)

    async def hears_pieces(self, *pieces: tuple[bytes, int], cuts: list[int] | None = None) -> list[str]:
        """A turn in which the agent writes each of those bytes so many times."""
        write = [(base64.b64encode(data).decode(), times) for data, times in pieces]
        shown = await self.prompt(json.dumps({"write": write, "cuts": cuts or []}))
        assert shown.pop() == "<said>"
        return list(shown)

    async def sent(self) -> list[Any]:
        """What the agent got from us since the last time, prompts aside."""
        while self.connection.in_flight:
            await anyio.lowlevel.checkpoint()
        return [json.loads(line) for line in json.loads((await self.prompt("report"))[-1])]


@contextlib.asynccontextmanager
async def peer(script: str = "parrot.py", within: float = 60, limit: int = framing.LINE_LIMIT) -> AsyncIterator[Peer]:
    """A running agent after the handshake that it needs none of."""
    theirs_in, our_out = os.pipe()
    our_in, theirs_out = os.pipe()
    # Standard error is nobody's here.
    process = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-S", str(AGENTS / script)], stdin=theirs_in, stdout=theirs_out, stderr=subprocess.DEVNULL
    )
    os.close(theirs_in)
    os.close(theirs_out)
    found = Peer()
    stream = fd_stream(our_in, our_out)
    try:
        with anyio.fail_after(within):
            found.connection = Connection(stream, found, CLIENT_SIDE, limit=limit, on_noise=found.noise.heard)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(found.connection.serve)
                yield found
                tasks.cancel_scope.cancel()
    finally:
        await stream.aclose()
        process.kill()
        process.wait(5)


def line(message: Any) -> bytes:
    """One message as an agent writes it."""
    return json.dumps(message, ensure_ascii=False).encode() + b"\n"


def update(text: str) -> bytes:
    """An update that shows `text`."""
    chunk = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}
    return line({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": "s1", "update": chunk}})
