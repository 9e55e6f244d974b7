"""S16-S23, S27-S29: who tries to come in through the gateway's door."""

import asyncio
import json
import os
import random
import socket
import stat
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import pytest

from ars_gateway.access.auth import Credentials, digest
from ars_gateway.access.limiter import FAILURES
from ars_gateway.access.scopes import closure
from ars_gateway.call import Caller
from ars_gateway.clean import clean
from ars_gateway.limits import Limits
from ars_gateway.methods import METHODS
from ars_gateway.sockets.dispatch import forbidden
from tests.faults import foreign
from tests.faults.conftest import FULL
from tests.gateway.client import Refusal, connect_params
from tests.gateway.host import GATEWAY, TOKEN, environment, program
from tests.gateway.raw import asked, frame, opened, upgrade
from tests.gateway.test_scopes import KINDS, NODE_METHODS, needed
from tests.support.unprivileged import as_nobody


@pytest.mark.faults("S16")
async def test_no_foreign_page_gets_a_socket(start, record):
    async with start() as running:
        port = running.addresses.port
        origins = foreign.origins(port)
        let_in = []
        for origin in origins:
            status, _ = await asked(port, upgrade(port, "/", None, f"Origin: {origin}"))
            let_in += [origin] if status == 101 else []
            # A proxy's headers change nothing.
            more = f"X-Forwarded-Host: {origin.partition('//')[2]}"
            status, _ = await asked(port, upgrade(port, "/", None, f"Origin: {origin}", more))
            let_in += [origin] if status == 101 else []
    record("S16", "20 origins: 0 upgrades", f"{len(origins)} origins: {len(let_in)} {let_in}", not let_in)
    assert len(set(origins)) == 20


@pytest.mark.faults("S17")
async def test_no_foreign_name_of_this_machine_is_answered(start, record):
    async with start() as running:
        port = running.addresses.port
        hosts = foreign.hosts(port)
        answered = []
        for host in hosts:
            for request in (upgrade(port, "/", host), f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()):
                status, _ = await asked(port, request)
                answered += [] if status in (400, 421) else [host]
        two = upgrade(port, "/", None, "Host: evil.example")
        answered += [] if (await asked(port, two))[0] in (400, 421) else ["two"]
    record("S17", "20 hosts: 0 accepted, 421", f"{len(hosts)} hosts: {len(answered)} {answered}", not answered)
    assert len(set(hosts)) == 20


@pytest.mark.faults("S19")
async def test_an_open_gateway_does_not_start(tmp_path, record):
    configs = [["--host", "0.0.0.0"], ["--host", "::"], ["--auth", "none"], ["--host", "0.0.0.0", "--auth", "password"]]
    codes = []
    for number, config in enumerate(configs):
        command = [GATEWAY, "--port", "0", "--state-dir", str(tmp_path / str(number)), *config]
        with anyio.fail_after(20):
            codes.append((await anyio.run_process(command, check=False, env=environment())).returncode)
    record("S19", "4 configs: exit != 0", f"exits {codes}", 0 not in codes)


@pytest.mark.faults("S20")
async def test_guessing_gets_five_tries(start, record, count, tmp_path):
    tries = count(10_000, 300)
    checked = 0
    path = tmp_path / "state" / "g.sock"
    begun = time.monotonic()
    async with start(socket_path=path) as running:
        for number in range(tries):
            raw = await opened(running.addresses.port)
            await raw.read()
            params = connect_params(f"guess-{number:012d}")
            raw.write(frame({"type": "req", "id": "c", "method": "connect", "params": params}))
            checked += b"mismatch" in (await raw.read() or b"")
            await raw.ended()
        right = await opened(running.addresses.port)
        await right.read()
        right.write(frame({"type": "req", "id": "c", "method": "connect", "params": connect_params(TOKEN)}))
        locked = b"too many" in (await right.read() or b"")
        await right.ended()
        async with running.client(options={"unix": path, "url": "ws://localhost/"}):
            elsewhere = True
        lines = len(running.log.lines)
    allowed = FAILURES * (1 + int((time.monotonic() - begun) / 300))
    measured = f"{tries} tries: {checked} looked at, right token elsewhere let in: {elsewhere}, {lines} log lines"
    record("S20", f"<= {allowed} looked at; elsewhere works", measured, checked <= allowed and locked and elsewhere)


