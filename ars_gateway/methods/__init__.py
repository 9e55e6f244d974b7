"""The table of methods: what is served, to whom, by which function. What is not here is unknown."""

from ars_gateway.access.scopes import ADMIN, PAIRING, READ, WRITE
from ars_gateway.call import NODE, Method
from ars_gateway.methods import (
    agent,
    approvals,
    chat,
    config,
    devices,
    health,
    later,
    logs,
    page,
    presence,
    sessions,
    usage,
)
from ars_gateway.methods.resume import resume

__all__ = ["METHODS"]


def _later(scope: str | None, *names: str) -> list[Method]:
    return [Method(name, scope, later.unserved(name), params=None, advertised=False) for name in names]


_ROWS = [
    Method("connect", None, later.connect, params=None, advertised=False),
    Method("resume", None, resume, advertised=False),
    *health.METHODS,
    *logs.METHODS,
    *config.METHODS,
    # presence
    Method("system-presence", READ, presence.system_presence, params=None),
    Method("system-event", ADMIN, presence.system_event, params=None),
    Method("last-heartbeat", READ, presence.last_heartbeat, params=None),
    Method("set-heartbeats", ADMIN, presence.set_heartbeats, params=None),
    # devices
    Method("device.pair.list", PAIRING, devices.pair_list),
    Method("device.pair.approve", PAIRING, devices.pair_approve),
    Method("device.pair.reject", PAIRING, devices.pair_reject),
    Method("device.token.rotate", PAIRING, devices.token_rotate),
    Method("device.token.revoke", PAIRING, devices.token_revoke),
    *agent.METHODS,
    *chat.METHODS,
    *sessions.METHODS,
    *usage.METHODS,
    *approvals.METHODS,
    *page.METHODS,
    # of a later time: their scopes hold already
    *_later(
        READ,
        *("tts.status", "tts.providers", "voicewake.get", "skills.status", "node.list", "node.describe"),
        *("cron.list", "cron.status", "cron.runs"),
    ),
    *_later(
        WRITE,
        *("send", "wake", "talk.mode", "voicewake.set"),
        *("tts.enable", "tts.disable", "tts.convert", "tts.setProvider", "node.invoke"),
    ),
    *_later(
        PAIRING,
        *("node.pair.request", "node.pair.list", "node.pair.approve", "node.pair.reject", "node.pair.verify"),
        "node.rename",
    ),
    *_later(
        ADMIN,
        *("channels.logout", "exec.approvals.get", "exec.approvals.set"),
        *("exec.approvals.node.get", "exec.approvals.node.set", "skills.install", "skills.update", "update.run"),
        *("wizard.start", "wizard.next", "wizard.cancel", "wizard.status", "cron.add", "cron.update"),
        *("cron.remove", "cron.run", "poll", "web.login.start", "web.login.wait"),
    ),
    *(
        Method(name, None, later.unserved(name), params=None, advertised=False, roles=NODE)
        for name in ("skills.bins", "node.event", "node.invoke.result")
    ),
]

METHODS: dict[str, Method] = {row.name: row for row in _ROWS}
assert len(METHODS) == len(_ROWS), "a method stands in the table once"
