"""Credentials: what a client shows, compared in constant time, and what each allows."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

from ars_gateway.access.scopes import OPERATOR_SCOPES

OWNER = "owner"
CLI_MODE = "cli"
WEBCHAT_IDS = ("webchat", "webchat-ui")
CONTROL_UI_IDS = ("clawdbot-control-ui", "openclaw-control-ui")

Reason = Literal["token_missing", "token_mismatch", "password_missing", "password_mismatch"]


@dataclass(frozen=True)
class Credential:
    """A shared secret's digest, whose it is, and what it allows at most."""

    principal: str
    digest: bytes
    scopes: frozenset[str] = OPERATOR_SCOPES


def digest(secret: str) -> bytes:
    """What a secret is compared by: of one length whatever the secret's."""
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()


class Credentials:
    """The shared secrets of one gateway: tokens or passwords, as `mode` says."""

    def __init__(self, mode: Literal["token", "password"], held: tuple[Credential, ...]) -> None:
        self.mode = mode
        self._held = held

    def shown(self, auth: Mapping[str, Any]) -> str:
        """The secret of this mode that a connect shows; `""` for none."""
        return str(auth.get(self.mode) or "")

    def match(self, auth: Mapping[str, Any]) -> Credential | None:
        """Whose secret is shown, or None. Every secret is compared, so that time tells nothing."""
        given = digest(self.shown(auth))
        found = None
        for one in self._held:
            if hmac.compare_digest(given, one.digest):
                found = one
        return found

    def failure(self, auth: Mapping[str, Any]) -> Reason:
        """Why `match` found nothing."""
        if self.mode == "token":
            return "token_mismatch" if self.shown(auth) else "token_missing"
        return "password_mismatch" if self.shown(auth) else "password_missing"


def unauthorized(reason: Reason, client: Mapping[str, Any]) -> str:
    """The text for a client that showed nothing, or something wrong, with what its user can do about it."""
    kind, _, what = reason.partition("_")
    if client["mode"] == CLI_MODE:
        hint = f"set gateway.remote.{kind} to match gateway.auth.{kind}"
    elif client["id"] in (*CONTROL_UI_IDS, *WEBCHAT_IDS) or client["mode"] == "webchat":
        hint = (
            "open a tokenized dashboard URL or paste token in Control UI settings"
            if kind == "token"
            else "enter the password in Control UI settings"
        )
    else:
        hint = f"provide gateway auth {kind}"
    return f"unauthorized: gateway {kind} {what} ({hint})"
