"""HTTP as bytes: what a client may do to a socket, and what it hears."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager

import anyio
import pytest

from ars_gateway.limits import Limits
from tests.gateway.host import TOKEN
from tests.gateway.raw import Raw, asked, upgrade
from tests.support.waiting import until

BEARER = f"Authorization: Bearer {TOKEN}"


class Wire:
    """One socket on which requests are written as bytes."""

    def __init__(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.port, self.reader, self.writer = port, reader, writer

    def ask(self, first: str, *headers: str, body: bytes = b"") -> None:
        lines = [f"{first} HTTP/1.1", f"Host: localhost:{self.port}", *headers, "", ""]
        self.writer.write("\r\n".join(lines).encode("latin-1") + body)

    async def answer(self, head: bool = False) -> tuple[int, dict[str, str], bytes]:
        """The next answer: status, headers, body; status 0 at the end of the socket."""
        with anyio.fail_after(20):
            try:
                lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return 0, {}, b""
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            body = b"" if head else await self.reader.readexactly(int(headers.get("content-length", "0")))
        return int(lines[0].split()[1]), headers, body

    async def ended(self, within: float = 20) -> None:
        """Returns when the other end has closed."""
        with anyio.fail_after(within):
            try:
                while await self.reader.read(65536):
                    pass
            except ConnectionError:
                pass


@asynccontextmanager
async def wire(running):
    port = running.addresses.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Wire(port, reader, writer)
    finally:
        writer.close()


def refused(body: bytes) -> str:
    """The code of a refusal in the one shape."""
    error = json.loads(body)["error"]
    assert error.keys() == {"code", "message", "retryable", "details"}
    return str(error["code"])


async def test_requests_in_one_breath_are_answered_one_after_the_other(running):
    async with wire(running) as one:
        for path in ("/healthz", "/nothing", "/healthz"):
            one.ask(f"GET {path}")
        assert [(await one.answer())[0] for _ in range(3)] == [200, 404, 200]


async def test_a_socket_that_had_signed_in_over_http_can_be_upgraded(start):
    async with start(Limits(handshake_seconds=0.6)) as running, wire(running) as one:
        one.ask("POST /auth/token", BEARER, "Content-Type: application/json", "Content-Length: 2", body=b"{}")
        assert (await one.answer())[0] == 200
        one.writer.write(upgrade(one.port))
        assert (await one.answer(head=True))[0] == 101
        async with Raw(one.reader, one.writer) as raw:
            assert b"connect.challenge" in (await raw.read() or b"")
            assert await raw.ended() == 1000, "its hello has the lobby's time, as anybody's"


async def test_a_body_that_nobody_reads_does_not_become_the_next_request(running):
    async with wire(running) as one:
        inner = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        one.ask("GET /healthz", f"Content-Length: {len(inner)}", body=inner)
        one.ask("GET /nothing")
        assert [(await one.answer())[0] for _ in range(2)] == [200, 404]


async def test_head_is_get_without_its_body(running):
    async with wire(running) as one:
        one.ask("HEAD /healthz")
        status, headers, _ = await one.answer(head=True)
        assert (status, headers["content-length"]) == (200, "11")
        one.ask("HEAD /nothing")
        assert (await one.answer(head=True))[0] == 404
        one.ask("GET /healthz")
        assert (await one.answer())[2] == b'{"ok":true}'


async def test_a_client_that_waits_for_a_word_hears_no_before_its_body(start):
    async with start(Limits(linger_silent_seconds=0.1)) as running:
        async with wire(running) as one:
            one.ask("POST /auth/token", "Content-Length: 5", "Expect: 100-continue", "Content-Type: application/json")
            assert (await one.answer())[0] == 401
        async with wire(running) as one:
            headers = [BEARER, "Expect: 100-continue", "Content-Type: application/json"]
            one.ask("POST /auth/token", "Content-Length: 2", *headers)
            assert (await one.answer())[0] == 100
            one.writer.write(b"{}")
            assert (await one.answer())[0] == 200
            one.ask("POST /auth/token", "Content-Length: 2000000", *headers)
            status, _, body = await one.answer()
            assert (status, refused(body)) == (413, "TOO_LARGE")
            await one.ended()


@pytest.mark.parametrize("answered", [False, True])
async def test_a_body_that_breaks_the_rules_of_http_ends_the_socket_quietly(running, caplog, answered):
    async with wire(running) as one:
        headers = ["Content-Type: application/json", "Transfer-Encoding: chunked", *([] if answered else [BEARER])]
        one.ask("POST /auth/token", *headers)
        if answered:
            assert (await one.answer())[0] == 401
        one.writer.write(b"nonsense\r\n")
        if not answered:
            status, _, body = await one.answer()
            assert (status, refused(body)) == (400, "INVALID_MESSAGE")
        await one.ended()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert not running.log.named("gateway.door_failed")


@pytest.mark.parametrize(
    "first",
    [
        "CONNECT localhost:1",
        "TRACE /healthz",
        "OPTIONS *",
        "BREW /healthz",
        "GET http://evil.example/healthz",
        "GET //",
    ],
)
async def test_what_no_door_is_for_is_refused_in_the_one_shape(running, first):
    async with wire(running) as one:
        one.ask(first)
        status, _, body = await one.answer()
        assert status in (400, 404, 405)
        assert refused(body) in ("INVALID_MESSAGE", "NOT_FOUND", "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (["GET /healthz HTTP/1.1", "Host: evil.example"], (421, "FORBIDDEN")),
        (["GET /healthz HTTP/1.1", "Host: localhost:{port}", "Origin: null"], (403, "FORBIDDEN")),
        (["GET /healthz?token=x HTTP/1.1", "Host: localhost:{port}"], (400, "INVALID_MESSAGE")),
        (["GET /healthz HTTP/1.1", "Host: localhost:{port}", "X: " + "x" * 20_000], (431, "TOO_LARGE")),
        (
            ["GET /healthz HTTP/1.1", "Host: localhost:{port}", "Content-Length: 1", "Content-Length: 2"],
            (400, "INVALID_MESSAGE"),
        ),
        (["NONSENSE"], (400, "INVALID_MESSAGE")),
    ],
)
async def test_what_is_refused_at_the_threshold_has_the_same_shape(running, lines, code):
    port = running.addresses.port
    text = "\r\n".join([*lines, "", ""]).replace("{port}", str(port))
    status, answer = await asked(port, text.encode())
    assert (status, refused(answer.partition(b"\r\n\r\n")[2])) == code


async def test_a_request_that_never_comes_to_its_end_has_the_lobbys_time(start):
    async with start(Limits(handshake_seconds=0.6)) as running:
        for begun in (b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: "):
            async with wire(running) as one:
                one.writer.write(begun)
                await one.ended()
        async with wire(running) as one:
            one.ask("POST /auth/token", "Content-Length: 1000", "Content-Type: application/json")
            assert (await one.answer())[0] == 401
            await one.ended()


async def test_who_has_signed_in_has_more_time_for_a_body(start):
    async with start(Limits(handshake_seconds=0.6)) as running, wire(running) as slow, wire(running) as silent:
        slow.ask("POST /auth/token", BEARER, "Content-Length: 2", "Content-Type: application/json")
        await silent.ended()
        slow.writer.write(b"{}")
        assert (await slow.answer())[0] == 200


async def test_a_body_that_does_not_come_is_not_waited_for(start):
    async with start(Limits(body_seconds=0.2, linger_silent_seconds=0.2)) as running, wire(running) as one:
        one.ask("POST /auth/token", BEARER, "Content-Length: 2", "Content-Type: application/json", body=b"{")
        status, headers, body = await one.answer()
        assert (status, refused(body), headers["connection"]) == (408, "INVALID_MESSAGE", "close")
        await one.ended()


async def test_from_a_client_that_never_reads_no_more_is_taken(running):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", running.addresses.port))
    request = f"GET /openapi.json HTTP/1.1\r\nHost: localhost:{running.addresses.port}\r\n\r\n".encode()
    sent = 0
    with sock, anyio.move_on_after(1):
        while sent < 50_000_000:
            await asyncio.get_running_loop().sock_sendall(sock, request * 100)
            sent += len(request) * 100
    assert sent < 50_000_000
    async with wire(running) as other:
        other.ask("GET /healthz")
        assert (await other.answer())[0] == 200


async def test_bodies_that_come_in_at_once_have_a_bound_together(start):
    headers = [BEARER, "Content-Type: application/json", "Content-Length: 1000"]
    async with start(Limits(reading_bytes=1500)) as running, wire(running) as one, wire(running) as other:
        gateway, body = running.gateway, b"{}".ljust(1000)
        for _ in range(2):
            one.ask("POST /auth/token", *headers, body=body[:900])
            await until(lambda: gateway.reading == 900)
            other.ask("POST /auth/token", *headers, body=body)
            status, answered, told = await other.answer()
            assert (status, refused(told), answered["retry-after"]) == (429, "RATE_LIMITED", "1")
            one.writer.write(body[900:])
            assert (await one.answer())[0] == 200
            other.ask("POST /auth/token", *headers, body=body)
            assert (await other.answer())[0] == 200
        one.ask("POST /auth/token", *headers, body=body[:900])
        await until(lambda: gateway.reading == 900)
        one.writer.transport.abort()
        await until(lambda: gateway.reading == 0)


async def test_a_refused_upgrade_of_an_editor_is_kept_by_nobody(running):
    async with wire(running) as one:
        one.writer.write(upgrade(one.port, "/acp"))
        status, headers, body = await one.answer()
        assert (status, refused(body)) == (401, "UNAUTHORIZED")
        assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
        assert (headers["connection"], headers["www-authenticate"]) == ("close", 'Bearer realm="ars-gateway"')
        await one.ended()
