"""`resume`: what a client has missed between two connections."""

from ars_gateway.call import Call, Json


def resume(call: Call, params: Json) -> Json:
    """Replays what came after `lastSeq` of connection `connId` and before this one, numbered on; then the answer.

    A client that names `resume: {connId, lastSeq}` in its connect gets the same before any live event; here live
    events may have come first: what is replayed belongs before `before`.
    """
    connection = call.connection
    missed = call.gateway.hub.missed(call.caller, params["connId"], params["lastSeq"], connection.joined_at)
    first = connection.seq + 1
    connection.replay(missed)
    return {"resumed": True, "replayed": len(missed), "first": first, "before": 1}
