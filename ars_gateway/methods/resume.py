"""`resume`: what a client has missed between two connections."""

from ars_gateway.call import Call, Json


def resume(call: Call, params: Json) -> Json:
    """Replays what came after `lastSeq` of connection `connId` and before this one, numbered on; then the answer.

    The events from `first` on are those `replayed`. Here live events may have come before them, though they belong
    behind; a client that names `resume: {connId, lastSeq}` in its connect gets all in order.
    """
    connection = call.connection
    missed = call.gateway.hub.missed(call.caller, params["connId"], params["lastSeq"], connection.joined_at)
    first = connection.seq + 1
    connection.replay(missed)
    return {"resumed": True, "replayed": len(missed), "first": first}
