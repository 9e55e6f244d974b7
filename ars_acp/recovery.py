"""What a process that died has left open in a session's log: closed, so that a model accepts it, the client is shown
the end of what it saw begin, and nothing with effects is ever done again by itself.

A call is shown `in_progress` before it does anything, so one that had not come so far has done nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from acp_wire import build
from ars_acp.rewind import Numbered
from ars_acp.tools import find

if TYPE_CHECKING:
    from ars_acp.session import Session
    from ars_acp.streamer import Streamer

ENDED = ("completed", "failed")


@dataclass(eq=False)
class Recovered:
    """What the client has to be told when it has the session: updates with their numbers, and a notice."""

    why: str
    updates: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)  # tools of which nobody knows what they did

    def tell(self, streamer: "Streamer", *, replayed: bool) -> None:
        """Sends it; `replayed` says that the client was shown the log just now."""
        if not replayed:
            for number, update in self.updates:
                streamer.show(number, update)
        outcome = f"Whether these did their work is unknown: {', '.join(self.unknown)}" if self.unknown else None
        streamer.tell("warning", f"The last turn was interrupted: {self.why}", outcome)


def close_what_was_left(session: "Session", entries: Iterable[Numbered], why: str) -> Recovered:
    """Records the end of a turn that has none, by reason of `why`; what was said during it and never joined is kept.

    `entries` are all of the session's log.
    """
    found = Recovered(why)
    left = _Left(entries)
    history = session.history
    unanswered = history.unanswered()
    in_reply = history.in_reply()
    results: dict[str, tuple[str, str]] = {}
    for call_id, status in left.shown.items():
        if status not in ENDED:
            code, text = results[call_id] = _result(why, left.names[call_id], begun=status == "in_progress")
            if code == "UNKNOWN_OUTCOME":
                found.unknown.append(left.names[call_id])
            ended: dict[str, Any] = {
                "status": "failed",
                "content": [build.content(text)],
                "raw_output": {"error": code},
            }
            update = build.tool_call_update(call_id, **ended)
            found.updates.append((session.record({"type": "update", "update": update}), update))
    for call_id in unanswered:
        code, text = results.get(call_id) or _result(why, left.names[call_id], begun=False)
        session.record({"type": "result", "id": call_id, "ok": False, "code": code, "text": text})
    asked = left.prompted and not unanswered and history.messages[-1:] and history.messages[-1]["role"] != "assistant"
    if in_reply or asked:
        session.record({"type": "interrupted", "reason": why, "partialChars": history.partial_chars()})
    for message in left.heard:
        session.record({**message, "type": "steer"})
    if session.facts.in_turn:
        session.record({"type": "turn", "stop": "interrupted"})
    return found


class _Left:
    """What the entries of a log's last turn say."""

    def __init__(self, entries: Iterable[Numbered]) -> None:
        self.names: dict[str, str] = {}  # the tools of its calls, by id
        self.shown: dict[str, str] = {}  # the last status of those that were shown
        self.prompted = False  # it was the model's, not a command
        self.heard: list[dict[str, Any]] = []  # what was said during it and has not joined
        for _, entry in entries:
            self._take(entry)

    def _take(self, entry: dict[str, Any]) -> None:
        match entry["type"]:
            case "prompt" | "command" as kind:
                self.names, self.shown, self.heard = {}, {}, []
                self.prompted = kind == "prompt"
            case "reply":
                self.names |= {call["id"]: call["name"] for call in entry["calls"]}
            case "heard":
                self.heard.append(entry)
            case "steer" if self.heard:
                del self.heard[0]
            case "update" if (update := entry["update"]).get("toolCallId"):
                call_id = update["toolCallId"]
                self.names.setdefault(call_id, update.get("title") or call_id)
                self.shown[call_id] = update.get("status") or self.shown.get(call_id, "pending")


def _result(why: str, name: str, *, begun: bool) -> tuple[str, str]:
    """The code and the text of a call without a result."""
    tool = find(name)
    if begun and not (tool is not None and tool.read_only):
        return "UNKNOWN_OUTCOME", f"Not finished: {why}. Its outcome is unknown: check before you repeat it."
    return "NOT_DONE", f"Not done: {why}. Call it again if it is still needed."
