"""Device identities, pairing and device tokens."""

import time
from typing import Any

import pytest

from ars_gateway.access import identity
from ars_gateway.access.scopes import closure
from tests.gateway.client import Device, Refusal, connect_params
from tests.gateway.host import TOKEN
from tests.gateway.wire import recorded

ALL = ["operator.admin", "operator.approvals", "operator.pairing"]
REMOTE = {"additional_headers": {"X-Forwarded-For": "203.0.113.9"}}  # through a proxy: not local


async def refusal(running, device: Device | None, *, options: Any = None, **params: Any) -> Refusal:
    token = params.pop("token", TOKEN)
    with pytest.raises(Refusal) as raised:
        async with running.client(token=token, device=device, options=options, **params):
            pass
    return raised.value


# ── the identity ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
async def test_a_local_device_signs_any_of_the_three_lines(running, version):
    device = Device()
    params = {"client": {"id": "cli", "version": "1", "platform": " Linux ", "deviceFamily": "Linux", "mode": "cli"}}
    async with running.client(*ALL, device=device, version=version, **params) as client:
        assert client.hello["auth"]["scopes"] == ALL
        assert len(client.hello["auth"]["deviceToken"]) == 32


def test_the_recorded_device_signs_as_we_think():
    line = next(it for it in recorded("hs_ok_device") if it["dir"] == "c2s")
    params = line["frame"]["params"]
    key = identity.raw_key(params["device"]["publicKey"])
    assert key is not None
    assert identity.device_id(key) == params["device"]["id"]
    lines = identity.payloads(params, "operator", params["device"]["nonce"])
    assert identity.signed(key, params["device"]["signature"], lines)
    bad = next(it for it in recorded("hs_device_bad_signature") if it["dir"] == "c2s")["frame"]["params"]
    key = identity.raw_key(bad["device"]["publicKey"])
    assert key is not None
    assert not identity.signed(key, bad["device"]["signature"], identity.payloads(bad, "operator", "nonce"))


async def test_a_public_key_may_be_pem(running):
    device = Device()
    async with running.socket() as client:
        params = connect_params(TOKEN)
        proof = device.proof(params, await client.challenge()) | {"publicKey": device.pem}
        await client.request("connect", params | {"device": proof})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"id": "0" * 64}, "device identity mismatch"),
        ({"publicKey": "AAAA"}, "device public key invalid"),
        ({"publicKey": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"}, "device public key invalid"),
        ({"nonce": "another"}, "device nonce mismatch"),
        ({"signature": "AAAA"}, "device signature invalid"),
        ({"signature": "A" * 86}, "device signature invalid"),
        ({"signature": "é"}, "device signature invalid"),
        ({"signedAt": 5}, "device signature expired"),
    ],
)
async def test_a_proof_that_is_wrong_is_refused(running, changed, message):
    async with running.socket() as client:
        params = connect_params(TOKEN)
        proof = Device().proof(params, await client.challenge()) | changed
        with pytest.raises(Refusal, match=f"INVALID_REQUEST: {message}"):
            await client.request("connect", params | {"device": proof})
        assert await client.ended() == (1008, message)


@pytest.mark.parametrize("minutes", [-11, 11])
async def test_a_signature_is_good_for_ten_minutes(running, minutes):
    async with running.socket() as client:
        params = connect_params(TOKEN)
        at = time.time_ns() // 1_000_000 + minutes * 60_000
        proof = Device().proof(params, await client.challenge(), signed_at=at)
        with pytest.raises(Refusal, match="device signature expired"):
            await client.request("connect", params | {"device": proof})


async def test_a_signature_is_made_for_one_token(running):
    async with running.socket() as client:
        params = connect_params(TOKEN)
        proof = Device().proof(connect_params("another token here"), await client.challenge())
        with pytest.raises(Refusal, match="device signature invalid"):
            await client.request("connect", params | {"device": proof})


async def test_a_signature_without_a_nonce_lets_in_once(running):
    device = Device()
    params = connect_params(TOKEN)
    proof = device.proof(params, None, "v1")
    async with running.socket() as client:
        await client.challenge()
        await client.request("connect", params | {"device": proof})
    async with running.socket() as client:
        await client.challenge()
        with pytest.raises(Refusal, match="device signature already used"):
            await client.request("connect", params | {"device": proof})


async def test_a_signature_that_did_not_let_in_is_not_remembered(running):
    device = Device()
    async with running.socket() as client:
        await client.challenge()
        wrong = connect_params("wrong-wrong-wrong")
        with pytest.raises(Refusal, match="token mismatch"):
            await client.request("connect", wrong | {"device": device.proof(wrong, None, "v1")})
    assert not running.gateway.signatures._used


async def test_who_is_not_local_has_to_sign_the_nonce(running):
    found = await refusal(running, Device(), version="v1", options=REMOTE)
    assert found.message == "device nonce required"


