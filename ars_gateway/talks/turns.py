"""A conversation as a page shows it: turn by turn, of what the feed tells and of what the transcript keeps. Pure.

Entries are of the feed's kinds (`feed`), so that whoever shows them needs to know no others; but they are folded:
pieces of a message are one entry, a tool call is one with everything that became of it, a terminal is one.
"""

import shlex
from collections.abc import Container, Iterable, Mapping
from typing import Any

from ars_gateway.sessions.feed import Entry, prompt_of
from ars_gateway.sessions.history import INJECTED
from ars_gateway.sessions.story import BETWEEN, Growing, text_of
from ars_gateway.talks.approvals import MEANING

Json = dict[str, Any]

# What a record says of a turn besides what the connector notes: which run it was, what its terminals have shown.
RUN, TERMINAL = "run", "terminal"
# The kinds of updates that the connector knows, and so tells; others are in a record alone.
KINDS = frozenset(
    {
        *("user_message_chunk", "agent_message_chunk", "agent_thought_chunk", "tool_call", "tool_call_update", "plan"),
        *("available_commands_update", "current_mode_update", "config_option_update", "session_info_update"),
        *("usage_update", "notice", "compaction_update", "compaction_summary_chunk"),
    }
)
# The end of a terminal's output that is shown of it when it is over.
TERMINAL_CHARACTERS = 64 * 1024
# Of these the last one counts: it stands where the first one stood.
_LATEST = frozenset({"plan", "usage_update", "compaction_update"})
# What is offered in a session is asked for when it is to be shown (`_ars.session.options`).
_LEFT_OUT = frozenset(
    {
        *("available_commands_update", "config_option_update", "current_mode_update", "session_info_update"),
        "compaction_summary_chunk",
    }
)
_PIECES = frozenset({"text", "thought"})
# After so many characters a message goes on in another entry, where a line ends or after as many again.
LONG = 256 * 1024


class Turn:
    """The entries of one run, folded. `number` is its prompt's in the transcript, None where it is not in there."""

    __slots__ = (
        "_calls",
        "_entries",
        "_latest",
        "_length",
        "_line_over",
        "_said",
        "_speaking",
        "_steered",
        "_terminals",
        "number",
        "over",
        "run",
        "whole",
    )

    def __init__(self, run: str, number: int | None = None) -> None:
        self.run = run
        self.number = number
        self.over = False
        # Whether its prompt is here too.
        self.whole = False
        self._entries: list[Json] = []
        # What was said since somebody looked; whether the next piece of its kind belongs to the same message.
        self._said = Growing()
        self._speaking = False
        self._length = 0
        self._line_over = False
        self._calls: dict[str, Json] = {}
        self._terminals: dict[str, Json] = {}
        self._latest: dict[str, Json] = {}
        self._steered: list[str] = []

    @property
    def key(self) -> str:
        """Names it for as long as the conversation is shown."""
        return f"r{self.run}" if self.number is None else f"t{self.number}"

    @property
    def began(self) -> int:
        """When, in milliseconds since 1970; 0 where nobody has noted it."""
        return self._entries[0].get("at") or 0 if self._entries else 0

    def entries(self) -> list[Json]:
        """What there is now, oldest first, for reading only."""
        self._write_out()
        return [{"run": self.run, **entry} for entry in self._entries]

    def take(self, kind: str, data: Any, at: int | None = None) -> None:
        """The next thing that has happened in it."""
        if kind in _PIECES:
            self._piece(kind, data, at)
        elif kind == "update":
            self._update(data, at)
        elif kind == "terminal":
            self._output(data, at)
        elif kind != "begun":
            if kind == "steer":
                self._steered.append(data["text"])
            self.whole = self.whole or kind == "prompt"
            self.over = self.over or kind == "end"
            self._put(kind, data, at)

    def prompted(self, text: str) -> bool:
        """A further part of its prompt; False where something was said to it already."""
        if len(self._entries) != 1 or self._entries[0]["kind"] != "prompt":
            return False
        self._entries[0]["data"] = {"text": f"{self._entries[0]['data']['text']}\n{text}"}
        return True

    def copy(self) -> "Turn":
        """Another one of the same entries."""
        turn = Turn(self.run, self.number)
        for entry in self.entries():
            turn.take(entry["kind"], entry["data"], entry.get("at"))
        return turn

    def taken_up(self, other: "Turn") -> None:
        """What the rest of it, folded elsewhere, has that no transcript keeps."""
        kept = {"question", "answered", "form", "filled", "call", "called"} | (set() if self.over else {"end"})
        for entry in other.entries():
            if entry["kind"] in kept:
                self._put(entry["kind"], entry["data"], entry.get("at"))

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _put(self, kind: str, data: Any, at: int | None) -> Json:
        self._write_out()
        self._speaking = False
        entry: Json = {"kind": kind, "data": data}
        if at is not None:
            entry["at"] = at
        self._entries.append(entry)
        return entry

    def _piece(self, kind: str, piece: str, at: int | None) -> None:
        if not self._speaking or self._entries[-1]["kind"] != kind:
            piece = piece.removeprefix(BETWEEN)
            self._begin(kind, at)
        elif self._length >= LONG and (self._line_over or self._length >= 2 * LONG):
            self._begin(kind, at)
        self._said.add(piece)
        self._length += len(piece)
        self._line_over = piece.endswith("\n")

    def _begin(self, kind: str, at: int | None) -> None:
        self._put(kind, "", at)
        self._speaking = True
        self._length = 0

    def _write_out(self) -> None:
        """Gives the message that is being said what was said of it."""
        if self._speaking and (said := str(self._said)):
            self._entries[-1]["data"] += said
            self._said = Growing()

    def _update(self, update: Json, at: int | None) -> None:
        kind = update.get("sessionUpdate")
        if kind in ("tool_call", "tool_call_update"):
            self._call(update, str(update.get("toolCallId", "")), at)
        elif kind in _LATEST:
            known = self._latest.get(str(kind))
            if known is None:
                self._latest[str(kind)] = self._put("update", update, at)
            else:
                known["data"] = update
        elif kind == "user_message_chunk":
            self._joined(text_of(update.get("content")), at)
        elif kind not in _LEFT_OUT:
            self._put("update", update, at)

    def _call(self, update: Json, call_id: str, at: int | None) -> None:
        told = {name: value for name, value in update.items() if value is not None and name != "_meta"}
        known = self._calls.get(call_id)
        if known is None:
            entry = self._put("update", told | {"sessionUpdate": "tool_call"}, at)
            self._calls[call_id] = entry
        else:
            known["data"] = {**known["data"], **told, "sessionUpdate": "tool_call"}

    def _output(self, data: Json, at: int | None) -> None:
        known = self._terminals.get(data["terminalId"])
        if known is None:
            known = self._terminals[data["terminalId"]] = self._put("terminal", dict(data), at)
        else:
            known["data"] = {**known["data"], **data, "data": known["data"]["data"] + data["data"]}
        if len(known["data"]["data"]) > TERMINAL_CHARACTERS:
            known["data"] |= {"data": known["data"]["data"][-TERMINAL_CHARACTERS:], "cut": True}

    def _joined(self, text: str, at: int | None) -> None:
        """A message that the agent has taken into the turn: it was shown when it was sent, where that was here."""
        if text in self._steered:
            self._steered.remove(text)
        elif text:
            self._put("steer", {"text": text}, at)


