"""S16-S18, S20, S22-S25, S28-S30 once more over HTTP: who tries to come in through its doors."""

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from ars_gateway.access.auth import OWNER
from ars_gateway.http.access import ACCESS
from tests.faults import foreign
from tests.gateway.host import TOKEN, program
from tests.gateway.http.asking import asking
from tests.gateway.raw import asked

ROOT = Path(__file__).parents[2]
BODY = b'{"client_id": "cli"}'
JSON = "Content-Type: application/json"
SIGNED_IN = f"Authorization: Bearer {TOKEN}"


def post(port: int, *headers: str, path: str = "/auth/token", body: bytes = BODY, host: str = "") -> bytes:
    """A POST that would make a token, were nothing wrong with it."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host or f'localhost:{port}'}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + body


def made(running: Any) -> int:
    """How many tokens there are: what a forged request would leave behind."""
    return len(running.gateway.connect_tokens._held)


@pytest.mark.faults("S16 HTTP")
async def test_no_foreign_page_is_answered(start, record):
    async with start() as running:
        port = running.addresses.port
        origins = foreign.origins(port)
        statuses = [(await asked(port, post(port, SIGNED_IN, JSON, f"Origin: {it}")))[0] for it in origins]
        assert (await asked(port, post(port, SIGNED_IN, JSON, f"Origin: http://localhost:{port}")))[0] == 200
        held = set(statuses) == {403} and made(running) == 1
    measured = f"{len(origins)} origins with the right token: {sorted({*statuses})}, {made(running) - 1} done"
    record("S16 HTTP", "20 origins: 403, nothing done", measured, held)
    assert len({*origins}) == 20


@pytest.mark.faults("S17 HTTP")
async def test_no_foreign_name_lets_a_request_in(start, record):
    async with start() as running:
        port = running.addresses.port
        hosts = foreign.hosts(port)
        statuses = [(await asked(port, post(port, SIGNED_IN, JSON, host=it)))[0] for it in hosts]
        done = made(running)
    measured = f"{len(hosts)} hosts with the right token: {sorted({*statuses})}, {done} done"
    record("S17 HTTP", "20 hosts: 421 before auth, nothing done", measured, {*statuses} <= {400, 421} and not done)
    assert len({*hosts}) == 20


def forged(port: int) -> list[tuple[bytes, set[int]]]:
    """Requests that a page elsewhere can have a browser send, and what each may be answered with."""
    own = f"Origin: http://localhost:{port}"
    forms = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json", ""]
    found: list[tuple[bytes, set[int]]] = []
    for form in forms:
        kind = [f"Content-Type: {form}"] if form else []
        found += [
            (post(port, *kind), {401}),
            (post(port, *kind, SIGNED_IN), {415}),
            (post(port, *kind, SIGNED_IN, own), {415}),
            (post(port, *kind, "Cookie: token=golden-token-123"), {401}),
            (post(port, *kind, "Origin: https://evil.example"), {403}),
        ]
    asks = ["Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,content-type"]
    private = "Access-Control-Request-Private-Network: true"
    for more in ([], [private], [own]):
        lines = ["OPTIONS /auth/token HTTP/1.1", f"Host: localhost:{port}", *asks, *(more or ["Origin: null"])]
        if more == [private]:
            lines.append("Origin: https://evil.example")
        found.append(("\r\n".join([*lines, "", ""]).encode(), {405} if more == [own] else {403}))
    for path in ("/auth/token?client_id=cli", "/agent/message?session_id=s&message=x"):
        request = f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n{SIGNED_IN}\r\n\r\n".encode()
        found.append((request, {405}))
    return found


@pytest.mark.faults("S18")
async def test_forged_requests_have_no_side_effects(start, record):
    async with start() as running:
        port = running.addresses.port
        rooms = len([*running.gateway.talks.rooms.of(OWNER)])
        wrong, allowed = [], 0
        requests = forged(port)
        for request, wanted in requests:
            status, answer = await asked(port, request)
            wrong += [] if status in wanted else [(status, request.split(b"\r\n")[0])]
            allowed += b"access-control-" in answer.lower()
        # A GET with the right bearer reads and does nothing.
        async with asking(running) as client:
            for method, path in ACCESS:
                if method == "GET" and "{" not in path:
                    with contextlib.suppress(httpx2.ReadTimeout):
                        await client.get(path, timeout=0.5)
        done = made(running) + len([*running.gateway.talks.rooms.of(OWNER)]) - rooms
        assert (await asked(port, post(port, SIGNED_IN, JSON)))[0] == 200
    measured = f"{len(requests)} forged: {done} side effects, {allowed} allowed to a page, wrong: {wrong}"
    record("S18", "30 forged requests: 0 side effects", measured, not done and not wrong and not allowed)
    assert len(requests) == 30


@pytest.mark.faults("S18 document")
async def test_every_door_is_as_its_document_says(tmp_path, record, count):
    agent = f"{Path(sys.executable).parent}/ars-acp --script {ROOT}/fixtures/scripts/gateway.script"
    report = tmp_path / "report.json"
    async with program(tmp_path / "state", "--agent", agent) as gateway:
        command = [
            *(str(Path(sys.executable).parent / "st"), "--no-color"),
            *("--config-file", str(Path(__file__).parent / "schemathesis.toml")),
            *("run", f"http://127.0.0.1:{gateway.port}/openapi.json", "-H", SIGNED_IN, "--seed", "8"),
            *("--max-examples", str(count(200, 4)), "--generation-database", "none", "--request-timeout", "10"),
            *("--report", "json", "--report-json-path", str(report)),
        ]
        with anyio.fail_after(count(3000, 300)):
            done = await anyio.run_process(command, check=False, cwd=tmp_path)
        assert gateway.process.returncode is None
        async with gateway.client() as client:
            await client.request("last-heartbeat")
    told = json.loads(report.read_text())
    log = [json.loads(line) for line in gateway.log.read_text().splitlines()]
    faults = [line for line in log if line["level"] == "error"]
    # What asks for an id that only a conversation gives out is refused each time; every other door let something in.
    shut = {door for door, rates in told["valid_rates"].items() if not any(it["accepted"] for it in rates.values())}
    tried, cases = told["operations"], told["test_cases"]
    failed = len(told["failures"]) + len(told["errors"]) + len(faults)
    measured = f"{tried['tested']} of {tried['total']} doors, {cases['generated']} requests: {failed} failures"
    if failed:
        print(done.stdout.decode()[-4000:], *faults, sep="\n")
    held = done.returncode == 0 and not failed and tried["tested"] == tried["total"]
    record("S18 document", "schemathesis, all its checks: 0 failures", measured, held)
    told_by_talks = {"POST /agent/approval", "POST /agent/form", "POST /agent/tool_result"}
    assert shut == {*told_by_talks, "GET /acp", "DELETE /acp"}