# ── pairing ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_device_from_elsewhere_has_to_be_approved(running):
    device = Device()
    async with running.client("operator.pairing", "operator.read") as approver:
        found = await refusal(running, device, options=REMOTE, scopes=["operator.read"])
        assert (found.code, found.message) == ("NOT_PAIRED", "pairing required")
        asked = (await approver.event("device.pair.requested"))["payload"]
        assert asked["requestId"] == found.error["details"]["requestId"]
        again = await refusal(running, device, options=REMOTE, scopes=["operator.read"])
        assert again.error["details"] == found.error["details"]
        listed = await approver.request("device.pair.list")
        assert [one["deviceId"] for one in listed["pending"]] == [device.id]
        approved = await approver.request("device.pair.approve", {"requestId": asked["requestId"]})
        assert approved["device"]["deviceId"] == device.id
        decided = (await approver.event("device.pair.resolved"))["payload"]
        assert (decided["decision"], decided["deviceId"]) == ("approved", device.id)
        async with running.client("operator.read", device=device, options=REMOTE) as client:
            assert client.hello["auth"]["scopes"] == ["operator.read"]


async def test_a_rejected_device_stays_out(running):
    device = Device()
    async with running.client() as admin:
        found = await refusal(running, device, options=REMOTE)
        request = found.error["details"]["requestId"]
        assert await admin.request("device.pair.reject", {"requestId": request}) == {
            "requestId": request,
            "deviceId": device.id,
        }
        assert (await admin.event("device.pair.resolved"))["payload"]["decision"] == "rejected"
        with pytest.raises(Refusal, match="unknown requestId"):
            await admin.request("device.pair.approve", {"requestId": request})
        assert (await refusal(running, device, options=REMOTE)).error["details"]["requestId"] != request


async def test_an_approver_grants_only_what_it_holds(running):
    async with running.client("operator.pairing") as approver:
        found = await refusal(running, Device(), options=REMOTE)
        with pytest.raises(Refusal, match=r"missing scope: operator\.admin"):
            await approver.request("device.pair.approve", found.error["details"])


async def test_a_local_device_that_wants_more_than_before_has_to_be_approved(running):
    device = Device()
    async with running.client("operator.read", device=device):
        pass
    found = await refusal(running, device, scopes=["operator.read", "operator.write"])
    assert (found.code, found.message) == ("NOT_PAIRED", "pairing required")
    async with running.client() as admin:
        await admin.request("device.pair.approve", found.error["details"])
    async with running.client("operator.read", "operator.write", device=device) as client:
        assert client.hello["auth"]["scopes"] == ["operator.read", "operator.write"]


async def test_scopes_within_what_was_approved_are_no_upgrade(running):
    device = Device()
    async with running.client("operator.admin", device=device):
        pass
    async with running.client(*ALL, device=device) as client:
        assert client.hello["auth"]["scopes"] == ALL


async def test_a_pending_request_lives_five_minutes_and_there_are_few(running):
    devices = running.gateway.devices
    row = {"publicKey": "k", "scopes": [], "platform": "x", "silent": False}
    for number in range(150):
        devices.request(f"{number:064d}", "operator", row)
    assert len(devices.pending()) == 100
    later = devices._now() + 5 * 60 * 1000 + 1000
    devices._now = lambda: later
    assert devices.pending() == []


# ── tokens ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_device_token_of_hello_lets_in_and_stays_the_same(running):
    device = Device()
    async with running.client(*ALL, device=device) as client:
        token = client.hello["auth"]["deviceToken"]
    async with running.client(*ALL, device=device, token=token) as client:
        assert client.hello["auth"]["deviceToken"] == token
        listed = (await client.request("device.pair.list"))["paired"][0]
        assert "lastUsedAtMs" in listed["tokens"][0]
    assert (await refusal(running, Device(), token=token)).message.startswith("unauthorized: gateway token mismatch")


async def test_the_index_holds_no_token(running):
    async with running.client(device=Device()) as client:
        token = client.hello["auth"]["deviceToken"]
    running.gateway.index.commit()
    state = running.gateway.settings.state_dir
    for file in state.iterdir():
        if file.is_file():
            assert token.encode() not in file.read_bytes(), file


async def test_a_device_token_gives_its_own_scopes_and_no_more(running):
    device = Device()
    async with running.client("operator.read", device=device) as client:
        token = client.hello["auth"]["deviceToken"]
    found = await refusal(running, device, token=token, scopes=["operator.admin"])
    assert found.message == "pairing required"


async def test_the_list_shows_no_token_and_who_the_devices_are(running):
    device = Device()
    async with running.client("operator.pairing", device=device) as client:
        listed = await client.request("device.pair.list")
        assert listed["pending"] == []
        (one,) = listed["paired"]
        assert client.hello["auth"]["deviceToken"] not in str(listed)
        assert (one["deviceId"], one["publicKey"]) == (device.id, device.public_key)
        assert one["tokens"][0]["scopes"] == ["operator.pairing"]


