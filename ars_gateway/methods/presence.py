"""Who is here, and the heartbeat that there is none of yet."""

from typing import Any

from ars_gateway.call import Call, Json
from ars_gateway.errors import invalid


def system_presence(call: Call, params: Json) -> list[Json]:
    """The presence entries, a bare list."""
    return call.gateway.presence.listed()


def system_event(call: Call, params: Json) -> Json:
    """Puts a machine's own words into the list: `text`, and any field of a presence entry."""
    text = params.get("text")
    if not isinstance(text, str) or not text.strip():
        raise invalid("text required")
    known = {"deviceId", "instanceId", "host", "ip", "mode", "version", "platform", "deviceFamily", "modelIdentifier"}
    said = {key: value for key, value in params.items() if key in known and isinstance(value, str) and value.strip()}
    listed = {
        key: [one for one in params[key] if isinstance(one, str) and one]
        for key in ("roles", "scopes", "tags")
        if isinstance(params.get(key), list)
    }
    said |= {"text": text} | ({"reason": params["reason"]} if isinstance(params.get("reason"), str) else {})
    call.gateway.presence.told({**said, **listed})
    call.gateway.presence_changed()
    return {"ok": True}


def last_heartbeat(call: Call, params: Json) -> Any:
    """None: nothing here runs by itself."""
    return None


def set_heartbeats(call: Call, params: Json) -> Json:
    """Takes the switch, of which nothing hangs yet."""
    if not isinstance(params.get("enabled"), bool):
        raise invalid("invalid set-heartbeats params: enabled (boolean) required")
    return {"ok": True, "enabled": params["enabled"]}
