"""S20, S22-S25, S28-S30 over HTTP: who signs in, with what, and what those do who cannot."""

import asyncio
import json
import random
import secrets
import time
from contextlib import AsyncExitStack
from typing import Any

import anyio
import httpx2
import pytest

from ars_gateway.access.auth import OWNER, Credential, Credentials, digest
from ars_gateway.access.limiter import FAILURES
from ars_gateway.access.scopes import ADMIN, APPROVALS, PAIRING, READ, WRITE
from ars_gateway.http.app import make_app
from ars_gateway.limits import Limits
from tests.faults import foreign
from tests.gateway.client import connect_params
from tests.gateway.host import TOKEN, program
from tests.gateway.http.asking import BEARER, asking
from tests.gateway.http.test_sign_in import sign
from tests.gateway.raw import Raw, asked, frame, opened
from tests.gateway.talking import GUEST, admit_guest
from tests.gateway.test_scopes import KINDS

CLI = {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"}


async def connected(port: int, token: str) -> dict[str, Any]:
    """The answer to a connect of the cli."""
    raw = await opened(port)
    async with raw:
        await raw.read()
        return await answered(raw, token)


async def answered(raw: Raw, token: str) -> dict[str, Any]:
    raw.write(frame({"type": "req", "id": "c", "method": "connect", "params": connect_params(token, client=CLI)}))
    answer: dict[str, Any] = json.loads(await raw.read() or b"{}")
    return answer


@pytest.mark.faults("S20 HTTP")
async def test_guessing_on_both_ways_in_gets_five_tries_together(start, record, count, tmp_path):
    tries, path = count(10_000, 300), tmp_path / "state" / "g.sock"
    checked, begun = 0, time.monotonic()
    async with start(socket_path=path) as running:
        port = running.addresses.port
        request = f"GET /health HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n"
        for number in range(tries):
            if number % 10 == 9:
                told = (await connected(port, f"guess-{number:012d}"))["error"]["message"]
                checked += "mismatch" in told
                continue
            header = f"Authorization: Bearer guess-{number:012d}"
            if number % 2:
                header = f"X-Internal-Auth: {sign(f'guess-{number}', 'GET', '/health')}"
            status, _ = await asked(port, f"{request}{header}\r\n\r\n".encode())
            checked += status == 401
        right = f"{request}Authorization: Bearer {TOKEN}\r\n\r\n".encode()
        locked = (await asked(port, right))[0] == 429
        elsewhere, _ = await asked(port, right, str(path))
        lines = len(running.log.lines)
    allowed = FAILURES * (1 + int((time.monotonic() - begun) / 300))
    measured = f"{tries} tries: {checked} looked at; the right token elsewhere: {elsewhere}; {lines} log lines"
    record(
        "S20 HTTP",
        f"<= {allowed} looked at; elsewhere works",
        measured,
        checked <= allowed and locked and elsewhere == 200,
    )


@pytest.mark.faults("S22 HTTP")
async def test_no_secret_is_taken_from_an_address_or_gets_into_a_log(tmp_path, record):
    state = tmp_path / "state"
    async with program(state, "--log-level", "debug") as gateway:
        internal = (state / "internal.secret").read_text()
        once = gateway.said.partition("#token=")[2].split()[0]
        statuses = set()
        for secret in (TOKEN, internal, once):
            for name in ("token", "password", "auth", "access_token", "Authorization", "deviceToken"):
                request = f"GET /health?{name}={secret} HTTP/1.1\r\nHost: localhost:{gateway.port}\r\n\r\n"
                statuses.add((await asked(gateway.port, request.encode()))[0])
            request = f"GET /{secret} HTTP/1.1\r\nHost: localhost:{gateway.port}\r\nUser-Agent: {secret}\r\n\r\n"
            await asked(gateway.port, request.encode())
            await asked(gateway.port, request.replace(f"Host: localhost:{gateway.port}", f"Host: {secret}").encode())
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{gateway.port}", trust_env=False) as client:
            made = (await client.post("/auth/token", json={"client_id": "cli"}, headers=BEARER)).json()["token"]
            header = sign(internal, "GET", "/health")
            assert (await client.get("/health", headers={"x-internal-auth": header})).status_code == 200
        assert (await connected(gateway.port, made))["ok"]
    log = gateway.log.read_text() + "".join(it.read_text() for it in (state / "log").iterdir())
    found = {name: log.count(it) for name, it in {"token": TOKEN, "internal": internal, "made": made}.items()}
    measured = f"{sorted(statuses)}; {found} in {len(log)} bytes"
    record("S22 HTTP", "query credentials 400; 0 in the log", measured, statuses == {400} and not sum(found.values()))


# Written down once more, apart from the table of the doors.
DOORS = {
    None: {"/healthz", "/readyz", "/openapi.json"},
    READ: {"/health", "/metrics", "/auth/token", "/agent/stream", "/v1/models", "/v1/models/{model:path}"},
    WRITE: {
        "/agent/message",
        "/agent/message/stream",
        "/agent/tool_result",
        "/agent/form",
        "/agent/abort",
        "/v1/chat/completions",
        "/acp",
    },
    APPROVALS: {"/agent/approval"},
}
CALLERS: dict[str, set[str] | None] = {
    **{kind: held for kind, held in KINDS.items() if kind != "node"},
    "service": {READ, WRITE, APPROVALS},
    "nobody": None,
}


def needed(path: str) -> str | None:
    """The scope of a door by the list above. The page's files are for everybody."""
    for scope, paths in DOORS.items():
        if path in paths:
            return scope
    assert path == "/" or "." in path, f"{path} is on no list"
    return None


@pytest.mark.faults("S23 HTTP")
async def test_scopes_are_exact_for_every_door_and_seven_kinds_of_caller(start, record):
    tokens = {kind: secrets.token_urlsafe(32) for kind in KINDS}
    cells, wrong = 0, []
    async with start() as running, asking(running, headers={}) as client:
        gateway = running.gateway
        held = (Credential(OWNER, digest(token), frozenset({kind})) for kind, token in tokens.items())
        gateway.credentials = Credentials("token", tuple(held))
        internal = (gateway.settings.state_dir / "internal.secret").read_text()
        doors = [(method, it.path) for it in make_app(gateway).routes for method in it.methods]
        for method, path in doors:
            at, scope = path.replace("{model:path}", "x"), needed(path)
            for kind, may in CALLERS.items():
                headers = {} if may is None else {"authorization": f"Bearer {tokens.get(kind)}"}
                if kind == "service":
                    headers = {"x-internal-auth": sign(internal, method, at)}
                status = (await client.request(method, at, headers=headers)).status_code
                wanted = None if scope is None else 401 if may is None else 403 if scope not in may else None
                fits = status == wanted if wanted else status not in (401, 403, 500)
                wrong += [] if fits else [(method, path, kind, status)]
                cells += 1
    measured = f"{cells} cells of {len(doors)} doors: {len(wrong)} wrong {wrong[:3]}"
    record("S23 HTTP", "doors x 7 kinds of caller: 100 % exact", measured, not wrong and cells >= 100)
    assert {ADMIN, PAIRING} < CALLERS.keys()


@pytest.mark.faults("S24")
async def test_no_replay_absence_age_or_change_gets_a_signed_request_in(start, record, count):
    rounds = count(200, 20)
    body, target = b'{"client_id": "cli"}', "/auth/token"
    accepted = tried = right = 0
    async with start() as running, asking(running, headers={}) as client:
        secret = (running.gateway.settings.state_dir / "internal.secret").read_text()
        running.gateway.connect_tokens.rate._most = 100_000

        async def let_in(*headers: str, method: str = "POST", to: str = target, content: bytes = body) -> bool:
            given = [("x-internal-auth", one) for one in headers]
            given.append(("content-type", "application/json"))
            answer = await client.request(method, to, content=content, headers=given)
            assert answer.status_code in (200, 401), answer.text
            return answer.status_code == 200

        for _ in range(rounds):
            now = time.time_ns() // 1_000_000
            good = sign(secret, "POST", target, body)
            right += await let_in(good)
            forgeries = [
                let_in(good),
                let_in(),
                let_in(sign(secret, "POST", target, body, at=now - 60_500)),
                let_in(sign(secret, "POST", target, body, at=now + 60_500)),
                let_in(sign(secret, "POST", target, body), content=b'{"client_id": "test"}'),
                let_in(sign(secret, "POST", target, body), to=f"{target}?x=1"),
                let_in(sign(secret, "POST", f"{target}?x=1", body), to=f"{target}?x=2"),
                let_in(sign(secret, "PUT", target, body)),
                let_in(good.replace(good.split()[2], secrets.token_urlsafe(16))),
                let_in(good.replace("v1", "v2")),
                let_in(sign(TOKEN, "POST", target, body)),
                let_in(*[sign(secret, "POST", target, body)] * 2),
            ]
            for forgery in forgeries:
                accepted += await forgery
                tried += 1
                running.gateway.limiter.entered("loopback -")  # every one is to be looked at
    measured = f"{tried} forgeries: {accepted} accepted; {right} of {rounds} that were right"
    record("S24", "replay, absent, old, changed: 0 accepted", measured, accepted == 0 and right == rounds)


@pytest.mark.faults("S25")
async def test_a_one_time_token_lets_one_in(start, record, count):
    rounds = count(50, 5)
    again, raced, late = 0, [], 0
    now = [0.0]
    async with start(Limits(waiting_sockets=200), clock=lambda: now[0]) as running, asking(running) as client:
        port, limiter = running.addresses.port, running.gateway.limiter

        async def made() -> str:
            token: str = (await client.post("/auth/token", json={"client_id": "cli"})).json()["token"]
            return token

        for _ in range(rounds):
            now[0] += 1000  # past every lock
            token = await made()
            assert (await connected(port, token))["ok"]
            again += sum([(await connected(port, token))["ok"] for _ in range(2)])
            limiter.entered("loopback -")
            token = await made()
            async with AsyncExitStack() as stack:
                racers = [await stack.enter_async_context(await opened(port)) for _ in range(50)]
                await asyncio.gather(*(raw.read() for raw in racers))
                answers = await asyncio.gather(*(answered(raw, token) for raw in racers))
            raced.append(sum(it["ok"] for it in answers))
            now[0] += 1000
            token = await made()
            now[0] += 60
            late += (await connected(port, token))["ok"]
    measured = f"{rounds} rounds: reused {again}, of 50 at once {sorted({*raced})}, late {late}"
    record("S25", "reuse x2: 0, race x50: exactly 1, late: 0", measured, not again and {*raced} == {1} and not late)


# ── before anybody has signed in ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.faults("S28 HTTP")
async def test_a_thousand_slow_requests_do_not_keep_a_client_waiting(tmp_path, record, count, at_most):
    slow = count(1000, 300)
    host, forged = "Host: localhost:{port}\r\n", sign("x", "POST", "/auth/token")
    starts = [
        f"GET /healthz HTTP/1.1\r\n{host}X: ",
        f"POST /auth/token HTTP/1.1\r\n{host}Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n{{",
        f"POST /auth/token HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n5\r\n{{",
        f"POST /auth/token HTTP/1.1\r\n{host}X-Internal-Auth: {forged}\r\nContent-Length: 9\r\n\r\n",
        f"POST /auth/token HTTP/1.1\r\n{host}Expect: 100-continue\r\nContent-Length: 100000\r\n\r\n",
    ]
    took: dict[str, list[float]] = {"WebSocket": [], "HTTP": []}
    async with program(tmp_path / "state") as gateway, AsyncExitStack() as stack:
        client = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{gateway.port}", headers=BEARER, trust_env=False)
        await stack.enter_async_context(client)
        raw = await stack.enter_async_context(await (await opened(gateway.port)).connect(TOKEN))
        await client.get("/metrics")
        before, held = gateway.rss, []
        for number in range(slow):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            stack.callback(writer.close)
            held.append((reader, writer))
            writer.write(starts[number % len(starts)].replace("{port}", str(gateway.port)).encode())
            for _, other in random.sample(held, min(len(held), 5)):
                if not other.is_closing():
                    other.write(b"x")
            if number % 5 == 0:
                begun = time.perf_counter()
                raw.write(frame({"type": "req", "id": "x", "method": "last-heartbeat"}))
                await raw.read()
                took["WebSocket"].append(time.perf_counter() - begun)
                begun = time.perf_counter()
                assert (await client.get("/agent/stream")).status_code == 400
                took["HTTP"].append(time.perf_counter() - begun)
        with anyio.fail_after(at_most(15)):
            left = [it for it in held if not await over(*it)]
        grown = (gateway.rss - before) / 1024
    p99 = {name: sorted(times)[len(times) * 99 // 100] * 1000 for name, times in took.items()}
    told = ", ".join(f"{name} p99 {it:.1f} ms" for name, it in p99.items())
    held_to = max(p99.values()) < at_most(100) and not left
    record(
        "S28 HTTP",
        "all gone in 10 s; authenticated p99 < 100 ms",
        f"{slow} slow: {told}, memory {grown:+.1f} MiB",
        held_to,
    )


async def over(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Whether the other end has ended this socket, once it has."""
    try:
        while await reader.read(65536):
            pass
    except ConnectionError:
        pass
    return True


@pytest.mark.faults("S29 HTTP")
async def test_what_strangers_ask_for_draws_nothing_in_the_log(start, record):
    chance = random.Random(29)
    said = ["\x1b[31mred\x1b[0m", "\x1b]0;title\x07", 'a\r\n{"event":"forged"}', "\x9b31mred"]
    said += ["".join(chance.choice(foreign.CONTROLS) + "x" for _ in range(8)) for _ in range(46)]
    async with start() as running:
        port, running.gateway.sampled = running.addresses.port, running.log
        for text in said:
            quoted = "".join(f"%{byte:02x}" for byte in text.encode())
            header = text.encode("utf-8").decode("latin-1").translate({0: "", 10: "", 13: ""})
            lines = [f"Host: localhost:{port}", "Authorization: Bearer wrong", f"User-Agent: {header}"]
            for more in (lines, [f"Host: {header}"], [lines[0], f"Origin: {header}"]):
                request = "\r\n".join([f"GET /agent/stream?session_id={quoted} HTTP/1.1", *more, "", ""])
                await asked(port, request.encode("latin-1"))
            request = "\r\n".join([f"GET /{quoted} HTTP/1.1", lines[0], "", ""])
            assert (await asked(port, request.encode()))[0] == 404
        told = json.dumps(running.log.lines, ensure_ascii=False)
    raw = sum(mark in told for mark in foreign.CONTROLS)
    record("S29 HTTP", "50 strings: 0 raw in the log", f"{len(said)} strings, {len(told)} bytes: {raw} raw", not raw)


@pytest.mark.faults("S30 HTTP")
async def test_sessions_of_others_are_as_unknown_as_those_that_never_were(start, record, count):
    guesses = count(10_000, 300)
    found, answers = 0, set()
    async with start() as running:
        admit_guest(running)
        names = [secrets.token_hex(8) for _ in range(50)]
        for name in names:
            running.gateway.talks.rooms.open(OWNER, f"agent:main:{name}", running.gateway.talks.workspace)
        async with asking(running, headers={"authorization": f"Bearer {GUEST}"}) as guest:
            for number in range(guesses):
                name = names[number % 50] if number % 2 else secrets.token_hex(8)
                path, body = [
                    ("/agent/tool_result", {"session_id": name, "call_id": "c", "result": {}}),
                    ("/agent/approval", {"session_id": name, "approval_id": "a", "decision": "deny"}),
                    ("/agent/abort", {"session_id": name}),
                    (f"/agent/stream?session_id={name}&message_id=m", None),
                ][number // 2 % 4]
                answer = await (guest.get(path) if body is None else guest.post(path, json=body))
                found += answer.status_code != 404
                answers.add((path.partition("?")[0], answer.text.replace(name, "…")))
    measured = f"{found} found; {len(answers)} different answers of 4 doors"
    record("S30 HTTP", f"0 of {guesses} guesses, the same answers", measured, not found and len(answers) == 4)
