"""The handshake: one `connect` request, checked in the order in which clients know it, and hello.

frame → parameters → protocol → role → origin of browser clients → some credential at all → device → credential →
pairing → hello. Scopes that a client asks for are an upper bound: it gets those that its credential, and its device's
pairing, allow.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from ars_gateway.access import identity
from ars_gateway.access.auth import CONTROL_UI_IDS, Credential, unauthorized
from ars_gateway.access.origins import BROWSER_IDS
from ars_gateway.access.scopes import ADMIN, ROLES, closure, granted
from ars_gateway.call import Caller
from ars_gateway.clean import clean
from ars_gateway.errors import (
    INVALID_REQUEST,
    NOT_PAIRED,
    POLICY,
    PROTOCOL_ERROR,
    MethodError,
    Refused,
    invalid,
)
from ars_gateway.limits import PROTOCOL
from ars_gateway.protocol.validate import problems

if TYPE_CHECKING:
    from ars_gateway.sockets.connection import Connection

Json = dict[str, Any]
Later = Callable[[], Awaitable[None]]


def begin(connection: "Connection", frame: Json) -> Later | None:
    """Checks the first request and sends hello. Raises `Refused`; returns what is left to await where a device has to
    be checked and its library is not loaded yet."""
    if frame["method"] != "connect":
        raise _no("invalid handshake: first request must be connect")
    params = frame.get("params")
    params = {} if params is None else params
    if wrong := problems("connect", params):
        raise _no(f"invalid connect params: {wrong}")
    if not params["minProtocol"] <= PROTOCOL <= params["maxProtocol"]:
        error = invalid("protocol mismatch", {"expectedProtocol": PROTOCOL})
        raise Refused(error, PROTOCOL_ERROR)
    role = params.get("role", ROLES[0])
    if role not in ROLES:
        raise _no("invalid role")
    client_id = params["client"]["id"]
    if client_id in BROWSER_IDS and connection.peer.origin is None:
        raise _no("origin missing: a browser client says where its page comes from")
    if "device" not in params:
        _may_lack_device(params)
        _enter(connection, frame["id"], params, role)
        return None
    if not connection.gateway.crypto_loaded:
        return partial(_load_and_enter, connection, frame["id"], params, role)
    _enter(connection, frame["id"], params, role)
    return None


async def _load_and_enter(connection: "Connection", request_id: str, params: Json, role: str) -> None:
    connection.gateway.crypto_loaded = await anyio.to_thread.run_sync(identity.loaded)
    _enter(connection, request_id, params, role)


def _may_lack_device(params: Json) -> None:
    if params["client"]["id"] in CONTROL_UI_IDS:
        raise _no("control ui requires HTTPS or localhost (secure context)")
    auth = params.get("auth") or {}
    if not (auth.get("token") or auth.get("password")):
        raise Refused(MethodError(NOT_PAIRED, "device identity required"))


def _enter(connection: "Connection", request_id: str, params: Json, role: str) -> None:
    device_key = _checked_device(connection, params, role) if "device" in params else None
    device_id: str | None = params["device"]["id"] if device_key else None
    credential = _authenticated(connection, params, role, device_id)
    if device_key is not None:
        _used_once(connection, params["device"])
    requested = _requested(params, role)
    if device_key is None:
        assert credential is not None, "only a device has a token of its own"
        scopes = granted(requested, closure(credential.scopes))
    else:
        scopes = _paired(connection, params, role, device_key, credential, requested)
    caller = Caller(
        conn_id=connection.id,
        role=role,
        scopes=closure(scopes) if role == "operator" else frozenset(),
        granted=tuple(scopes),
        client={key: clean(it) if isinstance(it, str) else it for key, it in params["client"].items()},
        device_id=device_id,
        principal=credential.principal if credential else _principal(connection, device_id),
        local=connection.peer.local,
        caps=frozenset(params.get("caps") or ()),
        by_device_token=credential is None,
    )
    if connection.state.name != "CONNECTING":  # gone while a library was loading
        return
    _welcome(connection, request_id, params, caller)


def _principal(connection: "Connection", device_id: str | None) -> str:
    """Whose a device is that has come with its own token: a person's sessions are the same from all of theirs."""
    found = connection.gateway.devices.principal_of(device_id) if device_id else None
    assert found is not None, "only a paired device has a token of its own"
    return found


def _requested(params: Json, role: str) -> list[str]:
    scopes: list[str] = params.get("scopes") or []
    return scopes or ([ADMIN] if role == "operator" else [])


