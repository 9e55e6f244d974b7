"""Sessions that last for one request: nobody comes back to them, so nothing is kept of them."""

import sqlite3
import uuid
from typing import TYPE_CHECKING

import anyio

from ars_gateway.sessions.rooms import Room
from connector import ConnectorError
from event_log import LogError

if TYPE_CHECKING:
    from ars_gateway.talks.talks import Talks

# The mark of such a session, by which the next start knows what an end without warning has left.
PASSING = "passing"
# How long an agent may take to let go.
SECONDS = 15.0


def begin(talks: "Talks", principal: str, agent: str, kind: str) -> Room:
    """A session of its own; `forget` is to be called at the end. `kind` is whose requests these are."""
    room = talks.rooms.open(principal, f"agent:{agent}:{kind}:{uuid.uuid4()}", talks.workspace)
    room.facts[PASSING] = True
    talks.rooms.save(room)
    return room


async def forget(talks: "Talks", room: Room) -> None:
    """Ends what runs there and removes what is kept of it, here and at its agent. Where the gateway ends meanwhile the
    next start does the rest."""
    runs = talks.runs.of(room)
    talks.runs.abort(runs, "rpc")
    with anyio.move_on_after(SECONDS):
        for run in runs:
            await run.quiet.wait()
        try:
            await talks.agents.forget_session(room)
        except (ConnectorError, OSError) as why:
            talks.fault("session.not_forgotten", why)
    await _remove(talks, room)


async def forget_left(talks: "Talks") -> None:
    """Removes what the process before this one had no time for."""
    for room in [it for it in talks.rooms.all() if it.facts.get(PASSING)]:
        await _remove(talks, room)


async def _remove(talks: "Talks", room: Room) -> None:
    try:
        if talks.rooms.find(room.principal, room.key) is room:
            talks.feeds.gone(room.session_id, "deleted")
            talks.rooms.remove(room)
        await talks.transcripts.forget(room)
    except (LogError, OSError, sqlite3.Error) as why:
        talks.fault("session.not_forgotten", why)
