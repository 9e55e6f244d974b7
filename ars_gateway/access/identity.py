"""Device identities: Ed25519 keys, and what a device signs to prove one.

`device.id` is sha256 of the raw public key. What is signed is a line of fields with `|` between them; clients of
different age sign one of three. cryptography is loaded when the first device connects: nobody else pays for it.
"""

import base64
import binascii
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

SKEW_MS = 10 * 60 * 1000


def raw_key(text: str) -> bytes | None:
    """The 32 bytes of a public key in base64url or PEM; None for anything else."""
    if "BEGIN" in text:
        body = "".join(line for line in text.splitlines() if not line.startswith("-"))
        der = _decoded(body.replace("+", "-").replace("/", "_"))
        # SubjectPublicKeyInfo of an Ed25519 key (RFC 8410): a fixed head of 12 bytes, then the key.
        head = bytes.fromhex("302a300506032b6570032100")
        return der[12:] if der is not None and len(der) == 44 and der.startswith(head) else None
    found = _decoded(text)
    return found if found is not None and len(found) == 32 else None


def device_id(key: bytes) -> str:
    """The id that goes with a raw public key."""
    return sha256(key).hexdigest()


def as_text(key: bytes) -> str:
    """A raw public key as base64url without padding, as it is stored and shown."""
    return base64.urlsafe_b64encode(key).rstrip(b"=").decode("ascii")


def payloads(connect: Mapping[str, Any], role: str, nonce: str | None) -> list[str]:
    """What a device may have signed for this connect: v3 and v2 with the nonce, v1 without one."""
    device, client = connect["device"], connect["client"]
    scopes = ",".join(connect.get("scopes") or [])
    token = (connect.get("auth") or {}).get("token") or ""
    fields = [device["id"], client["id"], client["mode"], role, scopes, str(device["signedAt"]), token]
    if nonce is None:
        return ["|".join(["v1", *fields])]
    place = [str(client.get(name) or "").strip().lower() for name in ("platform", "deviceFamily")]
    return ["|".join(["v2", *fields, nonce]), "|".join(["v3", *fields, nonce, *place])]


def signed(key: bytes, signature: str, candidates: list[str]) -> bool:
    """Whether `signature` (base64url) is one of `candidates` signed with this key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    raw = _decoded(signature)
    if raw is None or len(raw) != 64:
        return False
    public = Ed25519PublicKey.from_public_bytes(key)
    for candidate in candidates:
        try:
            public.verify(raw, candidate.encode("utf-8", "surrogatepass"))
        except InvalidSignature:
            continue
        return True
    return False


def loaded() -> bool:
    """Loads cryptography; to be called in a thread where the loop must not wait. Returns True."""
    from cryptography.hazmat.primitives.asymmetric import ed25519

    return bool(ed25519)


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
