"""logs.tail: the gateway's own log, line by line."""

from dataclasses import asdict

from ars_gateway.access.scopes import READ
from ars_gateway.call import Call, Json, Method
from ars_gateway.observation import journal

LINES, BYTES = 500, 250_000


def logs_tail(call: Call, params: Json) -> Json:
    """The lines after `cursor`, or the last ones; what is secret was never written there."""
    directory = call.gateway.settings.journal_path
    limit, most = int(params.get("limit", LINES)), int(params.get("maxBytes", BYTES))
    return asdict(journal.tail(directory, params.get("cursor"), limit, most))


METHODS = (Method("logs.tail", READ, logs_tail),)
