"""Gateway clients of the cheapest kind: requests are made beforehand, and what comes is searched, not read.

So that what is measured is the gateway. One that listens to broadcasts is a process of its own: `python -m bench.ws`.
"""

import base64
import os
import selectors
import socket
import struct
import sys
import time
from typing import Any

import orjson

HELLO = b'"type":"hello-ok"'
BUFFER = 1 << 20
WITHIN = 60.0


def frame(payload: dict[str, Any]) -> bytes:
    """One client frame; the mask is zero, which is cheap to make and costs the server what any mask costs it."""
    data = orjson.dumps(payload)
    short = len(data) < 126
    head = bytes([0x81, 0x80 | len(data)]) if short else bytes([0x81, 0xFE]) + struct.pack("!H", len(data))
    return head + b"\0\0\0\0" + data


def request(request_id: str, method: str, params: dict[str, Any] | None = None) -> bytes:
    """The frame of a request."""
    return frame({"type": "req", "id": request_id, "method": method, "params": params or {}})


def payloads(data: bytes) -> tuple[list[bytes], bytes]:
    """The payloads of the server's whole frames in `data`, and what is left of it."""
    found = []
    at, end = 0, len(data)
    while end - at >= 2:
        size, head = data[at + 1], 2
        if size == 126:
            if end - at < 4:
                break
            size, head = int.from_bytes(data[at + 2 : at + 4]), 4
        elif size == 127:
            if end - at < 10:
                break
            size, head = int.from_bytes(data[at + 2 : at + 10]), 10
        if end - at < head + size:
            break
        found.append(data[at + head : at + head + size])
        at += head + size
    return found, data[at:]


class Socket:
    """A blocking socket after its upgrade; `sign_in` shakes hands."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WITHIN)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade"]
        lines += [f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"]
        self.socket.sendall("\r\n".join(lines).encode())
        self.rest = b""
        while (end := self.rest.find(b"\r\n\r\n")) < 0:
            self.rest += self._read()
        assert b" 101 " in self.rest[:20], self.rest
        self.rest = self.rest[end + 4 :]

    def sign_in(self, token: str) -> "Socket":
        """The handshake, as an admin."""
        client = {"id": "test", "version": "1.0.0", "platform": "linux", "mode": "test"}
        params = {"minProtocol": 3, "maxProtocol": 3, "client": client, "auth": {"token": token}}
        self.socket.sendall(request("hello", "connect", params))
        while not any(HELLO in one for one in self.messages()):
            pass
        return self

    def messages(self) -> list[bytes]:
        """What has come whole, after one read at least."""
        found, self.rest = payloads(self.rest + self._read())
        return found

    def call(self, data: bytes) -> bytes:
        """Sends a request and returns its answer: the next message that is no event."""
        self.socket.sendall(data)
        while True:
            for one in self.messages():
                if one.startswith(b'{"type":"res"'):
                    return one

    def pipelined(self, data: list[bytes], window: int) -> None:
        """Sends requests, `window` of them ahead of their answers, and returns when all are answered."""
        sent = answered = 0
        while answered < len(data):
            if sent - answered <= window // 2:
                upto = min(len(data), answered + window)
                self.socket.sendall(b"".join(data[sent:upto]))
                sent = upto
            answered += sum(one.startswith(b'{"type":"res"') for one in self.messages())

    def _read(self) -> bytes:
        data = self.socket.recv(BUFFER)
        assert data, "the gateway has closed the connection"
        return data

    def close(self) -> None:
        self.socket.close()


def listen(port: int, token: str, count: int, mark: str, events: int) -> None:
    """Signs `count` clients in, says so, and reads until each has got `events` events that contain `mark`.

    Says how many seconds passed from the first to the last of them, and when that was; counted is without parsing: the
    mark stands once in each event.
    """
    clients = [Socket(port).sign_in(token) for _ in range(count)]
    print("ready", flush=True)
    waiting = selectors.DefaultSelector()
    wanted = mark.encode()
    left = {client.socket: events for client in clients}
    rests = dict.fromkeys(left, b"")
    for one in left:
        waiting.register(one, selectors.EVENT_READ)
    deadline = time.perf_counter() + WITHIN
    while waiting.get_map():
        assert time.perf_counter() < deadline, f"{sum(left.values())} events have not come"
        for key, _ in waiting.select(1):
            one = key.fileobj
            assert isinstance(one, socket.socket)
            data = one.recv(BUFFER)
            assert data, "the gateway has closed the connection"
            # A mark that is cut in two is found with the next piece.
            data = rests[one] + data
            left[one] -= data.count(wanted)
            at = data.rfind(wanted)
            rests[one] = data[max(at + len(wanted), len(data) - len(wanted) + 1) :]
            if left[one] <= 0:
                waiting.unregister(one)
    print(time.perf_counter(), flush=True)


if __name__ == "__main__":
    listen(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
