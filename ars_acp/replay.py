"""A session's log as updates: those that show it again, for `session/load`, and those that a client has missed.

Chunks that follow each other become one. Each update carries the number of the last entry it stands for, and of the
first where they differ. For a load, a tool call and its updates are one `tool_call` with its last state, notices do not
come again, and a terminal, which is gone with its client, gives its place to what the model read of it.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson

from acp_wire import build
from acp_wire.build_extensions import replay_result
from ars_acp.rewind import standing, stands

if TYPE_CHECKING:
    from ars_acp.kept import KeptLog

Json = dict[str, Any]
Numbered = tuple[int, Json]
CHUNKS = {"text": build.agent_message_chunk, "thought": build.agent_thought_chunk}
LIVE_ONLY = {"notice", "usage_update", "current_mode_update", "config_option_update", "available_commands_update"}
LIVE_ONLY |= {"session_info_update", "compaction_update", "compaction_summary_chunk"}

REPLY_ENDS = {"reply", "interrupted", "prompt", "command"}
# What one answer to `_ars/session/replay` is made of at most: entries, and about so many bytes of them.
PAGE_ENTRIES, PAGE_BYTES = 5000, 2 * 1024 * 1024
_BACK = 1000  # entries looked at together on the way back


def message_id(kind: str, number: int) -> str:
    """The id of a reply's message of that kind."""
    return f"{'msg' if kind == 'text' else kind}_{number}"


def replay(session_id: str, entries: Iterable[Numbered], *, compactions: bool = False) -> Iterator[Json]:
    """The params of each `session/update`, in order; compactions only for a client that has them."""
    known = [it for it in standing(entries) if compactions or it[1]["type"] != "compaction"]
    calls = _calls_as_they_ended(known)
    yield from _numbered(session_id, _updates(known, calls), 0)


def _numbered(session_id: str, updates: Iterable[tuple[int, int, Json]], previous: int) -> Iterator[Json]:
    for first, last, update in updates:
        meta = {"ars/seq": last, "ars/prev": previous} | ({"ars/first": first} if first != last else {})
        previous = last
        yield build.session_update(session_id, update, meta)


def _updates(
    entries: list[Numbered], calls: dict[str, Json] | None, message: int = 0
) -> Iterator[tuple[int, int, Json]]:
    """The first and the last number, and the update. Without `calls` every update is as it was sent.

    `message` is the number in the ids of the reply that these entries begin in the middle of.
    """
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
                message = entry.get("message", message)
                texts = [entry["text"]]
                while at < len(entries) and entries[at][1]["type"] == kind and "message" not in entries[at][1]:
                    texts.append(entries[at][1]["text"])
                    at += 1
                last = entries[at - 1][0]
                yield number, last, CHUNKS[kind]("".join(texts), message_id(kind, message or number))
            case "reply" | "interrupted":
                message = 0
            case "compaction" if calls is not None:
                summary = [build.content_text(entry["summary"])]
                yield number, number, build.compaction_update(entry["id"], "completed", summary=summary)
            case "update":
                update = entry["update"]
                call_id = update.get("toolCallId")
                if calls is None:
                    yield number, number, update
                elif call_id is not None and call_id not in shown:
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


def missed(log: "KeptLog", after: int, taken_back: Sequence[tuple[int, int]], *, thoughts: bool = True) -> Json:
    """The result of `_ars/session/replay`: the updates above the number `after`, or the first page of them.

    Without what was `taken_back`, which is named where the client may have seen it.
    """
    page: list[Numbered] = []
    size = 0
    for number, entry in log.read(after):
        page.append((number, entry))
        size += len(orjson.dumps(entry)) if entry["type"] == "update" else len(entry.get("text", ""))
        if len(page) == PAGE_ENTRIES or size > PAGE_BYTES:
            break
    last = page[-1][0] if page else after
    shown = [it for it in page if stands(it[0], taken_back) and (thoughts or it[1]["type"] != "thought")]
    message = _message_at(log, after) if shown and shown[0][1]["type"] in CHUNKS else 0
    updates = list(_numbered(log.name, _updates(shown, None, message), after))
    gone = [it for it in taken_back if it[0] < after]
    return replay_result(updates, last, more=last < log.last, taken_back=gone)


def _message_at(log: "KeptLog", number: int) -> int:
    """The number in the ids of the reply that is under way at that entry; 0 where it is not known."""
    begin = number
    while begin > 0:
        end, begin = begin, max(begin - _BACK, 0)
        for _, entry in reversed(list(islice(log.read(begin), end - begin))):
            if "message" in entry:
                return int(entry["message"])
            if entry["type"] in REPLY_ENDS:
                return 0
    return 0
