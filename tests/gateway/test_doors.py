"""What is looked at before a socket is upgraded, and where the gateway listens."""

import asyncio
import json
import socket
import stat

import anyio
import pytest

from ars_gateway.access import origins
from ars_gateway.errors import StartError
from ars_gateway.server import bound
from ars_gateway.settings import Settings, kept_secret, load, private_dir
from tests.gateway.client import Refusal, connect_params
from tests.gateway.host import GATEWAY, TOKEN, environment, program
from tests.gateway.raw import LARGE, Raw, asked, frame, upgrade

GET = "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"


async def test_health_is_told_to_anybody_at_home(running):
    port = running.addresses.port
    status, answer = await asked(port, GET.format(path="/healthz", host=f"localhost:{port}").encode())
    assert status == 200
    assert answer.endswith(b'{"ok":true}')


@pytest.mark.parametrize("host", ["evil.example", "localhost", "127.0.0.1:1", "", "localhost:{port}@evil.example"])
async def test_http_for_another_host_is_misdirected(running, host):
    port = running.addresses.port
    request = GET.format(path="/healthz", host=host.replace("{port}", str(port)))
    status, answer = await asked(port, request.encode())
    assert status == 421
    assert b"--allow-host" in answer


async def test_hosts_and_origins_of_the_settings_are_let_in(start):
    chosen = {"allowed_hosts": frozenset({"agents.example"}), "allowed_origins": frozenset({"https://agents.example"})}
    async with start(**chosen) as running:
        port = running.addresses.port
        status, _ = await asked(port, upgrade(port, "/", "agents.example", "Origin: https://agents.example"))
        assert status == 101
        status, _ = await asked(port, upgrade(port, "/", "agents.example:1", "Origin: https://agents.example"))
        assert status == 421
        status, answer = await asked(port, upgrade(port, "/", "agents.example", "Origin: http://agents.example"))
        assert status == 403
        assert b"http://agents.example" in answer
        assert b"--allow-origin" in answer


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]"])
async def test_our_own_pages_are_let_in(running, name):
    port = running.addresses.port
    status, _ = await asked(port, upgrade(port, "/", f"{name}:{port}", f"Origin: http://{name}:{port}"))
    assert status == 101


@pytest.mark.parametrize("name", ["token", "password", "deviceToken", "access_token", "AUTH"])
async def test_a_credential_in_an_address_is_refused(running, name):
    port = running.addresses.port
    for request in (
        upgrade(port, f"/?x=1&{name}=s3cret"),
        GET.format(path=f"/healthz?{name}=x", host=f"localhost:{port}").encode(),
    ):
        status, answer = await asked(port, request)
        assert status == 400
        assert b"s3cret" not in answer


async def test_an_upgrade_that_is_no_websocket_is_refused(running):
    port = running.addresses.port
    request = upgrade(port).replace(b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Version: 7")
    assert (await asked(port, request))[0] == 400
    request = upgrade(port).replace(b"Upgrade: websocket", b"Upgrade: h2c")
    assert (await asked(port, request))[0] == 200  # the page: an upgrade to what we do not speak is passed over
    assert (await asked(port, b"NONSENSE\r\n\r\n"))[0] == 400


async def test_a_head_that_is_too_large_is_refused(running):
    port = running.addresses.port
    status, _ = await asked(port, upgrade(port, "/", None, f"X-Large: {'a' * 20_000}"))
    assert status == 431


async def test_a_websocket_may_speak_before_it_reads_the_upgrades_answer(running):
    port = running.addresses.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=LARGE)
    hello = frame({"type": "req", "id": "c", "method": "connect", "params": connect_params(TOKEN)})
    writer.write(upgrade(port) + hello)
    await reader.readuntil(b"\r\n\r\n")
    async with Raw(reader, writer) as raw:
        assert b"connect.challenge" in (await raw.read() or b"")
        assert b"hello-ok" in (await raw.read() or b"")


