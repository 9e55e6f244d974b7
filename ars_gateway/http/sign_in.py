"""Who an HTTP request comes from: whoever shows the gateway's token or password as `Authorization: Bearer`, or a
service that has signed the request (`internal`).

Guessing is counted by the limiter of the WebSocket handshake, in the same buckets; a request that shows nothing is
refused, and is no failure.
"""

import secrets
from hashlib import sha256

from starlette.requests import Request

from ars_gateway.access.auth import OWNER, Credential
from ars_gateway.access.internal import SCOPES, Busy, NotSigned
from ars_gateway.access.origins import Peer
from ars_gateway.access.scopes import closure
from ars_gateway.call import Caller
from ars_gateway.clean import clean
from ars_gateway.gateway import Gateway
from ars_gateway.http.bodies import read
from ars_gateway.http.errors import FORBIDDEN, UNAUTHORIZED, HttpError, too_often

CLIENT, SERVICE = "http", "service"
MOST_SIGNED = 16 * 1024 * 1024


async def sign_in(request: Request, scope: str) -> Caller:
    """Who it is, noted for `caller_of`. Called before a door's handler. Raises `HttpError`."""
    gateway: Gateway = request.app.state.gateway
    peer: Peer = request.state.peer
    if headers := request.headers.getlist("x-internal-auth"):
        digest = _by_signature(gateway, peer, request, headers)
        request.state.caller = _caller(peer, SERVICE, OWNER, SCOPES)
        request.state.signed_in()
        if sha256(await read(request, MOST_SIGNED)).hexdigest() != digest:
            raise _unauthorized("X-Internal-Auth: the body is another one than was signed")
    else:
        request.state.caller = by_bearer(gateway, peer, request.headers.getlist("authorization"))
        request.state.signed_in()
    return caller_of(request, scope)


def by_bearer(gateway: Gateway, peer: Peer, shown: list[str]) -> Caller:
    """Who shows these Authorization headers: for requests, and upgrades that carry one. Raises `HttpError`."""
    credential = _credential(gateway, peer, shown)
    return _caller(peer, CLIENT, credential.principal, credential.scopes)


def _caller(peer: Peer, kind: str, principal: str, scopes: frozenset[str]) -> Caller:
    return Caller(
        conn_id=f"{kind}-{secrets.token_hex(8)}",
        role="operator",
        scopes=closure(scopes),
        granted=tuple(sorted(scopes)),
        client={"id": kind, "version": "", "platform": "", "mode": CLIENT, "displayName": peer.user_agent},
        device_id=None,
        principal=principal,
        local=peer.local,
        caps=frozenset(),
    )


def caller_of(request: Request, scope: str) -> Caller:
    """Who has signed in at this route. Raises `HttpError` where the caller may not what `scope` guards."""
    caller: Caller = request.state.caller
    if not caller.has(scope):
        raise HttpError(403, FORBIDDEN, f"missing scope: {scope}", details={"scope": scope})
    return caller


def _credential(gateway: Gateway, peer: Peer, shown: list[str]) -> Credential:
    mode = gateway.credentials.mode
    kind, _, secret = shown[0].partition(" ") if len(shown) == 1 else ("", "", "")
    if kind.lower() != "bearer" or not secret.strip():
        raise _unauthorized(f"unauthorized: show the gateway's {mode} as Authorization: Bearer")
    _listened_to(gateway, peer)
    credential = gateway.credentials.match({mode: _text(secret.strip())})
    if credential is None:
        raise _failed(gateway, peer, f"unauthorized: gateway {mode} mismatch")
    gateway.limiter.entered(peer.bucket)
    return credential


def _by_signature(gateway: Gateway, peer: Peer, request: Request, headers: list[str]) -> str:
    """The digest that the body of a signed request has to have."""
    _listened_to(gateway, peer)
    query: bytes = request.scope["query_string"]
    target = request.scope["raw_path"] + (b"?" + query if query else b"")
    try:
        digest = gateway.internal.check(headers[0] if len(headers) == 1 else "", request.method, target.decode("ascii"))
    except NotSigned as why:
        raise _failed(gateway, peer, str(why)) if why.guessed else _unauthorized(str(why)) from None
    except Busy:
        raise too_often(1, "too many signed requests (retry later)") from None
    gateway.limiter.entered(peer.bucket)
    return digest


def _listened_to(gateway: Gateway, peer: Peer) -> None:
    """Raises `HttpError` where too many have guessed from there."""
    if seconds := gateway.limiter.wait(peer.bucket):
        gateway.sampled.warning("gateway.sign_in_limited", bucket=clean(peer.bucket), conn=CLIENT)
        raise too_often(seconds, "unauthorized: too many failed authentication attempts (retry later)")


def _failed(gateway: Gateway, peer: Peer, message: str) -> HttpError:
    gateway.limiter.failed(peer.bucket)
    gateway.sampled.warning("gateway.sign_in_failed", bucket=clean(peer.bucket), conn=CLIENT)
    return _unauthorized(message)


def _text(value: str) -> str:
    """A header's value, which is read as latin-1, as the UTF-8 that it may be."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        return value


def _unauthorized(message: str) -> HttpError:
    return HttpError(401, UNAUTHORIZED, message, headers={"www-authenticate": 'Bearer realm="ars-gateway"'})
