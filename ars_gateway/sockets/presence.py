"""Who is here: what `system-presence` lists and the event `presence` tells."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ars_gateway.access.auth import CLI_MODE
from ars_gateway.call import Caller
from ars_gateway.clean import clean

KEPT_MS = 5 * 60 * 1000
MOST = 200
_SAID = ("version", "platform", "deviceFamily", "modelIdentifier", "mode", "instanceId")

Json = dict[str, Any]


class Presence:
    """Entries by who they are of; each as the protocol's PresenceEntry. `version` counts the changes."""

    def __init__(self, itself: Json, now: Callable[[], int]) -> None:
        self._itself = itself
        self._now = now
        self._entries: OrderedDict[str, Json] = OrderedDict()
        self.version = 1

    def listed(self) -> list[Json]:
        """The gateway itself, then the others, the latest first."""
        now = self._now()
        for key in [key for key, entry in self._entries.items() if entry["ts"] < now - KEPT_MS]:
            del self._entries[key]
        return [{**self._itself, "ts": now}, *reversed(self._entries.values())]

    def noted(self, caller: Caller, reason: str, address: str | None) -> bool:
        """A client has come or gone; whether that is a change to tell. Command-line clients, short-lived, are not."""
        if caller.client["mode"] == CLI_MODE:
            return False
        client = caller.client
        host = client.get("displayName") or client["id"]
        entry = {
            "host": host,
            **({"ip": address} if address and not caller.local else {}),
            **{key: client[key] for key in _SAID if client.get(key)},
            **({"deviceId": caller.device_id} if caller.device_id else {}),
            "roles": [caller.role],
            "scopes": list(caller.granted),
            "reason": reason,
            "ts": self._now(),
            "text": f"Node: {host} · mode {client['mode']}",
        }
        self._put(caller.device_id or client.get("instanceId") or caller.conn_id, entry)
        return True

    def told(self, params: Json) -> None:
        """What an operator says of a machine: `system-event`."""
        entry = {key: clean(value) if isinstance(value, str) else value for key, value in params.items()}
        self._put(entry.get("deviceId") or entry.get("instanceId") or entry.get("host") or "event", entry)

    def _put(self, key: str, entry: Json) -> None:
        entry["ts"] = self._now()
        self._entries.pop(key, None)
        self._entries[key] = entry
        while len(self._entries) > MOST:
            self._entries.popitem(last=False)
        self.version += 1
