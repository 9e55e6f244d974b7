"""A session's log as the updates that show it again: what `session/load` sends before it answers.

The chunks of a message become one, a tool call and its updates one `tool_call` with its last state. Each update carries
the number of the last entry it stands for, and of the first where they differ. Notices are live events and never come
again; a terminal is gone with its client, so its place takes what the model read of it.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from acp_wire import build
from ars_acp.rewind import standing

Json = dict[str, Any]
Numbered = tuple[int, Json]
CHUNKS = {"text": build.agent_message_chunk, "thought": build.agent_thought_chunk}
LIVE_ONLY = {"notice", "usage_update", "current_mode_update", "config_option_update", "available_commands_update"}
LIVE_ONLY |= {"session_info_update", "compaction_update", "compaction_summary_chunk"}


def replay(session_id: str, entries: Iterable[Numbered], *, compactions: bool = False) -> Iterator[Json]:
    """The params of each `session/update`, in order; compactions only for a client that has them."""
    known = [it for it in standing(entries) if compactions or it[1]["type"] != "compaction"]
    calls = _calls_as_they_ended(known)
    previous = 0
    for first, last, update in _updates(known, calls):
        meta = {"ars/seq": last, "ars/prev": previous} | ({"ars/first": first} if first != last else {})
        previous = last
        yield build.session_update(session_id, update, meta)


def _updates(entries: list[Numbered], calls: dict[str, Json]) -> Iterator[tuple[int, int, Json]]:
    shown: set[str] = set()
    at = 0
    while at < len(entries):
        number, entry = entries[at]
        at += 1
        match entry["type"]:
            case "prompt" | "steer" | "command":
                for block in entry["content"]:
                    yield number, number, build.user_message_chunk(block, f"user_{number}")
            case "text" | "thought" as kind:
                texts = [entry["text"]]
                while at < len(entries) and entries[at][1]["type"] == kind:
                    texts.append(entries[at][1]["text"])
                    at += 1
                last = entries[at - 1][0]
                yield number, last, CHUNKS[kind]("".join(texts), f"msg_{number}")
            case "compaction":
                summary = [build.content_text(entry["summary"])]
                yield number, number, build.compaction_update(entry["id"], "completed", summary=summary)
            case "update":
                update = entry["update"]
                call_id = update.get("toolCallId")
                if call_id is not None and call_id not in shown:
                    shown.add(call_id)
                    yield number, number, calls[call_id]
                elif call_id is None and update["sessionUpdate"] not in LIVE_ONLY:
                    yield number, number, update


def _calls_as_they_ended(entries: list[Numbered]) -> dict[str, Json]:
    calls: dict[str, Json] = {}
    for _, entry in entries:
        if entry["type"] == "update" and "toolCallId" in entry["update"]:
            update = entry["update"]
            call = calls.setdefault(update["toolCallId"], {"title": ""})
            call |= update | {"sessionUpdate": "tool_call"}
        elif entry["type"] == "result" and entry["id"] in calls:
            call = calls[entry["id"]]
            call["content"] = _without_terminals(call.get("content") or [], entry["text"])
            call["status"] = "completed" if entry["ok"] else "failed"
    return calls


def _without_terminals(content: list[Json], text: str) -> list[Json]:
    return [build.content(text) if part["type"] == "terminal" else part for part in content]