# ── what a peer is ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("127.0.0.1", "loopback"),
        ("127.9.9.9", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8:0:0:ffff::1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("what", "unknown"),
    ],
)
def test_one_neighbour_has_one_name(address, name):
    assert origins.normalised(address) == name


@pytest.mark.parametrize(
    "name",
    ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via", "CF-Connecting-IP", "Tailscale-User"],
)
def test_who_speaks_for_somebody_else_is_not_local(name):
    plain = origins.peer_of("127.0.0.1", False, [(b"accept", b"x")])
    through = origins.peer_of("127.0.0.1", False, [(name.encode(), b"1")])
    assert plain.local
    assert not through.local
    assert plain.bucket != through.bucket


@pytest.mark.parametrize("unix", [False, True])
@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1:18789", True),
        ("LOCALHOST:1", True),
        ("[::1]:18789", True),
        ("localhost", True),
        ("agents.example", False),
        ("localhost.example:18789", False),
        ("127.0.0.1:1@agents.example", False),
    ],
)
def test_who_asks_for_another_name_than_this_machines_came_through_a_proxy(host: str, local: bool, unix: bool):
    address = "" if unix else "127.0.0.1"
    assert origins.peer_of(address, unix, [(b"host", host.encode())]).local == local


async def test_identity_headers_of_a_proxy_are_not_believed(running):
    headers = {"Tailscale-User-Login": "owner@example", "X-OpenClaw-Scopes": "operator.admin"}
    async with running.socket(additional_headers=headers) as client:
        with pytest.raises(Refusal, match="device identity required"):
            await client.connect(connect_params())


# ── where it listens ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_both_loopbacks_and_the_unix_socket_answer(start, tmp_path):
    path = tmp_path / "state" / "g.sock"
    async with start(socket_path=path) as running:
        for url in running.addresses.urls:
            async with running.client(options={"url": url}):
                pass
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        async with running.client(options={"url": "ws://localhost/", "unix": path}) as client:
            assert client.hello["type"] == "hello-ok"
        (line,) = running.log.named("gateway.connected")[-1:]
        assert line["address"] == "unix"
    assert not path.exists()


async def test_a_peer_that_vanishes_without_a_word_is_noticed(running):
    async with running.client() as client:
        accepted = running.gateway.hub.connections[client.conn_id].socket._transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000


async def test_a_second_gateway_on_the_same_unix_socket_does_not_start(start, tmp_path):
    path = tmp_path / "state" / "g.sock"
    async with start(socket_path=path) as running:
        with pytest.raises(StartError, match="already listening"):
            bound(Settings(state_dir=path.parent, secret="x", port=0, socket_path=path))
        async with running.client(options={"url": "ws://localhost/", "unix": path}):
            pass


async def test_a_socket_that_a_killed_gateway_left_is_taken_over(start, tmp_path):
    path = tmp_path / "state" / "g.sock"
    path.parent.mkdir(mode=0o700)
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    async with start(socket_path=path) as running, running.client(options={"url": "ws://localhost/", "unix": path}):
        pass


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_an_address_that_others_reach_needs_a_word_of_its_own(tmp_path, host):
    given = {"host": [host], "state_dir": str(tmp_path / "s")}
    with pytest.raises(StartError, match="--allow-remote"):
        load(given, {})
    assert load(given | {"allow_remote": True}, {}).hosts == (host,)


@pytest.mark.parametrize(
    ("given", "env", "why"),
    [
        ({"auth": "none"}, {}, "never without one"),
        ({"auth": "password"}, {}, "ARS_GATEWAY_PASSWORD"),
        ({}, {"ARS_GATEWAY_TOKEN": ""}, "too short"),
        ({}, {"ARS_GATEWAY_TOKEN": "short"}, "too short"),
        ({"port": "70000"}, {}, "no port"),
        ({"port": "http"}, {}, "no port"),
        ({"allow_host": ["http://x"]}, {}, "no host: name"),
        ({"allow_host": ["*"]}, {}, "no host: name"),
        ({"allow_origin": ["x.example"]}, {}, "no origin: http"),
        ({"allow_origin": ["https://x.example/path"]}, {}, "no origin: http"),
        ({"socket": "/" + "x" * 120}, {}, "too long"),
    ],
)
def test_settings_that_cannot_be_say_what_to_change(tmp_path, given, env, why):
    with pytest.raises(StartError, match=why):
        load({"state_dir": str(tmp_path / "s")} | given, env)