async def test_rotating_tells_the_new_token_to_its_owner_only(running):
    device = Device()
    async with running.client(device=device) as owner, running.client() as admin:
        old = owner.hello["auth"]["deviceToken"]
        rotated = await owner.request("device.token.rotate", {"deviceId": device.id, "role": "operator"})
        assert rotated["token"] != old
        assert (await refusal(running, device, token=old)).message.startswith("unauthorized")
        async with running.client(device=device, token=rotated["token"]):
            pass
        told = await admin.request("device.token.rotate", {"deviceId": device.id, "role": "operator"})
        assert "token" not in told
        assert (await owner.ended()) == (1008, "device token rotated")
        async with running.client(device=device) as client:  # with the shared token it learns the new one
            assert client.hello["auth"]["deviceToken"] not in (old, rotated["token"])


async def test_a_revoked_token_closes_the_devices_sockets(running):
    device = Device()
    async with running.client(device=device) as first:
        token = first.hello["auth"]["deviceToken"]
        async with running.client(device=device, token=token) as second, running.client() as admin:
            await admin.request("device.token.revoke", {"deviceId": device.id, "role": "operator"})
            assert await first.ended() == (1008, "device token revoked")
            assert await second.ended() == (1008, "device token revoked")
            assert await admin.request("last-heartbeat") is None
    assert (await refusal(running, device, token=token)).message.startswith("unauthorized: gateway token mismatch")


async def test_who_revokes_the_token_it_came_in_with_goes_too(running):
    device = Device()
    async with running.client(device=device) as client:
        token = client.hello["auth"]["deviceToken"]
    async with running.client(device=device, token=token) as client:
        answer = await client.request("device.token.revoke", {"deviceId": device.id, "role": "operator"})
        assert answer["revokedAtMs"]
        assert await client.ended() == (1008, "device token revoked")


async def test_the_recorded_conversation_of_a_device_goes_as_recorded(running):
    """n_device: list, rotate, a device that is unknown, reconnect, revoke, reconnect refused, on a connection that
    came in by the shared token and so stays."""
    device = Device()
    async with running.client("operator.admin", device=device) as client:
        who = {"deviceId": device.id, "role": "operator"}
        rotated = await client.request("device.token.rotate", who)
        assert rotated.keys() == {"deviceId", "role", "token", "scopes", "rotatedAtMs"}
        with pytest.raises(Refusal, match="unknown deviceId/role"):
            await client.request("device.token.rotate", who | {"deviceId": "nope"})
        async with running.client("operator.admin", device=device, token=rotated["token"]) as second:
            assert (await client.request("device.token.revoke", who)).keys() == {"deviceId", "role", "revokedAtMs"}
            await second.ended()
        params = {"client": {"id": "cli", "version": "1.0.0", "platform": "linux", "mode": "cli"}}
        found = await refusal(running, device, token=rotated["token"], scopes=["operator.admin"], **params)
        hint = "set gateway.remote.token to match gateway.auth.token"
        assert found.message == f"unauthorized: gateway token mismatch ({hint})"
        for method in ("device.pair.approve", "device.pair.reject"):
            with pytest.raises(Refusal, match="unknown requestId"):
                await client.request(method, {"requestId": "nope"})


async def test_who_is_no_admin_manages_its_own_device_only(running):
    mine, other = Device(), Device()
    own = {"deviceId": mine.id, "role": "operator"}
    async with running.client("operator.pairing", device=other), running.client("operator.pairing", device=mine) as me:
        for method in ("device.token.rotate", "device.token.revoke"):
            with pytest.raises(Refusal, match=r"missing scope: operator\.admin"):
                await me.request(method, {"deviceId": other.id, "role": "operator"})
        with pytest.raises(Refusal, match=r"missing scope: operator\.admin"):
            await me.request("device.token.rotate", own | {"scopes": ["operator.admin"]})
        with pytest.raises(Refusal, match=r"missing scope: operator\.read"):
            await me.request("device.token.rotate", own | {"scopes": ["operator.read"]})


async def test_rotating_may_narrow_and_not_widen(running):
    device = Device()
    async with running.client("operator.write", device=device), running.client() as admin:
        who = {"deviceId": device.id, "role": "operator"}
        with pytest.raises(Refusal, match="beyond what was approved"):
            await admin.request("device.token.rotate", who | {"scopes": ["operator.approvals"]})
        narrowed = await admin.request("device.token.rotate", who | {"scopes": ["operator.read"]})
        assert narrowed["scopes"] == ["operator.read"]


async def test_a_wrong_token_relaxes_nothing(running):
    """A token string is no reason to look away from the device, before it has been verified."""
    async with running.socket() as client:
        params = connect_params("anything at all")
        proof = Device().proof(params, await client.challenge()) | {"signature": "A" * 86}
        with pytest.raises(Refusal, match="device signature invalid"):
            await client.request("connect", params | {"device": proof})


async def test_a_paired_device_survives_a_restart(start):
    device = Device()
    async with start() as running, running.client(device=device) as client:
        token = client.hello["auth"]["deviceToken"]
    async with start() as running, running.client(device=device, token=token) as client:
        assert client.hello["auth"]["deviceToken"] == token


def test_admin_contains_every_scope_and_write_contains_read():
    assert closure(["operator.admin"]) >= {*ALL, "operator.read", "operator.write"}
    assert closure(["operator.write"]) == {"operator.write", "operator.read"}
    assert closure(["operator.everything", "root"]) == frozenset()
