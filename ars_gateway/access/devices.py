"""Paired devices, requests to pair, and device tokens, in the index.

A device token is derived from the gateway's own secret, the device, the role and a generation, so that the same one
can be told again at the next hello while the index holds its digest alone. Revoking or rotating changes the generation.
"""

import hmac
import json
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import uuid4

from ars_gateway.access.auth import digest
from ars_gateway.access.scopes import closure
from ars_gateway.index import Index

PENDING_MS = 5 * 60 * 1000
MOST_PENDING = 100
TOKEN_CHARS = 32

TABLES = """
CREATE TABLE IF NOT EXISTS devices (
  device_id TEXT PRIMARY KEY, public_key TEXT NOT NULL, about TEXT NOT NULL, created_ms INTEGER NOT NULL,
  approved_ms INTEGER NOT NULL, principal TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS device_roles (
  device_id TEXT NOT NULL REFERENCES devices, role TEXT NOT NULL, scopes TEXT NOT NULL, generation INTEGER NOT NULL,
  token_digest BLOB, created_ms INTEGER NOT NULL, rotated_ms INTEGER, revoked_ms INTEGER, used_ms INTEGER,
  PRIMARY KEY (device_id, role)) STRICT;
CREATE TABLE IF NOT EXISTS pairing_requests (
  request_id TEXT PRIMARY KEY, device_id TEXT NOT NULL, role TEXT NOT NULL, row TEXT NOT NULL, ts INTEGER NOT NULL)
  STRICT;
"""

Json = dict[str, Any]


@dataclass(frozen=True)
class Pairing:
    """What a paired device may in one role."""

    device_id: str
    role: str
    scopes: tuple[str, ...]
    created_ms: int
    revoked: bool

    def covers(self, scopes: Iterable[str]) -> bool:
        """Whether these scopes were approved, by name or within a larger one."""
        return closure(scopes) <= closure(self.scopes)