class Past:
    """The turns of a transcript, entry by entry. `last` is the number of the newest entry that was taken."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.last = 0
        self._waiting: dict[int, Turn] = {}
        self._by_number: dict[int, Turn] = {}
        self._replayed: Turn | None = None
        self._offered: dict[str, list[Json]] = {}
        self._at: int | None = None

    def take(self, number: int, entry: Json) -> None:
        """The next entry. Those of unknown types mean nothing."""
        self.last = number
        if "at" in entry:
            self._at = round(entry["at"] * 1000)
        kind, turn = entry.get("type"), self._by_number.get(entry.get("turn") or 0)
        if kind == "prompt":
            turn = self._by_number[number] = self._waiting[number] = Turn(f"t{number}", number)
            turn.take("prompt", prompt_of(entry.get("blocks") or ()), self._at)
        elif kind == "update":
            self._update(number, entry, turn)
        elif kind == INJECTED:
            self._alone(number).take("injected", {"text": _said_in(entry["message"])}, self._at)
        elif turn is None:
            return
        elif kind == "begun":
            self._listed(turn)
        elif kind == RUN:
            turn.run = entry["run"]
        elif kind == TERMINAL:
            turn.take("terminal", {name: entry[name] for name in ("terminalId", "data", "cut") if name in entry})
        elif kind == "asked":
            self._offered[str(entry.get("id"))] = entry.get("options") or []
        elif kind == "decided":
            offered = self._offered.pop(str(entry.get("id")), [])
            for one, data in _decided(entry, offered) if entry.get("by") == "person" else ():
                turn.take(one, data, self._at)
        elif kind == "ended":
            self._listed(turn)
            turn.take("end", _ended(entry), self._at)

    def _listed(self, turn: Turn) -> None:
        if turn.number is not None and self._waiting.pop(turn.number, None) is not None:
            self.turns.append(turn)

    def _alone(self, number: int) -> Turn:
        turn = Turn(f"t{number}", number)
        turn.over = True
        self.turns.append(turn)
        return turn

    def _update(self, number: int, entry: Json, turn: Turn | None) -> None:
        update = entry.get("update") or {}
        if entry.get("replayed"):
            turn = self._of_the_past(number, update)
            if turn is None:
                return
        if turn is None:
            return
        kind, text = update.get("sessionUpdate"), text_of(update.get("content"))
        if kind == "agent_message_chunk" and text:
            turn.take("text", text, self._at)
        elif kind == "agent_thought_chunk" and text:
            turn.take("thought", text, self._at)
        elif kind not in ("agent_message_chunk", "agent_thought_chunk"):
            turn.take("update", update, self._at)

    def _of_the_past(self, number: int, update: Json) -> Turn | None:
        """The turn that an update belongs to with which an agent tells a conversation that it has had; None: taken."""
        asked = update.get("sessionUpdate") == "user_message_chunk"
        if asked and self._replayed is not None and self._replayed.prompted(text_of(update.get("content"))):
            return None
        if self._replayed is None or asked:
            self._replayed = self._alone(number)
        if asked:
            self._replayed.take("prompt", {"text": text_of(update.get("content"))}, self._at)
        return None if asked else self._replayed


def recent(entries: Iterable[Entry], turns: dict[str, Turn]) -> None:
    """Takes further entries of a feed into `turns`, the runs' by their ids, in the order in which they came."""
    for entry in entries:
        if not entry.run:
            continue
        turn = turns.get(entry.run)
        if turn is None:
            turn = turns[entry.run] = Turn(entry.run)
        at = entry.data.get("at") if isinstance(entry.data, dict) else None
        turn.take(entry.kind, entry.data, at)


