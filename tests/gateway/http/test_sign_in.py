"""Signing in to an HTTP door."""

import hmac
import secrets
import time
from hashlib import sha256

import pytest

from ars_gateway.access.scopes import ADMIN
from ars_gateway.errors import StartError
from ars_gateway.settings import load
from tests.gateway.client import Refusal, connect_params
from tests.gateway.http.asking import asking, error_of
from tests.gateway.http.test_app import inside


@pytest.mark.parametrize(
    "shown",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic b3duZXI6Z29sZGVuLXRva2VuLTEyMw==",
        "golden-token-123",
        "bearergolden-token-123",
    ],
)
async def test_nothing_that_could_be_right_is_no_failure(running, shown):
    async with inside(running.gateway, headers={} if shown is None else {"authorization": shown}) as (client, _):
        for _ in range(20):
            answer = await client.get("/whose")
            assert answer.status_code == 401
            assert error_of(answer)["code"] == "UNAUTHORIZED"
            assert answer.headers["www-authenticate"].startswith("Bearer")
    async with inside(running.gateway) as (client, _):
        assert (await client.get("/whose")).status_code == 200


async def test_two_authorizations_are_none(running):
    twice = [("authorization", "Bearer golden-token-123")] * 2
    async with inside(running.gateway, headers=twice) as (client, _):
        assert (await client.get("/whose")).status_code == 401


async def test_the_sixth_guess_is_not_looked_at_on_either_way_in(running):
    async with inside(running.gateway, headers={}) as (client, _):
        for _ in range(5):
            assert (await client.get("/whose", headers={"authorization": "Bearer wrong"})).status_code == 401
        answer = await client.get("/whose", headers={"authorization": "Bearer golden-token-123"})
        assert (answer.status_code, error_of(answer)["code"]) == (429, "RATE_LIMITED")
        assert error_of(answer)["retryable"]
        assert 290 < int(answer.headers["retry-after"]) <= 300
    async with running.socket() as one:
        with pytest.raises(Refusal, match="too many failed"):
            await one.connect(connect_params("golden-token-123"))


async def test_guesses_over_websocket_count_here_too(running):
    for _ in range(5):
        async with running.socket() as one:
            with pytest.raises(Refusal):
                await one.connect(connect_params("wrong"))
    async with inside(running.gateway) as (client, _):
        assert (await client.get("/whose")).status_code == 429


async def test_a_password_signs_in_where_passwords_do(start):
    async with start(auth_mode="password", secret="a pass phrase with spaces") as running:
        headers = {"authorization": "Bearer a pass phrase with spaces"}
        async with inside(running.gateway, headers=headers) as (client, _):
            assert (await client.get("/whose")).status_code == 200


async def test_a_foreign_page_is_refused_before_it_is_heard(running):
    async with asking(running) as client:
        for method in ("GET", "POST", "OPTIONS"):
            answer = await client.request(method, "/healthz", headers={"origin": "https://evil.example"})
            assert answer.status_code == 403
            assert not [name for name in answer.headers if name.startswith("access-control")]


# ── services ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def sign(secret: str, method: str, target: str, body: bytes = b"", at: int | None = None, nonce: str = "") -> str:
    """As a service does it, by the docstring of `ars_gateway.access.internal` alone."""
    when = str(time.time_ns() // 1_000_000 if at is None else at)
    nonce = nonce or secrets.token_urlsafe(16)
    digest = sha256(body).hexdigest()
    text = "\n".join(["ars-internal-v1", when, nonce, method, target, digest])
    return f"v1 {when} {nonce} {digest} {hmac.new(secret.encode(), text.encode(), sha256).hexdigest()}"


def of(running) -> str:
    """The secret, where a service finds it."""
    path = running.gateway.settings.state_dir / "internal.secret"
    assert path.stat().st_mode & 0o777 == 0o600
    return path.read_text()


BODY = b'{"client_id": "cli"}'


async def post(client, header: str, target: str = "/auth/token", body: bytes = BODY):
    headers = {"x-internal-auth": header, "content-type": "application/json"}
    return await client.post(target, content=body, headers=headers)


async def test_a_service_signs_its_requests(running):
    async with asking(running, headers={}) as client:
        answer = await post(client, sign(of(running), "POST", "/auth/token", BODY))
        assert answer.status_code == 200
        assert answer.json()["scopes"] == ["operator.approvals", "operator.read", "operator.write"]
        target = "/auth/token?x=%2F&y=a+b"
        assert (await post(client, sign(of(running), "POST", target, BODY), target)).status_code == 200


async def test_a_repeat_another_body_and_another_path_are_refused(running):
    async with asking(running, headers={}) as client:
        header = sign(of(running), "POST", "/auth/token", BODY)
        assert (await post(client, header)).status_code == 200
        assert "used before" in error_of(await post(client, header))["message"]
        header = sign(of(running), "POST", "/auth/token", BODY)
        assert (await post(client, header, "/auth/token?x=1")).status_code == 401
        answer = await post(client, header, body=b'{"client_id": "test"}')
        assert (answer.status_code, "another one than was signed" in error_of(answer)["message"]) == (401, True)
        assert (await post(client, header)).status_code == 401
        for wrong in ("", "v1", "Bearer x", sign("other" * 5, "POST", "/auth/token", BODY)):
            assert (await post(client, wrong)).status_code == 401


async def test_a_wrong_signature_is_a_guess_and_a_wrong_clock_is_none(running):
    async with asking(running, headers={}) as client:
        old = time.time_ns() // 1_000_000 - 61_000
        for _ in range(20):
            assert (await post(client, sign(of(running), "POST", "/auth/token", BODY, at=old))).status_code == 401
        for _ in range(5):
            assert (await post(client, sign("guess" * 5, "POST", "/auth/token", BODY))).status_code == 401
        assert (await post(client, sign(of(running), "POST", "/auth/token", BODY))).status_code == 429


async def test_a_bearer_does_not_make_up_for_a_wrong_signature(running):
    async with asking(running) as client:
        assert (await post(client, "v1 wrong")).status_code == 401
        headers = [("x-internal-auth", sign(of(running), "POST", "/auth/token", BODY))] * 2
        answer = await client.post(
            "/auth/token", content=BODY, headers=[*headers, ("content-type", "application/json")]
        )
        assert answer.status_code == 401


async def test_a_service_may_not_what_is_the_admins(running):
    access = {("GET", "/whose"): ADMIN}
    async with inside(running.gateway, access=access, headers={}) as (client, _):
        answer = await client.get("/whose", headers={"x-internal-auth": sign(of(running), "GET", "/whose")})
    assert (answer.status_code, error_of(answer)["details"]) == (403, {"scope": ADMIN})


async def test_the_secret_can_come_from_the_environment(tmp_path):
    found = load({"state_dir": str(tmp_path / "s")}, {"ARS_GATEWAY_INTERNAL_SECRET": "a" * 20})
    assert found.internal_secret() == b"a" * 20
    assert "aaaa" not in repr(found)
    with pytest.raises(StartError, match="ARS_GATEWAY_INTERNAL_SECRET is too short"):
        load({"state_dir": str(tmp_path / "s")}, {"ARS_GATEWAY_INTERNAL_SECRET": "short"})
