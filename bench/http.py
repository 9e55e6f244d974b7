"""What the HTTP doors cost: between a model and a client that reads server-sent events."""

import selectors
import socket
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson

from bench.gateway import ARS, TOKEN, Gateway, at_work
from bench.harness import Bench, Figure

STREAMS, SPEED, STAMPS = 20, 200, 400
MANY, MANY_SPEED, MANY_STAMPS = 100, 20, 100
WITHIN = 60.0
BUFFER = 1 << 16
TOLD, COMPLETE = b'"token": "', b"event: complete"


@dataclass
class Stream:
    """One message on its way: its blocking socket, and when its tokens were written and read, in nanoseconds."""

    socket: socket.socket
    sent: int
    rest: bytes = b""
    over: bool = False
    tokens: list[tuple[int, int]] = field(default_factory=list)

    def read(self) -> None:
        """Takes what has come. Searched, not parsed: the gateway writes whole events."""
        data = self.socket.recv(BUFFER)
        at = time.perf_counter_ns()
        assert data, "the gateway has closed the connection"
        size = len(str(at))
        *whole, self.rest = (self.rest + data).split(b"\n\n")
        for event in whole:
            assert b"event: error" not in event, event
            self.over = self.over or COMPLETE in event
            if (start := event.find(TOLD)) >= 0:
                start += len(TOLD)
                stamps = event[start : event.index(b'"', start)]
                assert len(stamps) % size == 0, event
                self.tokens += [(int(stamps[place : place + size]), at) for place in range(0, len(stamps), size)]


def http(bench: Bench) -> Iterator[Figure]:
    """All rows."""
    name = f"http: token → SSE event, {STREAMS} × {SPEED} tokens/s"
    with at_work(bench.environment(f"mode:stamp{STAMPS}at{SPEED}"), ARS) as one:
        _streamed(one, STREAMS, "warm")
        used, began = one.cpu(), time.perf_counter()
        runs = [_lags(_streamed(one, STREAMS, f"run {number}"), STAMPS) for number in range(bench.runs)]
        share = (one.cpu() - used) / (time.perf_counter() - began)
    yield Figure(f"{name}, p50", statistics.median(lags[len(lags) // 2] for lags in runs), None, "ms")
    yield Figure(f"{name}, p99", statistics.median(lags[int(len(lags) * 0.99)] for lags in runs), 10, "ms")
    yield Figure("http: CPU share meanwhile", share * 100, None, "%")
    name = f"http: {MANY} streams at once"
    with at_work(bench.environment(f"mode:stamp{MANY_STAMPS}at{MANY_SPEED}"), ARS) as one:
        _streamed(one, MANY, "warm")
        streams = _streamed(one, MANY, "run")
    lags = _lags(streams, MANY_STAMPS)
    firsts = sorted((it.tokens[0][1] - it.sent) / 1e6 for it in streams)
    yield Figure(f"{name}, first token, p50", firsts[len(firsts) // 2], None, "ms")
    yield Figure(f"{name}, first token, the last", firsts[-1], None, "ms")
    yield Figure(f"{name}, token → event, p99", lags[int(len(lags) * 0.99)], None, "ms")


def _streamed(one: Gateway, count: int, name: str) -> list[Stream]:
    """So many messages, each in a session of its own, read to their ends."""
    streams = [_begun(one, f"s{number}", name) for number in range(count)]
    waiting = selectors.DefaultSelector()
    for it in streams:
        waiting.register(it.socket, selectors.EVENT_READ, it)
    deadline = time.perf_counter() + WITHIN
    while waiting.get_map():
        assert time.perf_counter() < deadline, f"{len(waiting.get_map())} streams have not ended"
        for key, _ in waiting.select(1):
            stream: Stream = key.data
            stream.read()
            if stream.over:
                waiting.unregister(stream.socket)
                stream.socket.close()
    return streams


def _begun(one: Gateway, session: str, name: str) -> Stream:
    message = {"type": "user_message", "message_id": name, "content": "go"}
    body = orjson.dumps({"session_id": session, "message": message})
    head = f"POST /agent/message/stream HTTP/1.1\r\nHost: 127.0.0.1:{one.port}\r\nAuthorization: Bearer {TOKEN}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    found = socket.create_connection(("127.0.0.1", one.port), timeout=WITHIN)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    found.sendall(head.encode() + body)
    return Stream(found, time.perf_counter_ns())


def _lags(streams: list[Stream], count: int) -> list[float]:
    """Milliseconds that each token took, the shortest first; all texts are whole."""
    for it in streams:
        stamps = [stamp for stamp, _ in it.tokens]
        assert len(stamps) == count, f"{len(stamps)} tokens came"
        assert stamps == sorted(stamps), "tokens came in another order"
    return sorted((at - stamp) / 1e6 for it in streams for stamp, at in it.tokens)
