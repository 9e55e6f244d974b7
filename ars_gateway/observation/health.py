"""How the gateway is: the health and status summaries, made once and kept as JSON until something in them changes.

The event `health` is told once a minute, and soon after an agent comes or goes: never for a question or a newcomer.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import orjson

from ars_gateway.call import Caller
from ars_gateway.protocol.frames import encoded
from ars_gateway.sessions import keys, rooms
from ars_gateway.sessions.rooms import Room

if TYPE_CHECKING:
    from ars_gateway.gateway import Gateway

Json = dict[str, Any]

TOLD_SECONDS = 60.0
# Ages in a status are measured from now, and it has no time of its own: it is made anew after so many seconds.
STATUS_SECONDS = 1.0
# Of several changes that come together the last is told.
SOON_SECONDS = 0.25
RECENT, RECENT_IN_STATUS = 5, 10
MOST_PRINCIPALS = 64
# Nothing here runs by itself yet; clients show these fields.
HEARTBEAT: Json = {"enabled": False, "every": "0m", "everyMs": None}
HEARTBEAT_MORE: Json = {"prompt": "", "target": "none", "ackMaxChars": 300}

Made = tuple[orjson.Fragment, float]


class Health:
    """The summaries of each principal. `version` counts the events that were told."""

    def __init__(self, gateway: "Gateway") -> None:
        self.version = 1
        self._gateway = gateway
        self._health: dict[str, Made] = {}
        self._status: dict[str, Made] = {}
        self._due: asyncio.TimerHandle | None = None
        self._seen: dict[str, str] = {}

    def forget(self) -> None:
        """Something in the summaries has changed."""
        self._health.clear()
        self._status.clear()

    def agents_changed(self) -> None:
        """An agent's state is another one: where it has come or gone, rather than begun a turn, everybody is told."""
        states = self._states()
        if states == self._seen:
            return
        self._seen = states
        self.forget()
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(SOON_SECONDS, self._tell)

    def stop(self) -> None:
        """Nothing more is told."""
        if self._due is not None:
            self._due.cancel()

    def summary(self, principal: str, anew: bool = False) -> orjson.Fragment:
        """The health summary that this principal may see, at most a minute old."""
        made = None if anew else self._health.get(principal)
        return self._kept(self._health, principal, self._summary, TOLD_SECONDS, made)

    def status(self, principal: str) -> orjson.Fragment:
        """The status summary of this principal."""
        return self._kept(self._status, principal, self._status_summary, STATUS_SECONDS, self._status.get(principal))

    async def run(self) -> None:
        """Tells how it is, every minute, until it is cancelled."""
        while True:
            await anyio.sleep(TOLD_SECONDS)
            self.forget()
            self._tell()

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _kept(
        self, held: dict[str, Made], principal: str, make: Callable[[str], Json], seconds: float, made: Made | None
    ) -> orjson.Fragment:
        now = self._gateway.clock()
        if made is None or made[1] < now:
            if len(held) >= MOST_PRINCIPALS:
                held.clear()
            made = held[principal] = orjson.Fragment(encoded(make(principal))), now + seconds
        return made[0]

    def _tell(self) -> None:
        self._due = None
        self.version += 1
        gateway = self._gateway
        callers = (connection.caller for connection in gateway.hub.connections.values())
        for principal in {caller.principal for caller in callers if caller is not None}:
            gateway.hub.broadcast(
                "health",
                self.summary(principal),
                state_version=gateway.state_version,
                only=partial(_is_of, principal),
            )

    def _summary(self, principal: str) -> Json:
        gateway, agents = self._gateway, self._gateway.talks.agents
        began, ts = gateway.clock(), gateway.now_ms()
        path, found = gateway.talks.index_path, self._by_agent(principal)
        states, told = self._states(), agents.states()

        def sessions(agent: str) -> Json:
            of_agent = found.get(agent, [])
            recent = [_entry(room, ts) for room in of_agent[:RECENT]]
            return {"path": path, "count": len(of_agent), "recent": recent}

        rows = [
            {
                "agentId": kind.id,
                "name": kind.name,
                "isDefault": kind.id == keys.MAIN,
                "heartbeat": HEARTBEAT | HEARTBEAT_MORE,
                "sessions": sessions(kind.id),
                "state": states[kind.id],
                "reachable": not told[kind.id]["away"],
            }
            for kind in agents.kinds.values()
        ]
        return {
            "ok": True,
            "ts": ts,
            "durationMs": round((gateway.clock() - began) * 1000),
            "channels": {},
            "channelOrder": [],
            "channelLabels": {},
            "heartbeatSeconds": 0,
            "defaultAgentId": keys.MAIN,
            "agents": rows,
            "sessions": sessions(keys.MAIN),
            "degraded": not all(row["reachable"] for row in rows),
        }

    def _status_summary(self, principal: str) -> Json:
        gateway, talks = self._gateway, self._gateway.talks
        ts, path, found = gateway.now_ms(), talks.index_path, self._by_agent(principal)
        defaults = talks.defaults()
        every = sorted((room for of_agent in found.values() for room in of_agent), key=_newest, reverse=True)

        def recent(of: list[Room]) -> list[Json]:
            return [_status_row(room, ts, defaults) for room in of[:RECENT_IN_STATUS]]

        by_agent = [
            {"agentId": id, "path": path, "count": len(found.get(id, [])), "recent": recent(found.get(id, []))}
            for id in talks.agents.kinds
        ]
        heartbeats = [{"agentId": id, **HEARTBEAT} for id in talks.agents.kinds]
        return {
            "heartbeat": {"defaultAgentId": keys.MAIN, "agents": heartbeats},
            "channelSummary": [],
            "queuedSystemEvents": [],
            "sessions": {
                "paths": [path],
                "count": len(every),
                "defaults": {"model": defaults["model"], "contextTokens": defaults["contextTokens"]},
                "recent": recent(every),
                "byAgent": by_agent,
            },
        }

    def _states(self) -> dict[str, str]:
        """Each agent's state; whether it has something to do just now is not told."""
        found = self._gateway.talks.agents.states().items()
        return {id: "ready" if told["state"] == "busy" else told["state"] for id, told in found}

    def _by_agent(self, principal: str) -> dict[str, list[Room]]:
        found: dict[str, list[Room]] = {}
        for room in sorted(self._gateway.talks.rooms.of(principal), key=_newest, reverse=True):
            found.setdefault(room.agent, []).append(room)
        return found


