"""A bare WebSocket client on asyncio streams: for counts of thousands, and for bytes that no library would send."""

import asyncio
import contextlib
import json
import re
import struct
from typing import Any, Self

import anyio

from tests.gateway.client import connect_params

LARGE = 1 << 24


def frame(payload: bytes | dict[str, Any], opcode: int = 1, fin: bool = True, mask: bool = True) -> bytes:
    """One client frame; the mask is zero, so that the payload shows."""
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    head = bytes([(0x80 if fin else 0) | opcode])
    bit = 0x80 if mask else 0
    if len(data) < 126:
        head += bytes([bit | len(data)])
    elif len(data) < 65536:
        head += bytes([bit | 126]) + struct.pack("!H", len(data))
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", len(data))
    return head + (b"\0\0\0\0" if mask else b"") + data


class Raw:
    """One socket; `read` returns what a frame holds, `None` at the end, and `code` is set then."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.code: int | None = None
        self.reason = ""
        self.hello: dict[str, Any] = {}

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def read(self, within: float = 20) -> bytes | None:
        """The next text frame's payload."""
        with anyio.fail_after(within):
            try:
                while True:
                    first, size = await self.reader.readexactly(2)
                    if size == 126:
                        (size,) = struct.unpack("!H", await self.reader.readexactly(2))
                    elif size == 127:
                        (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
                    data = await self.reader.readexactly(size)
                    if first & 15 == 1:
                        return data
                    if first & 15 == 8:
                        self.code = struct.unpack("!H", data[:2])[0] if data else 1005
                        self.reason = data[2:].decode()
                        break
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
        self.writer.close()
        return None

    async def ended(self, within: float = 20) -> int | None:
        """Reads to the end; the close code."""
        while await self.read(within) is not None:
            pass
        return self.code

    async def connect(self, token: str, **params: Any) -> Self:
        """The handshake."""
        await self.read()
        self.write(frame({"type": "req", "id": "c", "method": "connect", "params": connect_params(token, **params)}))
        answer = json.loads(await self.read() or b"{}")
        assert answer.get("ok"), answer
        self.hello = answer["payload"]
        return self

    def abort(self) -> None:
        self.writer.transport.abort()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError, OSError):
            await self.writer.wait_closed()


def upgrade(port: int, path: str = "/", host: str | None = None, *headers: str) -> bytes:
    """An upgrade request."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {host if host is not None else f'127.0.0.1:{port}'}", *headers]
    lines += ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
    return "\r\n".join([*lines, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "", ""]).encode("latin-1")


async def opened(port: int, address: str = "127.0.0.1") -> Raw:
    """An upgraded socket, before its hello."""
    reader, writer = await asyncio.open_connection(address, port, limit=LARGE)
    writer.write(upgrade(port))
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 101 " in head, head
    return Raw(reader, writer)


async def asked(port: int, request: bytes, unix: str | None = None) -> tuple[int, bytes]:
    """The status of any HTTP request, and the head and body of its answer; 0 where there is none."""
    if unix is not None:
        reader, writer = await asyncio.open_unix_connection(unix)
    else:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        with anyio.fail_after(20):
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split()[1])
            size = re.search(rb"(?i)content-length: (\d+)", head)
            body = b"" if status == 101 else await (reader.readexactly(int(size[1])) if size else reader.read())
    finally:
        writer.close()
    return status, head + body
