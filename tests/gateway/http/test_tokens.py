"""One-time tokens: who makes one, whom it lets in, once, and the address that carries one."""

import asyncio
import json

import anyio
import pytest

from ars_gateway.access.connect_tokens import PAGE_CLIENT, SECONDS, page_address
from ars_gateway.http.openapi import document
from ars_gateway.protocol.validate import _schemas
from tests.gateway.client import Device, Refusal, connect_params
from tests.gateway.host import GATEWAY, TOKEN, environment, program
from tests.gateway.http.asking import asking, error_of
from tests.gateway.raw import frame, opened

CLI = {"id": "cli", "version": "1", "platform": "linux", "mode": "cli"}
PAGE = {"id": PAGE_CLIENT, "version": "1", "platform": "web", "mode": "ui"}


async def made(running, **body) -> dict:
    async with asking(running) as client:
        answer = await client.post("/auth/token", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def let_in(running, token: str, client=CLI, **options):
    async with running.client(token=token, client=client, **options) as one:
        return one.hello["auth"]


async def test_a_token_lets_its_client_in_once(running):
    token = (await made(running, client_id="cli"))["token"]
    assert len(token) == 43
    assert "operator.admin" in (await let_in(running, token))["scopes"]
    with pytest.raises(Refusal, match="token mismatch"):
        await let_in(running, token)


async def test_a_token_is_for_one_client_and_used_up_by_another(running):
    token = (await made(running, client_id="cli"))["token"]
    with pytest.raises(Refusal, match="token mismatch"):
        await let_in(running, token, CLI | {"id": "gateway-client"})
    with pytest.raises(Refusal, match="token mismatch"):
        await let_in(running, token)


async def test_a_token_is_for_an_operator(running):
    token = (await made(running, client_id="cli"))["token"]
    with pytest.raises(Refusal, match="token mismatch"):
        await let_in(running, token, role="node", scopes=None)


async def test_a_token_gives_no_more_than_was_asked_for_it(running):
    answer = await made(running, client_id="cli", scopes=["operator.read"])
    assert answer["scopes"] == ["operator.read"]
    async with running.client("operator.admin", "operator.read", token=answer["token"], client=CLI) as one:
        assert one.hello["auth"]["scopes"] == ["operator.read"]
        with pytest.raises(Refusal, match="missing scope"):
            await one.request("config.get")


async def test_a_token_is_good_for_a_minute(start):
    now, wall = [0.0], [1_700_000_000_000_000_000]
    async with start(clock=lambda: now[0], wall=lambda: wall[0]) as running:
        answer = await made(running, client_id="cli")
        assert answer["expires_at_ms"] == 1_700_000_060_000
        late = await made(running, client_id="cli")
        now[0] += SECONDS - 1
        await let_in(running, answer["token"])
        now[0] += 1
        with pytest.raises(Refusal, match="token mismatch"):
            await let_in(running, late["token"])
        assert not running.gateway.connect_tokens._held


async def test_a_device_that_came_with_a_token_comes_back_with_its_own(running):
    origin = {"additional_headers": {"origin": f"http://127.0.0.1:{running.addresses.port}"}}
    token = (await made(running))["token"]
    device = Device()
    auth = await let_in(running, token, PAGE, device=device, options=origin)
    again = await let_in(running, auth["deviceToken"], PAGE, device=device, options=origin, scopes=auth["scopes"])
    assert again["scopes"] == auth["scopes"]
    assert running.gateway.devices.principal_of(device.id) == "owner"


async def test_a_token_is_no_bearer(running):
    token = (await made(running, client_id="cli"))["token"]
    async with asking(running, headers={"authorization": f"Bearer {token}"}) as client:
        assert (await client.post("/auth/token", json={})).status_code == 401
    await let_in(running, token)


async def test_a_token_signs_in_where_passwords_do(start):
    async with start(auth_mode="password", secret="a long pass phrase") as running:
        async with asking(running, headers={"authorization": "Bearer a long pass phrase"}) as client:
            token = (await client.post("/auth/token", json={"client_id": "cli"})).json()["token"]
        await let_in(running, token)


async def test_making_tokens_without_end_is_put_off(running):
    async with asking(running) as client:
        codes = [(await client.post("/auth/token", json={})).status_code for _ in range(121)]
        answer = await client.post("/auth/token", json={})
    assert codes == [200] * 120 + [429]
    assert error_of(answer)["code"] == "RATE_LIMITED"
    assert 0 < int(answer.headers["retry-after"]) <= 60


@pytest.mark.parametrize(
    "body", [{"client_id": "nobody"}, {"scopes": ["root"]}, {"scopes": "operator.read"}, {"surprise": 1}, []]
)
async def test_what_is_wrong_with_the_request_is_said(running, body):
    async with asking(running) as client:
        answer = await client.post("/auth/token", json=body)
    assert (answer.status_code, error_of(answer)["code"]) == (400, "INVALID_MESSAGE")


def test_the_clients_are_those_of_connect():
    known = [it["const"] for it in _schemas()["connect"]["properties"]["client"]["properties"]["id"]["anyOf"]]
    assert document()["components"]["schemas"]["TokenRequest"]["properties"]["client_id"]["enum"] == known


async def test_of_fifty_at_once_one_gets_in(running):
    token = (await made(running, client_id="cli"))["token"]
    sockets = [await opened(running.addresses.port) for _ in range(50)]
    for raw in sockets:
        await raw.read()
    for raw in sockets:
        params = connect_params(token, client=CLI)
        raw.write(frame({"type": "req", "id": "c", "method": "connect", "params": params}))
    answers = await asyncio.gather(*(raw.read() for raw in sockets))
    for raw in sockets:
        raw.abort()
    assert sum(json.loads(it)["ok"] for it in answers) == 1


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("ws://127.0.0.1:1", "http://127.0.0.1:1"),
        ("ws://[::1]:1", "http://[::1]:1"),
        ("ws://0.0.0.0:1", "http://localhost:1"),
        ("ws://[::]:1", "http://localhost:1"),
    ],
)
def test_the_address_is_one_that_a_browser_can_open(url, base):
    assert page_address((url, "ws://other:2"), "t") == f"{base}/#token=t"


