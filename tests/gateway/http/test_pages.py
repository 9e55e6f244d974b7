"""The page's files: which there are, what they are sent with, and that nothing else is to be had."""

import asyncio
import gzip

import anyio
import pytest

from ars_gateway.http import pages
from tests.gateway.http.asking import asking


async def test_the_page_is_for_whoever_asks_and_may_do_little(running):
    async with asking(running, headers={}) as client:
        answer = await client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.text.startswith("<!doctype html>")
    port = running.addresses.port
    told = dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))
    assert told == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "font-src": "'self'",
        "manifest-src": "'self'",
        "connect-src": f"'self' ws://127.0.0.1:{port} wss://127.0.0.1:{port}",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    wanted = pages.HEADERS | pages.OF_DOCUMENTS
    assert {name: answer.headers[name] for name in wanted} == wanted
    assert not [name for name in answer.headers if name.startswith(("access-control", "set-cookie", "server"))]


async def test_each_file_says_what_it_is_and_what_can_hold_scripts_what_they_may(running):
    async with asking(running, headers={}) as client:
        for path, file in pages.found().items():
            answer = await client.get(path)
            assert answer.headers["content-type"] == pages.TYPES[file.suffix], path
            kept = {"cache-control": pages.FOR_AN_HOUR if path.endswith(".svg") else "no-cache"}
            assert {name: answer.headers[name] for name in pages.HEADERS} == pages.HEADERS | kept
            guarded = "script-src 'self'" in answer.headers.get("content-security-policy", "")
            assert guarded == path.endswith((".svg", ".html", "/")), path


async def test_the_whole_page_is_small_on_the_wire(running):
    size = 0
    async with asking(running, headers={"accept-encoding": "gzip"}) as client:
        for path in pages.found().keys() - {"/index.html"}:
            async with client.stream("GET", path) as answer:
                head = sum(len(name) + len(value) + 4 for name, value in answer.headers.raw)
                size += head + sum([len(piece) async for piece in answer.aiter_raw()])
    assert size < 150_000


async def test_what_a_browser_has_already_is_not_sent_again(running):
    async with asking(running, headers={}) as client:
        tag = (await client.get("/")).headers["etag"]
        for known in (tag, f'"x", {tag}', tag.removeprefix("W/"), "*"):
            again = await client.get("/", headers={"if-none-match": known})
            assert (again.status_code, again.content) == (304, b""), known
            assert again.headers["etag"] == tag
        for other in ('W/"other"', "", tag[:-2] + '"'):
            assert (await client.get("/", headers={"if-none-match": other})).status_code == 200


async def test_files_are_compressed_for_who_takes_that_and_always_to_the_same_bytes(running):
    whole = pages.found()["/"].body
    async with asking(running, headers={}) as client:
        async with client.stream("GET", "/", headers={"accept-encoding": "br, gzip;q=0.5"}) as answer:
            packed = b"".join([piece async for piece in answer.aiter_raw()])
        assert answer.headers["content-encoding"] == "gzip"
        assert gzip.decompress(packed) == whole
        assert packed == gzip.compress(whole, 9, mtime=0)
        for refused in ("identity", "gzip;q=0", "gzip; q=0.000", "*;q=0", ""):
            plain = await client.get("/", headers={"accept-encoding": refused})
            assert "content-encoding" not in plain.headers, refused
            assert plain.content == whole


async def test_head_has_the_headers_alone_and_nothing_but_reading_is_taken(running):
    async with asking(running, headers={"accept-encoding": "identity"}) as client:
        got, head = await client.get("/"), await client.head("/")
        assert (head.status_code, head.content) == (200, b"")
        assert {**head.headers, "date": ""} == {**got.headers, "date": ""}
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            refused = await client.request(method, "/")
            assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "path",
    [
        *("/../settings.py", "/..%2fsettings.py", "/%2e%2e/settings.py", "/....//settings.py", "/..\\settings.py"),
        *("/./index.html", "//index.html", "/index.html/", "/INDEX.HTML", "/index.html%00", "/index.html%00.js"),
        *("/web/index.html", "/__init__.py", "/etc/passwd", "//etc/passwd", "/.", "/..", "/%2f", "/index.html;a=b"),
        "/" + "a" * 8000,
    ],
)
async def test_no_path_of_a_request_reaches_the_files(running, path):
    port = running.addresses.port
    with anyio.fail_after(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert answer.split(b" ", 2)[1] in (b"404", b"400"), answer[:200]


@pytest.mark.parametrize(
    ("host", "connect"),
    [
        ("127.0.0.1:18789", "'self' ws://127.0.0.1:18789 wss://127.0.0.1:18789"),
        ("[::1]:1", "'self' ws://[::1]:1 wss://[::1]:1"),
        ("Agents.Example.org", "'self' ws://agents.example.org wss://agents.example.org"),
        *((odd, "'self'") for odd in ("", "a b", "a; script-src *", "a,b", "*", "a/b", "a\r\nx: y", "ev'il", "[::1")),
    ],
)
def test_a_page_talks_to_the_host_it_came_from_and_no_host_says_more(host, connect):
    assert f"connect-src {connect};" in pages.policy(host)
    assert pages.policy(host).count(";") == pages.policy("").count(";")


def test_every_file_has_a_type_and_names_no_other_host():
    for path, file in pages.found().items():
        assert file.suffix in pages.TYPES
        assert "\\" not in path
        assert b"http-equiv" not in file.body.lower()