def joined(past: Past, told: Mapping[str, Turn], live: Container[str], interrupted: Json) -> list[Turn]:
    """The whole conversation: every turn once, from the feed (`told`) where that has all of it, else from the past.

    `live` are the runs that go on. A turn of the past that has no end and does not go on was cut off: `interrupted` is
    the error that it is shown with.
    """
    kept = {turn.run: turn for turn in past.turns}
    rest = [turn for turn in past.turns if turn.run not in told]
    shown: list[Turn] = []
    for run, turn in told.items():
        twin = kept.get(run)
        while rest and _before(rest[0], turn, twin):
            shown.append(rest.pop(0))
        shown.append(turn if twin is None else _chosen(turn, twin))
    return [turn if turn.over or turn.run in live else _cut_off(turn, interrupted) for turn in (*shown, *rest)]


def _before(past: Turn, told: Turn, twin: Turn | None) -> bool:
    """Whether a turn that only the past knows comes before one of the feed, which may not be in the transcript yet."""
    if twin is None:
        return past.began <= told.began
    return (past.number or 0) < (twin.number or 0)


def _chosen(told: Turn, kept: Turn) -> Turn:
    """The turn as the feed has it, where it has the beginning too."""
    if told.whole:
        return told
    turn = kept.copy()
    turn.taken_up(told)
    return turn


def _cut_off(turn: Turn, error: Json) -> Turn:
    shown = turn.copy()
    shown.take("end", {"state": "error", "error": error})
    return shown


def _ended(entry: Json) -> Json:
    if error := entry.get("error"):
        return {"state": "error", "error": {"code": error.get("kind", ""), "message": error.get("message", "")}}
    reason = entry.get("stopReason")
    if reason == "cancelled":
        return {"state": "aborted", "stopReason": reason}
    return {"state": "ok"} if reason in (None, "end_turn") else {"state": "ok", "stopReason": reason}


def _decided(entry: Json, offered: list[Json]) -> list[tuple[str, Json]]:
    """What a person was asked and has answered, as far as the record keeps it; `offered` are the options they had."""
    argv = entry.get("argv") or []
    about = {name: entry.get(name) for name in ("kind", "title", "paths", "protected", "toolCallId")}
    command = shlex.join(argv) if argv else entry.get("title") or entry.get("kind")
    request = {"command": command, "cwd": entry.get("cwd"), "_ars": {**about, "options": offered}}
    picked = next((it for it in offered if it.get("optionId") == entry.get("option")), None)
    decision = MEANING.get((picked or {}).get("kind", ""), "allow-once" if entry.get("allowed") else "deny")
    answered = {"id": entry.get("id"), "decision": decision, "resolvedBy": entry.get("who")}
    answered |= {"_ars": {"optionId": picked["optionId"]}} if picked else {}
    return [("question", {"id": entry.get("id"), "request": request}), ("answered", answered)]


def _said_in(message: Json) -> str:
    return "\n\n".join(part["text"] for part in message.get("content") or () if part.get("type") == "text")
