"""A synthetic agent for the connector's benchmarks: it answers at once and costs next to nothing.

A prompt `flood <n>` is answered by so many one-word updates, written as fast as they are read; `stamp <n>` by so many
updates, a few milliseconds apart, whose text is the time at which each was written, in nanoseconds.
"""

import json
import sys
import time
from typing import Any

PAUSE = 0.003


def send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def update(text: str) -> str:
    chunk = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}
    params = {"sessionId": "s1", "update": chunk}
    return json.dumps({"jsonrpc": "2.0", "method": "session/update", "params": params}) + "\n"


def reply(kind: str, number: int) -> None:
    if kind == "flood":
        sys.stdout.write(update("word ") * number)
    for _ in range(number if kind == "stamp" else 0):
        time.sleep(PAUSE)
        sys.stdout.write(update(str(time.perf_counter_ns())))
        sys.stdout.flush()


for line in sys.stdin:
    request = json.loads(line)
    match request.get("method"):
        case "initialize":
            send({"id": request["id"], "result": {"protocolVersion": 1, "agentCapabilities": {}}})
        case "session/new":
            send({"id": request["id"], "result": {"sessionId": "s1"}})
        case "session/prompt":
            kind, number = request["params"]["prompt"][0]["text"].split()
            reply(kind, int(number))
            send({"id": request["id"], "result": {"stopReason": "end_turn"}})
