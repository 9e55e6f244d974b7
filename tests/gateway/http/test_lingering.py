"""An answer that is given before its request is whole: it reaches whoever writes all before it reads, within bounds."""

import contextlib

import anyio
import openai
import pytest

from ars_gateway.limits import Limits
from tests.gateway.host import TOKEN
from tests.gateway.http.test_wire import BEARER as SIGNED_IN
from tests.gateway.http.test_wire import refused, wire

MIB = 1024 * 1024
JSON = "Content-Type: application/json"
LARGE = 24 * MIB  # more than sockets keep on their way, and than any of these doors takes
DOORS = [
    ("POST /auth/token", 413),
    ("POST /agent/tool_result", 413),
    ("POST /v1/chat/completions", 413),
    ("POST /nothing", 404),
    ("PUT /healthz", 405),
    ("GET /healthz", 200),
]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("first", "wanted"), DOORS)
async def test_who_writes_all_before_reading_hears_why_and_can_go_on(running, first, wanted, chunked):
    async with wire(running) as one:
        piece = b" " * MIB
        one.ask(first, SIGNED_IN, JSON, "Transfer-Encoding: chunked" if chunked else f"Content-Length: {LARGE}")
        with anyio.fail_after(20):
            for _ in range(LARGE // MIB):
                one.writer.write(b"%x\r\n%b\r\n" % (MIB, piece) if chunked else piece)
                await one.writer.drain()
        one.writer.write(b"0\r\n\r\n" if chunked else b"")
        one.ask("GET /healthz")
        answers = [(await one.answer())[0] for _ in range(2)]
    assert answers == [wanted, 200]


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        (["Host: evil.example"], (421, "FORBIDDEN")),
        (["Host: localhost:{port}", "Origin: null"], (403, "FORBIDDEN")),
        (["Host: localhost:{port}", "X: " + "x" * 20_000], (431, "TOO_LARGE")),
        (["Host: localhost:{port}", "Connection: close"], (401, "UNAUTHORIZED")),
    ],
)
async def test_a_refusal_at_the_threshold_is_heard_behind_a_large_body(running, lines, wanted):
    async with wire(running) as one:
        head = [it.replace("{port}", str(one.port)) for it in lines]
        text = "\r\n".join(["POST /auth/token HTTP/1.1", JSON, f"Content-Length: {LARGE}", *head, "", ""])
        one.writer.write(text.encode() + b" " * LARGE)
        with anyio.fail_after(20):
            await one.writer.drain()
        status, headers, body = await one.answer()
        assert (status, refused(body)) == wanted
        assert headers["connection"] == "close"
        await one.ended()


@pytest.mark.parametrize("body", [b"", b" " * MIB])
async def test_a_body_that_says_it_is_too_large_is_answered_at_once(running, body):
    async with wire(running) as one:
        one.ask("POST /auth/token", SIGNED_IN, JSON, f"Content-Length: {LARGE}", body=body)
        status, _, told = await one.answer()
        assert (status, refused(told)) == (413, "TOO_LARGE")


@pytest.mark.parametrize(
    "limits",
    [
        Limits(linger_bytes=4 * MIB, linger_seconds=60, linger_silent_seconds=60),
        Limits(linger_bytes=1 << 60, linger_seconds=0.3, linger_silent_seconds=60),
    ],
)
async def test_a_body_without_end_is_cut_off_where_it_is_too_much_or_too_long(start, limits):
    async with start(limits) as running, wire(running) as one:
        one.ask("POST /auth/token", SIGNED_IN, JSON, "Transfer-Encoding: chunked")
        with anyio.fail_after(20), contextlib.suppress(ConnectionError):
            while True:
                one.writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
                await one.writer.drain()


async def test_a_body_that_stops_coming_is_not_waited_for(start):
    limits = Limits(linger_seconds=60, linger_silent_seconds=0.2)
    async with start(limits) as running, wire(running) as one:
        one.ask("POST /auth/token", SIGNED_IN, JSON, f"Content-Length: {LARGE}", body=b" ")
        assert (await one.answer())[0] == 413
        await one.ended()


async def test_a_client_that_leaves_meanwhile_leaves_nothing_behind(running, caplog):
    async with wire(running) as one:
        one.ask("POST /auth/token", SIGNED_IN, JSON, f"Content-Length: {LARGE}", body=b" ")
        assert (await one.answer())[0] == 413
    async with wire(running) as other:
        other.ask("GET /healthz")
        assert (await other.answer())[0] == 200
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert not running.log.named("gateway.door_failed")


# ── a client of others ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_openai_package_is_told(running):
    url = f"http://127.0.0.1:{running.addresses.port}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key=TOKEN, timeout=10, max_retries=0) as client:
        with pytest.raises(openai.APIStatusError) as refusal:
            await client.chat.completions.create(model="main", messages=[{"role": "user", "content": "x" * LARGE}])
    assert refusal.value.status_code == 413
