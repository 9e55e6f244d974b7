"""What a client does with the numbers of updates: `_ars/session/replay`, `_ars/session/ack`, `_ars/session/rewind`."""

from typing import TYPE_CHECKING, Any

from acp_wire.errors import INVALID_PARAMS
from ars_acp.errors import invalid_message
from ars_acp.rewind import NothingToRewind, last_turns, turns_after

if TYPE_CHECKING:
    from acp_wire.schema.extensions import AckRequest, ReplayRequest, RewindRequest
    from ars_acp.session import Session
    from ars_acp.turn import Turn

# Numbers between two acknowledgements that are recorded while a turn runs.
RECORDED_EVERY = 1000


def replay(session: "Session", params: "ReplayRequest", *, thoughts: bool) -> dict[str, Any]:
    """The updates that the client has missed. Raises RpcError for a number that the session has not come to."""
    from ars_acp.replay import missed

    after = max(session.acknowledged, session.facts.acknowledged) if params.after is None else params.after
    if after > session.log.last:
        told = f"after: this session has no entry {after}, its last is {session.log.last}; load it"
        raise invalid_message(INVALID_PARAMS, told, field="after")
    return missed(session.log, after, session.taken_back, thoughts=thoughts)


def ack(session: "Session", params: "AckRequest") -> None:
    """Notes what the client has, and records it now and then: from there a replay starts that names no number."""
    session.acknowledged = max(session.acknowledged, min(params.seq, session.log.last))
    new = session.acknowledged - session.facts.acknowledged
    if new >= RECORDED_EVERY or (new > 0 and not session.prompts):
        session.record({"type": "ack", "seq": session.acknowledged})
        if not session.prompts:
            session.log.rest()


async def rewind(turn: "Turn", params: "RewindRequest") -> dict[str, Any]:
    """Takes turns back. Raises RpcError where there are none."""
    from ars_acp.turn import close
    from ars_acp.undo import answer, undo

    if params.turns is not None and params.to_seq is not None:
        raise invalid_message(INVALID_PARAMS, "turns, toSeq: only one of them can be said")
    to_seq, turns = params.to_seq, params.turns or 1
    try:
        undone = await undo(
            turn,
            lambda entries: last_turns(entries, turns) if to_seq is None else turns_after(entries, to_seq),
            turn.session.log.last + 1,
        )
    except NothingToRewind as exc:
        raise invalid_message(INVALID_PARAMS, str(exc)) from None
    finally:
        close(turn, "it was cancelled")
        turn.session.log.rest()
    return answer(undone)