class Devices:
    """Times are milliseconds of `now`, the wall clock."""

    def __init__(self, index: Index, secret: bytes, now: Callable[[], int]) -> None:
        self._index = index
        self._secret = secret
        self._now = now

    # ── who is paired ─────────────────────────────────────────────────────────────────────────────────────────────────

    def pairing(self, device_id: str, role: str) -> Pairing | None:
        """What the device may in this role; None where it is not paired for it."""
        row = self._index.execute(
            "SELECT * FROM device_roles WHERE device_id = ? AND role = ?", (device_id, role)
        ).fetchone()
        if row is None:
            return None
        revoked = row["revoked_ms"] is not None
        return Pairing(device_id, role, tuple(json.loads(row["scopes"])), row["created_ms"], revoked)

    def principal_of(self, device_id: str) -> str | None:
        """Whose a paired device is: theirs who showed a shared secret with it, or approved it."""
        row = self._index.execute("SELECT principal FROM devices WHERE device_id = ?", (device_id,)).fetchone()
        return None if row is None else str(row["principal"])

    def pair(
        self, device_id: str, public_key: str, about: Json, role: str, scopes: Iterable[str], principal: str
    ) -> None:
        """Pairs a device of `principal` for a role with these scopes, beside those that it has."""
        now = self._now()
        former = self.pairing(device_id, role)
        held = list(dict.fromkeys([*(former.scopes if former else ()), *scopes]))
        with self._index:
            self._index.execute(
                "INSERT INTO devices VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (device_id) DO UPDATE SET"
                " about = excluded.about, approved_ms = excluded.approved_ms, principal = excluded.principal",
                (device_id, public_key, json.dumps(about), now, now, principal),
            )
            self._index.execute(
                "INSERT INTO device_roles (device_id, role, scopes, generation, created_ms) VALUES (?, ?, ?, 1, ?)"
                " ON CONFLICT (device_id, role) DO UPDATE SET scopes = excluded.scopes",
                (device_id, role, json.dumps(held), now),
            )

    def listed(self) -> list[Json]:
        """The paired devices, newest first, without any token."""
        found = []
        for row in self._index.execute("SELECT * FROM devices ORDER BY created_ms DESC, rowid DESC").fetchall():
            roles = self._index.execute(
                "SELECT * FROM device_roles WHERE device_id = ? ORDER BY created_ms", (row["device_id"],)
            ).fetchall()
            scopes = list(dict.fromkeys(scope for it in roles for scope in json.loads(it["scopes"])))
            found.append(
                {
                    "deviceId": row["device_id"],
                    "publicKey": row["public_key"],
                    **json.loads(row["about"]),
                    "role": roles[0]["role"],
                    "roles": [it["role"] for it in roles],
                    "scopes": scopes,
                    "createdAtMs": row["created_ms"],
                    "approvedAtMs": row["approved_ms"],
                    "tokens": [_token_row(it) for it in roles if it["token_digest"] is not None],
                }
            )
        return found

    # ── tokens ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def token(self, device_id: str, role: str) -> str:
        """The device's token for this role: the one that it has, or a new one after it was revoked."""
        row = self._row(device_id, role)
        generation = row["generation"] + (row["revoked_ms"] is not None)
        token = self._derived(device_id, role, generation)
        if row["token_digest"] == digest(token) and row["revoked_ms"] is None:
            return token
        with self._index:
            self._index.execute(
                "UPDATE device_roles SET generation = ?, token_digest = ?, revoked_ms = NULL"
                " WHERE device_id = ? AND role = ?",
                (generation, digest(token), device_id, role),
            )
        return token

    def holds(self, device_id: str, role: str, token: str) -> bool:
        """Whether `token` is this device's, for this role and not revoked; notes the use."""
        row = self._index.execute(
            "SELECT * FROM device_roles WHERE device_id = ? AND role = ?", (device_id, role)
        ).fetchone()
        expected = row["token_digest"] if row is not None and row["revoked_ms"] is None else None
        right = hmac.compare_digest(digest(token), expected or b"\0" * 32) and expected is not None
        if right:
            # That it was used is nothing to keep somebody out for when the disk is full.
            used = "UPDATE device_roles SET used_ms = ? WHERE device_id = ? AND role = ?"
            with suppress(sqlite3.OperationalError):
                self._index.write((used, (self._now(), device_id, role)))
        return right

    def rotate(self, device_id: str, role: str, scopes: Iterable[str] | None) -> Json:
        """A new token in place of the old one, for these scopes or those approved. The row says when; see `token`."""
        row = self._row(device_id, role)
        kept = list(json.loads(row["scopes"])) if scopes is None else list(dict.fromkeys(scopes))
        now = self._now()
        with self._index:
            self._index.execute(
                "UPDATE device_roles SET generation = generation + 1, scopes = ?, rotated_ms = ?, revoked_ms = NULL,"
                " token_digest = NULL WHERE device_id = ? AND role = ?",
                (json.dumps(kept), now, device_id, role),
            )
        return {"deviceId": device_id, "role": role, "scopes": kept, "rotatedAtMs": now}

    def revoke(self, device_id: str, role: str) -> Json:
        """The device's token for this role is no longer one."""
        self._row(device_id, role)
        now = self._now()
        with self._index:
            self._index.execute(
                "UPDATE device_roles SET revoked_ms = ? WHERE device_id = ? AND role = ?", (now, device_id, role)
            )
        return {"deviceId": device_id, "role": role, "revokedAtMs": now}

    def _derived(self, device_id: str, role: str, generation: int) -> str:
        what = f"device-token|{device_id}|{role}|{generation}".encode()
        return hmac.new(self._secret, what, sha256).hexdigest()[:TOKEN_CHARS]

    def _row(self, device_id: str, role: str) -> sqlite3.Row:
        row: sqlite3.Row | None = self._index.execute(
            "SELECT * FROM device_roles WHERE device_id = ? AND role = ?", (device_id, role)
        ).fetchone()
        if row is None:
            raise KeyError(device_id)
        return row

    # ── requests to pair ──────────────────────────────────────────────────────────────────────────────────────────────

    def request(self, device_id: str, role: str, row: Json) -> tuple[Json, bool]:
        """The pending request of this device for this role, made from `row` where there is none; whether it is new."""
        self._forget_old()
        for found in self.pending():
            if found["deviceId"] == device_id and found["role"] == role and found["scopes"] == row["scopes"]:
                return found, False
        whole = {
            "requestId": str(uuid4()),
            "deviceId": device_id,
            **row,
            "role": role,
            "roles": [role],
            "isRepair": self.pairing(device_id, role) is not None,
            "ts": self._now(),
        }
        with self._index:
            self._index.execute("DELETE FROM pairing_requests WHERE device_id = ? AND role = ?", (device_id, role))
            self._index.execute(
                "INSERT INTO pairing_requests VALUES (?, ?, ?, ?, ?)",
                (whole["requestId"], device_id, role, json.dumps(whole), whole["ts"]),
            )
            self._index.execute(
                "DELETE FROM pairing_requests WHERE request_id NOT IN"
                " (SELECT request_id FROM pairing_requests ORDER BY ts DESC, rowid DESC LIMIT ?)",
                (MOST_PENDING,),
            )
        return whole, True

    def pending(self) -> list[Json]:
        """The requests that wait for a decision, newest first."""
        self._forget_old()
        query = "SELECT row FROM pairing_requests WHERE ts >= ? ORDER BY ts DESC, rowid DESC"
        rows = self._index.execute(query, (self._now() - PENDING_MS,)).fetchall()
        return [json.loads(row["row"]) for row in rows]

    def take(self, request_id: str) -> Json | None:
        """Ends a pending request and returns it; None where there is none with this id."""
        found = next((row for row in self.pending() if row["requestId"] == request_id), None)
        with self._index:
            self._index.execute("DELETE FROM pairing_requests WHERE request_id = ?", (request_id,))
        return found

    def _forget_old(self) -> None:
        self._index.write(("DELETE FROM pairing_requests WHERE ts < ?", (self._now() - PENDING_MS,)))


def _token_row(row: sqlite3.Row) -> Json:
    times = {"rotatedAtMs": row["rotated_ms"], "revokedAtMs": row["revoked_ms"], "lastUsedAtMs": row["used_ms"]}
    return {
        "role": row["role"],
        "scopes": json.loads(row["scopes"]),
        "createdAtMs": row["created_ms"],
        **{key: value for key, value in times.items() if value is not None},
    }