@pytest.mark.faults("S20 timing")
@pytest.mark.skipif(not FULL, reason="a statistic, only in the full count")
def test_the_time_of_a_comparison_tells_nothing(record):
    from ars_gateway.access.auth import Credential

    secret = "s" * 43
    credentials = Credentials("token", (Credential("owner", digest(secret)),))
    near, far = {"token": secret[:-1] + "x"}, {"token": "x" * 43}
    times: dict[str, list[int]] = {"near": [], "far": []}
    chance = random.Random(5)
    for _ in range(100_000):
        name, given = chance.choice([("near", near), ("far", far)])
        begun = time.perf_counter_ns()
        credentials.match(given)
        times[name].append(time.perf_counter_ns() - begun)
    cut = {name: sorted(found)[: len(found) * 9 // 10] for name, found in times.items()}
    spread = sum(statistics.variance(found) / len(found) for found in cut.values()) ** 0.5
    t = abs(statistics.mean(cut["near"]) - statistics.mean(cut["far"])) / spread
    record("S20 timing", "Welch t < 4.5 over 100,000", f"t = {t:.2f}", t < 4.5)


@pytest.mark.faults("S21")
async def test_secrets_are_files_of_ours_alone_whatever_the_umask(tmp_path, record):
    state = tmp_path / "state"
    before = os.umask(0)
    try:
        async with program(state, env=environment()) as gateway:
            modes = {it.name: stat.S_IMODE(it.stat().st_mode) for it in [state, *state.iterdir()]}
            socket_mode = stat.S_IMODE(gateway.unix.stat().st_mode)
    finally:
        os.umask(before)
    wide = {name: oct(mode) for name, mode in modes.items() if mode & 0o077}
    (state / "gateway.token").chmod(0o644)
    command = [GATEWAY, "--port", "0", "--state-dir", str(state)]
    with anyio.fail_after(20):
        refused = (await anyio.run_process(command, check=False, env=environment())).returncode
    measured = f"directory {modes['state']:o}, token {modes['gateway.token']:o}, socket {socket_mode:o}, wide: {wide}"
    exact = modes["state"] == 0o700 and modes["gateway.token"] == 0o600 and socket_mode == 0o600
    record(
        "S21",
        "0700, 0600, 0600; a wide token refused",
        f"{measured}, refused {refused}",
        exact and refused != 0 and not wide,
    )


@pytest.mark.faults("S22")
async def test_a_token_is_in_no_address_and_in_no_log(tmp_path, record):
    async with program(tmp_path / "state", "--log-level", "debug") as gateway:
        async with gateway.client() as client:
            with pytest.raises(Refusal):
                await client.request(TOKEN, {"token": TOKEN})
        status, answer = await asked(gateway.port, upgrade(gateway.port, f"/?token={TOKEN}"))
        await asked(gateway.port, upgrade(gateway.port, "/", f"{TOKEN}:1"))
        await asked(gateway.port, upgrade(gateway.port, "/", None, f"Origin: http://{TOKEN}"))
        async with gateway.socket() as client:
            with pytest.raises(Refusal):
                await client.connect(connect_params("x", client=json.loads(json.dumps(SAYS_TOKEN))))
    log = gateway.log.read_text()
    found = log.count(TOKEN)
    record(
        "S22", "query tokens 400; 0 in the log", f"{status}, {found} in {len(log)} bytes", status == 400 and found == 0
    )
    assert "[redacted]" in log
    assert TOKEN.encode() not in answer


SAYS_TOKEN = {"id": "test", "version": TOKEN, "platform": "linux", "mode": "test"}


@pytest.mark.faults("S23")
def test_scopes_are_exact_for_every_method_and_six_kinds_of_caller(record):
    cells = wrong = 0
    for kind, held in KINDS.items():
        role = "node" if kind == "node" else "operator"
        caller = Caller("c", role, closure(held), tuple(held), {}, None, "owner", True, frozenset())
        for name in [*METHODS, "no.such", "__proto__"]:
            if name in ("connect", "resume"):
                continue
            if role == "node" or name in NODE_METHODS:
                may = role == "node" and name in NODE_METHODS
            else:
                may = name in METHODS and needed(name) in held
            wrong += (forbidden(METHODS.get(name), name, caller) is None) != may
            cells += 1
    record(
        "S23", "methods x 6 kinds of caller: 100 % exact", f"{cells} cells: {wrong} wrong", wrong == 0 and cells > 500
    )


@pytest.mark.faults("S27")
@pytest.mark.skipif(os.getuid() != 0, reason="another user is only there for root")
async def test_another_user_of_this_machine_does_not_get_in(start, record):
    with TemporaryDirectory() as directory:  # not below pytest's own, which nobody else may enter
        Path(directory).chmod(0o755)
        await _tried_by_nobody(start, record, Path(directory) / "g.sock")


async def _tried_by_nobody(start, record, path: Path) -> None:
    async with start(socket_path=path) as running:
        file_stops = await anyio.to_thread.run_sync(lambda: as_nobody(lambda: knocks(str(path))))
        path.chmod(0o777)  # were the file's mode no protection, the peer's user would be
        peer_stops = await anyio.to_thread.run_sync(lambda: as_nobody(lambda: knocks(str(path))))
        status, _ = await asked(0, upgrade(running.addresses.port), str(path))
    told = f"by the file: {file_stops}, by the peer's user: {peer_stops}; our own: {status}"
    record("S27", "second uid: 0", told, not file_stops.startswith("HTTP") and peer_stops == "" and status == 101)


def knocks(path: str) -> str:
    """What another user hears on the Unix socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        try:
            sock.connect(path)
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return sock.recv(100).decode()
        except ConnectionError:
            return ""
        except OSError as error:
            return type(error).__name__


@pytest.mark.faults("S28")
async def test_a_thousand_silent_sockets_do_not_keep_a_client_waiting(tmp_path, record, count, at_most):
    silent = count(1000, 400)
    took: list[float] = []
    async with program(tmp_path / "state") as gateway:
        raw = await (await opened(gateway.port)).connect(TOKEN)
        async with raw:
            before = gateway.rss
            held = []
            for number in range(silent):
                sock = socket.socket()
                sock.setblocking(False)
                await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", gateway.port))
                held.append(sock)
                if number % 5 == 0:
                    begun = time.perf_counter()
                    raw.write(frame({"type": "req", "id": "x", "method": "last-heartbeat"}))
                    await raw.read()
                    took.append(time.perf_counter() - begun)
            async with gateway.client():
                pass  # a newcomer with the right token comes in among them
            with anyio.fail_after(at_most(10)):
                while alive(held) > Limits().waiting_sockets:
                    with anyio.move_on_after(0.05):
                        await anyio.sleep_forever()
            left, grown = alive(held), gateway.rss - before
            for sock in held:
                sock.close()
    p99 = sorted(took)[len(took) * 99 // 100] * 1000
    measured = f"{silent} sockets: {left} left, authenticated p99 {p99:.1f} ms, memory {grown / 1024:+.1f} MiB"
    record("S28", "<= 32 left; authenticated p99 < 100 ms", measured, left <= 32 and p99 < at_most(500))


def alive(sockets: list[socket.socket]) -> int:
    """How many of them the other end has not closed."""
    count = 0
    for sock in sockets:
        sock.setblocking(False)
        try:
            count += sock.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            count += 1
        except OSError:
            pass
    return count


@pytest.mark.faults("S29")
async def test_what_strangers_say_of_themselves_draws_nothing(start, record):
    chance = random.Random(29)
    said = [
        "\x1b[31mred\x1b[0m",
        "\x1b]0;title\x07",
        "\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\",
        'a\r\n{"event":"forged"}',
        "\x9b31mred",
        *("".join(chance.choice(foreign.CONTROLS) + "x" for _ in range(8)) for _ in range(45)),
    ]
    raw = 0
    async with start() as running:
        for text in said:
            who = {
                "id": "test",
                "mode": "test",
                "version": f"v{text}",
                "platform": f"p{text}",
                "displayName": f"d{text}",
            }
            headers = {"User-Agent": "".join(it for it in text if it.isprintable() and it.isascii())}
            async with running.client(client=who, options={"additional_headers": headers}) as client:
                shown = json.dumps(await client.request("system-presence"), ensure_ascii=False)
                raw += any(it in shown for it in foreign.CONTROLS)
        told = json.dumps(running.log.lines, ensure_ascii=False)
        raw += any(it in told.replace("\\n", "") for it in foreign.CONTROLS)
        assert "forged" in told
    raw += sum(any(it in clean(text) for it in foreign.CONTROLS) for text in said)
    record("S29", "50 strings: 0 raw", f"{len(said)} strings: {raw} raw", raw == 0)