# ── the program ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def printed(state, *args: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """What `ars-gateway address` says: its exit code, and both of its streams."""
    command = [GATEWAY, "address", "--state-dir", str(state), *args]
    with anyio.fail_after(20):
        done = await anyio.run_process(command, check=False, env=environment(ARS_GATEWAY_TOKEN=TOKEN, **(env or {})))
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def token_in(said: str) -> str:
    return said.partition("/#token=")[2].split()[0]


@pytest.mark.e2e
async def test_the_start_prints_an_address_and_the_command_a_fresh_one(tmp_path):
    state = tmp_path / "state"
    async with program(state, "--log-level", "debug") as gateway:
        origin = {"additional_headers": {"origin": f"http://127.0.0.1:{gateway.port}"}}
        code, said, _ = await printed(state)
        assert code == 0
        assert said.startswith(f"http://127.0.0.1:{gateway.port}/#token=")
        tokens = [token_in(gateway.said), token_in(said)]
        assert len({*tokens}) == 2
        for token in tokens:
            async with gateway.socket(**origin) as one:
                hello = await one.connect(connect_params(token, client=PAGE), Device())
                assert "operator.admin" in hello["auth"]["scopes"]
    log = gateway.log.read_text()
    assert not [token for token in tokens if token in log]


@pytest.mark.e2e
async def test_the_command_says_why_it_has_no_address(tmp_path):
    state = tmp_path / "state"
    code, _, said = await printed(state)
    assert code == 1
    where = f"{state}/gateway.sock (No such file or directory)"
    assert said == f"ars-gateway: no gateway answers at {where}: start one, or name its --state-dir\n"
    async with program(state, env=environment()):
        code, _, said = await printed(state)
        assert (code, "has another token than ARS_GATEWAY_TOKEN" in said) == (1, True)
        assert TOKEN not in said


@pytest.mark.e2e
async def test_the_command_asks_over_tcp_where_there_is_no_unix_socket(tmp_path):
    state = tmp_path / "state"
    async with program(state, "--no-socket") as gateway:
        code, said, _ = await printed(state, "--no-socket", "--port", str(gateway.port))
        assert (code, said.startswith("http://127.0.0.1:")) == (0, True)