def _is_of(principal: str, caller: Caller) -> bool:
    return caller.principal == principal


def _newest(room: Room) -> tuple[int, int]:
    return room.updated, room.saved


def _entry(room: Room, ts: int) -> Json:
    return {"key": room.key, "updatedAt": room.updated, "age": max(0, ts - room.updated)}


def _status_row(room: Room, ts: int, defaults: Json) -> Json:
    row = rooms.row(room)
    total = row.get("totalTokens") or None
    window = row.get("contextTokens") or defaults["contextTokens"]
    known = total is not None and bool(window)
    shown = ("thinkingLevel", "verboseLevel", "reasoningLevel", "elevatedLevel", "systemSent", "abortedLastRun")
    levels = {"thinkingLevel": "think", "verboseLevel": "verbose", "reasoningLevel": "reasoning"}
    flags = [f"{name}:{row[field]}" for field, name in levels.items() if row.get(field)]
    flags += [name for field, name in (("systemSent", "system"), ("abortedLastRun", "aborted")) if row.get(field)]
    return {
        "agentId": room.agent,
        **{name: row[name] for name in ("key", "kind", "sessionId", "updatedAt")},
        "age": max(0, ts - room.updated),
        **{name: row[name] for name in shown if name in row},
        **{name: row[name] for name in ("inputTokens", "outputTokens") if name in row},
        "totalTokens": total,
        "remainingTokens": max(0, window - total) if known else None,
        "percentUsed": min(999, round(total / window * 100)) if known else None,
        "model": row.get("model") or defaults["model"],
        "contextTokens": window or None,
        "flags": [*flags, f"id:{room.session_id}"],
    }
