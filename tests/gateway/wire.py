"""Holds every frame against the v3 schema, by method; what ours says beyond it on purpose is named in RELAXED."""

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

FIXTURES = Path(__file__).parents[2] / "fixtures" / "gateway"
RECORDED = FIXTURES / "recorded"
SCHEMA = json.loads((FIXTURES / "gateway-v3.schema.json").read_text("utf-8"))
DEFINITIONS = SCHEMA["definitions"]

Json = dict[str, Any]
EVENT_PAYLOADS = {
    "tick": "TickEvent",
    "shutdown": "ShutdownEvent",
    "chat": "ChatEvent",
    "agent": "AgentEvent",
    "device.pair.requested": "DevicePairRequestedEvent",
    "device.pair.resolved": "DevicePairResolvedEvent",
}
RESULTS = {
    "agents.list": "AgentsListResult",
    "models.list": "ModelsListResult",
    "logs.tail": "LogsTailResult",
    "channels.status": "ChannelsStatusResult",
    "agent.identity.get": "AgentIdentityResult",
    "config.schema": "ConfigSchemaResponse",
}


def _relaxed() -> Json:
    """The definitions with what the recorded program itself adds, and what ours adds on purpose."""
    found: Json = copy.deepcopy(DEFINITIONS)
    hello = found["HelloOk"]["properties"]
    hello["auth"]["required"].remove("deviceToken")  # the granted scopes are told to everybody
    hello["resume"] = {"type": "object"}  # to clients that asked for it in connect
    found["ShutdownEvent"]["properties"]["restartExpectedMs"] = {"type": ["integer", "null"]}
    found["AgentEvent"]["properties"]["sessionKey"] = {"type": "string"}
    found["ResponseFrame"]["properties"]["id"] = {"type": ["string", "number"]}
    found["ModelsListResult"]["properties"]["models"]["items"]["properties"]["input"] = {"type": "array"}
    return found


@cache
def _validator(name: str) -> Any:
    return jsonschema.Draft202012Validator(_relaxed()[name])


def check(name: str, value: Any) -> None:
    """Raises AssertionError unless `value` is as the definition has it."""
    errors = [f"{error.json_path}: {error.message[:300]}" for error in _validator(name).iter_errors(value)]
    assert not errors, f"{name}: {'; '.join(errors)}"


def check_frame(frame: Any, method: str | None = None) -> None:
    """Raises AssertionError unless `frame` is one that the gateway may send; `method` is what a res answers."""
    kind = frame["type"]
    check({"res": "ResponseFrame", "event": "EventFrame"}[kind], frame)
    if kind == "event" and frame["event"] in EVENT_PAYLOADS:
        check(EVENT_PAYLOADS[frame["event"]], frame["payload"])
    if kind == "res" and frame["ok"] and method == "connect":
        check("HelloOk", frame["payload"])
    if kind == "res" and frame["ok"] and method in RESULTS:
        check(RESULTS[method], frame["payload"])
    if kind == "res":
        assert frame["ok"] != ("error" in frame), f"neither yes nor no: {frame}"


def recorded(case: str) -> list[Json]:
    """One recorded conversation, without its first line, which says what it is."""
    return [json.loads(line) for line in (RECORDED / f"{case}.jsonl").read_text("utf-8").splitlines()[1:]]