def test_the_command_line_goes_before_the_environment(tmp_path):
    env = {"ARS_GATEWAY_PORT": "1000", "ARS_GATEWAY_ALLOW_ORIGIN": "https://a.example, https://b.example"}
    found = load({"state_dir": str(tmp_path / "s"), "port": "2000"}, env)
    assert found.port == 2000
    assert found.allowed_origins == {"https://a.example", "https://b.example"}
    assert load({"state_dir": str(tmp_path / "s")}, env).port == 1000


# ── the token file ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_token_is_made_once_and_kept(tmp_path):
    first = kept_secret(tmp_path / "t")
    assert len(first) == 43
    assert kept_secret(tmp_path / "t") == first
    assert kept_secret(tmp_path / "t", renew=True) != first


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_token_that_others_can_read_is_not_used(tmp_path, mode):
    kept_secret(tmp_path / "t")
    (tmp_path / "t").chmod(mode)
    with pytest.raises(StartError, match="chmod 600"):
        kept_secret(tmp_path / "t")


def test_a_token_behind_a_link_is_not_used(tmp_path):
    kept_secret(tmp_path / "real")
    (tmp_path / "t").symlink_to(tmp_path / "real")
    with pytest.raises(StartError):
        kept_secret(tmp_path / "t")


def test_an_empty_token_file_is_no_token(tmp_path):
    (tmp_path / "t").touch(mode=0o600)
    with pytest.raises(StartError, match="holds no secret"):
        kept_secret(tmp_path / "t")


def test_a_state_directory_that_others_may_enter_is_not_used(tmp_path):
    tmp_path.chmod(0o755)
    with pytest.raises(StartError, match="chmod 700"):
        private_dir(tmp_path)


# ── the program ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.e2e
async def test_the_program_makes_its_token_listens_and_ends(tmp_path):
    state = tmp_path / "state"
    async with program(state, env=environment()) as gateway:
        token = (state / "gateway.token").read_text()
        assert str(state / "gateway.token") in gateway.said
        assert token not in gateway.said
        async with gateway.client(token=token) as client:
            gateway.process.terminate()
            await client.event("shutdown")
            assert await client.ended() == (1012, "service restart")
        with anyio.fail_after(20):
            assert await gateway.process.wait() == 0
        assert not gateway.unix.exists()
    assert token not in gateway.log.read_text()


@pytest.mark.e2e
async def test_all_that_the_program_logs_is_json(tmp_path):
    async with program(tmp_path / "state", "--log-level", "debug") as gateway:
        for _ in range(20):
            status, _ = await asked(gateway.port, b"NONSENSE \x1b[31m\r\n\r\n")
            assert status == 400
        async with gateway.client() as client:
            await client.request("last-heartbeat")
    lines = [json.loads(line) for line in gateway.log.read_text().splitlines()]
    events = [line["event"] for line in lines]
    assert {"gateway.connected", "gateway.disconnected", "gateway.library"} <= {*events}
    assert events.count("gateway.library") <= 5
    assert all(line["timestamp"] and line["level"] for line in lines)


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("args", "code"), [(["--host", "0.0.0.0"], 1), (["--auth", "password"], 1), (["--port", "{taken}"], 2)]
)
async def test_the_program_says_why_it_does_not_start(tmp_path, args, code):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [GATEWAY, "--port", "0", "--state-dir", str(tmp_path / "s"), *(it.format(taken=port) for it in args)]
        with anyio.fail_after(20):
            done = await anyio.run_process(command, check=False, env=environment())
    assert done.returncode == code
    assert done.stderr.startswith(b"ars-gateway: ")
    assert done.stderr.count(b"\n") == 1
