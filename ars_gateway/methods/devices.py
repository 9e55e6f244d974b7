"""Pairing and device tokens. Who is no admin manages its own device only, and nobody grants what it does not hold."""

from ars_gateway.access.scopes import ADMIN, closure
from ars_gateway.call import Call, Json
from ars_gateway.errors import POLICY, invalid
from ars_gateway.sockets.connection import Connection


def pair_list(call: Call, params: Json) -> Json:
    """Requests that wait and devices that are paired; no token."""
    return {"pending": call.gateway.devices.pending(), "paired": call.gateway.devices.listed()}


def pair_approve(call: Call, params: Json) -> Json:
    """Pairs the device of a request for what it asked for, which the approver has to hold itself."""
    devices = call.gateway.devices
    request = next((one for one in devices.pending() if one["requestId"] == params["requestId"]), None)
    if request is None:
        raise invalid("unknown requestId")
    _holds(call, request["scopes"])
    devices.take(request["requestId"])
    about = {key: request[key] for key in _ABOUT if key in request}
    devices.pair(
        request["deviceId"],
        request["publicKey"],
        about,
        request["role"],
        request["scopes"],
        call.caller.principal,
    )
    device = next(one for one in devices.listed() if one["deviceId"] == request["deviceId"])
    _resolved(call, request, "approved")
    return {"requestId": request["requestId"], "device": device}


def pair_reject(call: Call, params: Json) -> Json:
    """Ends a request without pairing."""
    request = call.gateway.devices.take(params["requestId"])
    if request is None:
        raise invalid("unknown requestId")
    _resolved(call, request, "rejected")
    return {"requestId": request["requestId"], "deviceId": request["deviceId"]}


def token_rotate(call: Call, params: Json) -> Json:
    """A new token in place of the old one. Only the device itself is told it; sockets of the old one are closed."""
    gateway, device_id, role = call.gateway, params["deviceId"], params["role"]
    pairing = gateway.devices.pairing(device_id, role)
    _own_or_admin(call, device_id)
    if pairing is None or pairing.revoked:
        raise invalid("unknown deviceId/role")
    scopes = params.get("scopes")
    _holds(call, pairing.scopes if scopes is None else scopes)
    if scopes is not None and not pairing.covers(scopes):
        raise invalid("scopes beyond what was approved: the device has to ask for them and be approved")
    answer = gateway.devices.rotate(device_id, role, scopes)
    token = gateway.devices.token(device_id, role)
    mine = call.caller.device_id == device_id
    if mine:
        answer["token"] = token
    _close_sockets(call, device_id, role, "device token rotated", but=call.connection if mine else None)
    return answer


def token_revoke(call: Call, params: Json) -> Json:
    """Ends a token. Sockets of the device are closed; the caller's own where the token is what it came in with."""
    device_id, role = params["deviceId"], params["role"]
    _own_or_admin(call, device_id)
    if call.gateway.devices.pairing(device_id, role) is None:
        raise invalid("unknown deviceId/role")
    answer = call.gateway.devices.revoke(device_id, role)
    if call.caller.device_id == device_id and call.caller.by_device_token:
        call.answer(answer)
    but = None if call.caller.by_device_token else call.connection
    _close_sockets(call, device_id, role, "device token revoked", but=but)
    return answer


_ABOUT = ("displayName", "platform", "clientId", "clientMode", "remoteIp")


def _own_or_admin(call: Call, device_id: str) -> None:
    if call.caller.device_id != device_id and not call.caller.has(ADMIN):
        raise invalid(f"missing scope: {ADMIN}")


def _holds(call: Call, scopes: list[str] | tuple[str, ...]) -> None:
    lacking = sorted(closure(scopes) - call.caller.scopes)
    if lacking:
        raise invalid(f"missing scope: {ADMIN if ADMIN in lacking else lacking[0]}")


def _resolved(call: Call, request: Json, decision: str) -> None:
    payload = {
        "requestId": request["requestId"],
        "deviceId": request["deviceId"],
        "decision": decision,
        "ts": call.gateway.now_ms(),
    }
    call.gateway.hub.broadcast("device.pair.resolved", payload, droppable=True)


def _close_sockets(call: Call, device_id: str, role: str, reason: str, but: Connection | None) -> None:
    def of_device(connection: Connection) -> bool:
        caller = connection.caller
        return (
            connection is not but
            and caller is not None
            and (caller.device_id, caller.role)
            == (
                device_id,
                role,
            )
        )

    call.gateway.hub.close_all(POLICY, reason, of_device)
    call.gateway.remotes.close_of(lambda remote: remote.device_id == device_id, reason)
