"""health, status, channels.status: how the gateway is, of what its caller may see."""

from typing import Any

import orjson

from ars_gateway.access.scopes import READ
from ars_gateway.call import Call, Json, Method


def health(call: Call, params: Json) -> orjson.Fragment:
    """The health summary: the one that is kept, with `probe` one of now."""
    return call.gateway.health.summary(call.caller.principal, anew=params.get("probe") is True)


def status(call: Call, params: Json) -> orjson.Fragment:
    """The status summary."""
    return call.gateway.health.status(call.caller.principal)


def channels_status(call: Call, params: Json) -> Json:
    """The channels to other messengers: there are none."""
    maps = ("channelLabels", "channelDetailLabels", "channelSystemImages", "channels", "channelAccounts")
    empty: dict[str, Any] = {name: {} for name in (*maps, "channelDefaultAccountId")}
    return {"ts": call.gateway.now_ms(), "channelOrder": [], "channelMeta": [], **empty}


METHODS = (
    Method("health", READ, health, params=None),
    Method("status", READ, status, params=None),
    Method("channels.status", READ, channels_status),
)