# ── the device ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _checked_device(connection: "Connection", params: Json, role: str) -> bytes:
    """The device's public key, once it has signed this very connect."""
    device = params["device"]
    key = identity.raw_key(device["publicKey"])
    if key is None:
        raise _no("device public key invalid")
    if identity.device_id(key) != device["id"]:
        raise _no("device identity mismatch")
    if abs(connection.gateway.now_ms() - device["signedAt"]) > identity.SKEW_MS:
        raise _no("device signature expired")
    nonce = device.get("nonce")
    if nonce is None and not connection.peer.local:
        raise _no("device nonce required")
    if nonce is not None and nonce != connection.nonce:
        raise _no("device nonce mismatch")
    if not identity.signed(key, device["signature"], identity.payloads(params, role, nonce)):
        raise _no("device signature invalid")
    return key


def _used_once(connection: "Connection", device: Json) -> None:
    """A signature without a nonce is good for one sign-in. Asked last, so that strangers cannot fill the list."""
    if "nonce" not in device and not connection.gateway.signatures.first_use(device["signature"], device["signedAt"]):
        raise _no("device signature already used: sign the nonce of the challenge")


# ── the credential ────────────────────────────────────────────────────────────────────────────────────────────────────


def _authenticated(connection: "Connection", params: Json, role: str, device_id: str | None) -> Credential | None:
    """Whose shared secret was shown; None where it was the device's own token. Failures are counted, tries limited."""
    gateway = connection.gateway
    auth = params.get("auth") or {}
    known = gateway.devices.pairing(device_id, role) if device_id else None
    bucket = f"device {device_id}" if known else connection.peer.bucket
    shown = bool(gateway.credentials.shown(auth) or auth.get("token"))
    if not shown:
        raise _no(unauthorized(gateway.credentials.failure(auth), params["client"]))
    if seconds := gateway.limiter.wait(bucket):
        gateway.sampled.warning("gateway.sign_in_limited", bucket=clean(bucket), conn=connection.id)
        message = "unauthorized: too many failed authentication attempts (retry later)"
        error = MethodError(INVALID_REQUEST, message, retryable=True, retry_after_ms=round(seconds * 1000))
        raise Refused(error)
    credential = gateway.credentials.match(auth)
    if credential is None and role == "operator":
        credential = gateway.connect_tokens.use(auth.get("token") or "", params["client"]["id"])
    by_device = known is not None and gateway.devices.holds(known.device_id, role, auth.get("token") or "")
    if credential is None and not by_device:
        gateway.limiter.failed(bucket)
        gateway.sampled.warning("gateway.sign_in_failed", bucket=clean(bucket), conn=connection.id)
        raise _no(unauthorized(gateway.credentials.failure(auth), params["client"]))
    gateway.limiter.entered(bucket)
    return credential


# ── the pairing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _paired(
    connection: "Connection",
    params: Json,
    role: str,
    key: bytes,
    credential: Credential | None,
    requested: list[str],
) -> list[str]:
    """The scopes that the device gets. A local one that shows a shared secret is paired the first time; everything
    else, a local one that wants more than before too, has to be approved."""
    gateway = connection.gateway
    device_id = params["device"]["id"]
    allowed = closure(credential.scopes) if credential else None
    wanted = granted(requested, closure(requested) if allowed is None else allowed)
    known = gateway.devices.pairing(device_id, role)
    about = _about(connection, params)
    if known is None and connection.peer.local and credential is not None:
        gateway.devices.pair(device_id, identity.as_text(key), about, role, wanted, credential.principal)
        return wanted
    if known is not None and known.covers(wanted):
        return wanted
    row = {"publicKey": identity.as_text(key), **about, "scopes": wanted, "silent": False}
    request, new = gateway.devices.request(device_id, role, row)
    if new:
        gateway.hub.broadcast("device.pair.requested", request, droppable=True)
    raise Refused(MethodError(NOT_PAIRED, "pairing required", {"requestId": request["requestId"]}))


def _about(connection: "Connection", params: Json) -> Json:
    client = params["client"]
    found = {
        "displayName": client.get("displayName"),
        "platform": client["platform"],
        "clientId": client["id"],
        "clientMode": client["mode"],
        "remoteIp": connection.peer.shown,
    }
    return {key: clean(value) for key, value in found.items() if value and clean(value)}


# ── hello ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _welcome(connection: "Connection", request_id: str, params: Json, caller: Caller) -> None:
    gateway = connection.gateway
    connection.welcome(caller)
    missed: list[Any] = []
    hello = gateway.hello(caller)
    if (resume := params.get("resume")) is not None:
        try:
            missed = gateway.hub.missed(caller, resume["connId"], resume["lastSeq"], connection.joined_at)
            hello["resume"] = {"resumed": True, "replayed": len(missed)}
        except MethodError as error:
            hello["resume"] = {"resumed": False, "reason": error.message, "resyncRequired": True}
    connection.answer(request_id, hello)
    connection.replay(missed)
    gateway.joined(connection)
    connection.take_early()


def _no(message: str) -> Refused:
    return Refused(MethodError(INVALID_REQUEST, message), POLICY)
