"""What the entries of a record mean: the turns of a conversation, and where it stands."""

from collections.abc import Iterable, Sequence
from typing import Any

from acp_wire import methods
from acp_wire.errors import RpcError
from connector.client import Update
from connector.content import joined
from connector.errors import ConnectorError, NotSent, TurnInterrupted
from connector.turn import Turn, seq_of, shown

Entry = dict[str, Any]


class Folded:
    """The entries of a record, taken one after the other.

    `turns` are those that were begun or have ended, in that order; `waiting` the prompts that neither began nor ended,
    by their ids. `session_id` is the agent's, None before it has one. `told` is whether that session of the agent has
    been sent anything that it kept, `lost` whether it took the place of one that the agent had lost. `seq` is the last
    number that the agent gave to an update, None where it gives none. `asked` are the questions without a decision, by
    id.
    """

    def __init__(self, agent: str = "") -> None:
        self.agent = agent
        self.turns: list[Turn] = []
        self.waiting: dict[int, Turn] = {}
        self.session_id: str | None = None
        self.told = False
        self.lost = False
        self.seq: int | None = None
        self.asked: dict[str, Entry] = {}
        self._by_id: dict[int, Turn] = {}

    def take(self, number: int, entry: Entry) -> None:
        """One more entry. Those of a kind that is not known mean nothing here."""
        match entry.get("type"):
            case "update":
                self._update(number, entry)
            case "prompt":
                turn = Turn(entry["blocks"], id=number, priority=entry.get("priority", 0))
                self._by_id[number] = self.waiting[number] = turn
            case "begun":
                self._begun(entry["turn"])
            case "steered":
                self._by_id[entry["turn"]].steered += entry["blocks"]
            case "ended":
                self._ended(entry)
            case "opened":
                self.session_id = entry["sessionId"]
                if entry.get("how") in ("new", "recreated"):
                    self.told, self.lost, self.seq = False, entry["how"] == "recreated", None
            case "asked":
                self.asked[entry["id"]] = entry
            case "decided":
                self.asked.pop(entry.get("id", ""), None)

    @property
    def running(self) -> list[Turn]:
        """Begun and without an end: one, where nothing went wrong twice."""
        return [turn for turn in self.turns if turn.state == "running"]

    @property
    def queued(self) -> list[Turn]:
        """What waits, the next one first."""
        return sorted(self.waiting.values(), key=lambda turn: -turn.priority)

    def _begun(self, turn_id: int) -> None:
        turn = self._by_id[turn_id]
        if self.waiting.pop(turn_id, None) is not None:
            self.turns.append(turn)
        turn.state = "running"
        self.told = True

    def _ended(self, entry: Entry) -> None:
        turn = self._by_id[entry["turn"]]
        if self.waiting.pop(turn.id, None) is not None:
            self.turns.append(turn)
        elif entry["stopReason"] == "refusal" and len(self.turns) == 1:
            self.told = False
        turn.withdrawn = entry.get("withdrawn", False)
        turn.end(entry["stopReason"], self._failure(entry.get("error"), turn))

    def _failure(self, error: Entry | None, turn: Turn) -> ConnectorError | None:
        if error is None:
            return None
        match error["kind"]:
            case "TurnInterrupted":
                return TurnInterrupted(self.agent, turn.text)
            case "NotSent":
                return NotSent(self.agent)
        return ConnectorError(self.agent, error["message"].removeprefix(f"{self.agent}: "))

    def _update(self, number: int, entry: Entry) -> None:
        if (update := as_read(entry["update"])) is None:
            return
        if (seq := seq_of(update)) is not None:
            self.seq = seq
        if entry.get("replayed"):
            replayed(self.turns, update, number)
        elif (turn := self._by_id.get(entry["turn"])) is not None:
            turn.recall(update, late=entry.get("late", False))


def as_read(update: Entry) -> Update | None:
    """An update of a record, read; None for a kind that is not known, or is read differently by now."""
    try:
        found = methods.SESSION_UPDATE.params({"sessionId": "", "update": update}).update
    except RpcError:
        return None
    return None if type(found).__name__ == "UnknownUpdate" else found


def folded(entries: Iterable[tuple[int, Entry]], agent: str = "") -> Folded:
    """All of `entries`."""
    found = Folded(agent)
    for number, entry in entries:
        found.take(number, entry)
    return found


def replayed(turns: list[Turn], update: Any, number: int) -> None:
    """Adds an update of the past to the turns that it and those before it make up."""
    asked = update.session_update == "user_message_chunk"
    last = turns[-1] if turns else None
    if last is None or (asked and last.state == "done" and last.said_something()):
        last = Turn([], id=number)
        last.end(None)
        turns.append(last)
    if asked:
        last.prompt[:] = joined(last.prompt, update.content.model_dump(by_alias=True, exclude_none=True))
    else:
        last.fold(update)


BEGINNING = "You have lost the conversation so far. This is what was said; go on from here.\n\n"
LEFT_OUT = "[{} earlier exchanges left out]\n\n"


def recap(turns: Sequence[Turn], limit_chars: int) -> str:
    """The conversation as text for an agent that has lost it: the newest exchanges that fit; "" for none."""
    told = [text for turn in turns if (text := _exchange(turn))]
    if not told:
        return ""
    room = limit_chars - len(BEGINNING) - len(LEFT_OUT) - 10
    kept: list[str] = []
    for text in reversed(told):
        if len(text) + 2 > room:
            break
        room -= len(text) + 2
        kept.insert(0, text)
    if not kept:
        kept = [f"[…] {told[-1][-max(room - 10, 0) :]}"]
    left_out = len(told) - len(kept)
    return BEGINNING + (LEFT_OUT.format(left_out) if left_out else "") + "\n\n".join(kept)


def _exchange(turn: Turn) -> str:
    if turn.state != "done" or turn.unsent:
        return ""
    said = turn.exchange()
    parts = [f"User: {text}" for text in (said.prompt, shown(turn.steered)) if text]
    parts += [f"[{call.title or 'tool call'}: {call.status or 'not finished'}]" for call in said.tool_calls]
    if said.response:
        parts.append(f"Assistant: {said.response}")
    if said.error:
        parts.append("[this reply was interrupted]")
    return "\n\n".join(parts)
