"""A session: its log, and what is folded from it.

Entries of the log, by `type` (each carries `at`, milliseconds of Unix time, but for the pieces of a reply):

    session      cwd, directories, mode, version    the first entry
    prompt       content (ACP blocks), text         what the person said; `text` is what can be read of it
    heard        content, text                      the same, said while a turn was running, when it came
    steer        content, text                      the same again, where it joined the turn
    thought      text, message?                     one piece of reasoning, as the client saw it; the first piece of
                                                    a reply says the number in the ids of its messages
    text         text, message?                     the same of the reply itself
    update       update                             any other session/update: tool calls, plans, notices
    reply        finish, calls, usage, model, ...   a reply has ended; calls are {id, name, arguments}; usage is
                                                    {input, output, cached?, thought?, cost? {amount, currency}}
    result       id, ok, text, code                 what the model reads of one tool call
    interrupted  reason, partialChars               a reply did not end; what was shown of it is kept
    turn         stop                               the prompt was answered
    command      content, text                      what the person said to the agent itself; no model reads it
    compaction   id, summary, kept, model, usage    the summary stands for all that was before; kept of the running turn
                                                    are its messages ("turn"), its prompt ("prompt") or "nothing"
    files        call, changes                      what that call is about to change: {path, before, after, moveTo?};
                                                    before is text, null for a new file, left out where it was too long
                                                    or unknown; after a hash, null for a deletion
    handed       call                               the client is about to carry that call out itself
    rewind       to, through                        the entries above `to`, up to `through`, count no more
    ack          seq                                the client has all updates up to that number
    config       id, value                          an option was chosen: mode, model, ...
    title        title                              what lists call the session

A session that is opened again elsewhere gets another `session` entry; the last one counts.
"""

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import anyio

from acp_wire.connection import Call
from ars_acp.blocks import message_content
from ars_acp.kept import KeptLog
from ars_acp.rewind import Numbered, stands

if TYPE_CHECKING:
    from ars_acp.compaction import Size
    from ars_acp.mcp_servers import McpServers
    from ars_acp.recovery import Recovered
    from ars_acp.steering import Inbox
    from ars_acp.tools.roots import Roots

VERSION = 1
UNKNOWN = "nothing was recorded of its end"
Entry = dict[str, Any]
SUMMARY = "This conversation was summed up, because it had become long. What was said and done before:\n\n"
# Many models' templates want the person and the assistant to take turns.
UNDERSTOOD = {"role": "assistant", "content": "I know where we are."}


class Unreadable(Exception):
    """A stored session that this version cannot take up. Its text is one line, fit for a person."""


class History:
    """The model's messages, folded from the entries: OpenAI chat format, oldest first, without the system prompt."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self._text: list[str] = []
        self._thought: list[str] = []
        self._turn_began = 0
        # The calls of the last reply, by id: which of them came first; and those without a result.
        self._calls: dict[str, int] = {}
        self._open: set[str] = set()

    def apply(self, entry: Entry) -> None:
        """Takes one entry, in the order of the log."""
        match entry["type"]:
            case "text":
                self._text.append(entry["text"])
            case "thought":
                self._thought.append(entry["text"])
            case "prompt" | "steer" as kind:
                if kind == "prompt":
                    self._close_what_is_open()
                    self._turn_began = len(self.messages)
                self.messages.append({"role": "user", "content": message_content(entry)})
            case "reply":
                self._close_reply(entry["calls"])
            case "command":
                self._close_what_is_open()
            # A call of the person's own, by a command, is none that the model has made.
            case "result" if entry["id"] in self._open:
                self._place(entry["id"], entry["text"])
            case "interrupted":
                self._text.append(f"\n[This reply was interrupted: {entry['reason']}]")
                self._close_reply([])
            case "turn" if entry["stop"] == "refusal":
                # The protocol drops a refused prompt and all that came after it from the next one.
                del self.messages[self._turn_began :]
                self._open.clear()
            case "compaction":
                self._compact(entry["summary"], entry["kept"])

    def messages_of_turn(self) -> list[dict[str, Any]]:
        """What has been said since the last prompt, that included."""
        return self.messages[self._turn_began :]

    def in_reply(self) -> bool:
        """Whether a reply has begun that has no end."""
        return bool(self._text or self._thought)

    def unanswered(self) -> list[str]:
        """The calls of the last reply that have no result, in their order."""
        return sorted(self._open, key=self._calls.__getitem__)

    def partial_chars(self) -> int:
        """How much of the reply under way has been shown."""
        return sum(map(len, self._text))

    def _close_what_is_open(self) -> None:
        """What a turn left behind whose process died or whose disk was full: no model takes half a conversation."""
        if self._text or self._thought:
            self._text.append(f"\n[This reply was interrupted: {UNKNOWN}]")
            self._close_reply([])
        for call_id in self.unanswered():
            self._place(call_id, f"Not finished: {UNKNOWN}. Its outcome is unknown.")

    def _place(self, call_id: str, text: str) -> None:
        """Adds a result where its call stands, whichever ended first: many models' templates show no ids."""
        at = len(self.messages)
        place = self._calls.get(call_id, at)
        while at and self._calls.get(self.messages[at - 1].get("tool_call_id", ""), -1) > place:
            at -= 1
        self.messages.insert(at, {"role": "tool", "tool_call_id": call_id, "content": text})
        self._open.discard(call_id)

    def _compact(self, summary: str, kept: str) -> None:
        running = self.messages_of_turn()
        stay = running if kept == "turn" else running[:1] if kept == "prompt" else []
        self.messages = [{"role": "user", "content": SUMMARY + summary}, UNDERSTOOD, *stay]
        self._turn_began = 2
        if kept != "turn":
            self._calls = {}
            self._open.clear()

    def _close_reply(self, calls: list[dict[str, Any]]) -> None:
        text, thought = "".join(self._text), "".join(self._thought)
        self._text.clear()
        self._thought.clear()
        self._calls = {call["id"]: position for position, call in enumerate(calls)}
        self._open = set(self._calls)
        message: dict[str, Any] = {"role": "assistant", "content": text or None}
        if thought:
            message["reasoning_content"] = thought
        if calls:
            message["tool_calls"] = [
                {
                    "id": call["id"],
                    "type": "function",
                    "function": {"name": call["name"], "arguments": call["arguments"]},
                }
                for call in calls
            ]
        if text or calls:
            self.messages.append(message)


@dataclass(eq=False)
class Facts:
    """What else is folded from the entries."""

    cwd: str = "/"
    directories: tuple[str, ...] = ()
    title: str | None = None
    config: dict[str, str | bool] = field(default_factory=dict)
    prompts: int = 0
    first_prompt: str = ""
    in_turn: bool = False
    # Tokens of the last reply that was counted, the question's and its own.
    used: int | None = None
    # The last number up to which a client said that it has all updates.
    acknowledged: int = 0
    _costs: dict[str, float] = field(default_factory=dict)
    _currency: str = ""

    @property
    def cost(self) -> tuple[float, str] | None:
        """What all replies with a price have cost, in the currency of the last one."""
        return (self._costs[self._currency], self._currency) if self._currency else None

    def apply(self, entry: Entry) -> None:
        """Takes one entry that is not a piece of a reply, in the order of the log."""
        match entry["type"]:
            case "session":
                self.cwd, self.directories = entry["cwd"], tuple(entry["directories"])
            case "prompt":
                self.prompts += 1
                self.in_turn = True
                if not self.first_prompt:
                    texts = (block["text"] for block in entry.get("content", ()) if block.get("type") == "text")
                    self.first_prompt = next(texts, "")[:2000]
            case "command":
                self.in_turn = True
            case "reply" if "usage" in entry:
                self.used = entry["usage"]["input"] + entry["usage"]["output"]
                self._pay(entry["usage"])
            case "compaction" if "usage" in entry:
                self._pay(entry["usage"])
            case "turn":
                self.in_turn = False
            case "config":
                self.config[entry["id"]] = entry["value"]
            case "title":
                self.title = entry["title"]
            case "ack":
                self.acknowledged = entry["seq"]

    def apply_taken_back(self, entry: Entry) -> None:
        """As `apply`, for an entry that a rewind has taken back: what was chosen stays, and what was paid."""
        if entry["type"] in ("session", "config", "title", "ack"):
            self.apply(entry)
        elif "usage" in entry:
            self._pay(entry["usage"])

    def _pay(self, usage: dict[str, Any]) -> None:
        if cost := usage.get("cost"):
            self._currency = cost["currency"]
            self._costs[self._currency] = self._costs.get(self._currency, 0.0) + cost["amount"]


@dataclass(eq=False)
class Session:
    """One conversation in one project. `default_mode` holds until a mode is chosen."""

    id: str
    log: KeptLog
    default_mode: str
    history: History = field(default_factory=History)
    facts: Facts = field(default_factory=Facts)
    # Requests for a turn, the running one first; the reader adds to it, so that a cancel finds them all.
    prompts: list[Call] = field(default_factory=list)
    turn: anyio.Lock = field(default_factory=anyio.Lock)
    # The number of the last entry whose update was sent to this client.
    sent: int = 0
    # Of the turn that runs: messages join it there.
    inbox: "Inbox | None" = None
    always_allowed: set[str] = field(default_factory=set)
    instructions: str | None = None
    mcp: "McpServers | None" = None
    # The tools that the client carries out itself: named when it opened the session, or since.
    by_client: frozenset[str] = frozenset()
    # The config options that this client was last told; None until the session was answered.
    told_options: list[dict[str, Any]] | None = None
    # Models of which the person knows that we know nothing of them.
    told_unknown: set[str] = field(default_factory=set)
    # What was closed when the session was opened, until the client has been told.
    recovered: "Recovered | None" = None
    # What rewinds have taken back: entries above the first number, up to the second.
    taken_back: list[tuple[int, int]] = field(default_factory=list)
    # The last number of which the client said that it has it; `facts` know one that is recorded.
    acknowledged: int = 0
    _idle: anyio.Event = field(default_factory=anyio.Event)

    @property
    def mode(self) -> str:
        """What needs permission: a mode of `permissions.MODES`."""
        return str(self.facts.config.get("mode", self.default_mode))

    @cached_property
    def size(self) -> "Size":
        """How many tokens the conversation takes."""
        from ars_acp.compaction import Size

        return Size()

    @cached_property
    def roots(self) -> "Roots":
        """Where the session's tools may reach."""
        from ars_acp.tools.roots import Roots  # late: nothing needs it before the first prompt

        return Roots(self.facts.cwd, self.facts.directories)

    def move(self, cwd: str, directories: Iterable[str]) -> None:
        """Opens the session in these directories, and forgets what was allowed in others."""
        chosen = tuple(directories)
        if (cwd, chosen) != (self.facts.cwd, self.facts.directories):
            self.record(opening_entry(cwd, chosen, self.mode))
            self.always_allowed.clear()
        self.instructions = None
        self.__dict__.pop("roots", None)

    def cancel(self) -> None:
        """Ends the running turn and those that wait behind it."""
        for call in self.prompts:
            call.scope.cancel()

    def prompt_ended(self, call: Call) -> None:
        """A request for a turn is not handled any more; it is answered in this very moment."""
        self.prompts.remove(call)
        if not self.prompts:
            self._idle.set()

    async def idle(self) -> None:
        """Waits until every prompt is answered."""
        if self.prompts:
            self._idle = anyio.Event()
            await self._idle.wait()

    def fold(self, why: str = "the agent's process ended") -> list[Numbered]:
        """Takes up a stored log; what was left open, by reason of `why`, is closed, so that a model accepts it.

        Returns the log's entries, for who wants to show them. Raises `Unreadable` before anything is written, and
        `event_log.LogError`.
        """
        entries = list(self.log.read())
        self.taken_back = self._fold_all(entries, ())
        if self.taken_back:
            self._fold_all(entries, self.taken_back)
        self.sent = last = self.log.last
        if self.facts.in_turn or self.history.in_reply() or self.history.unanswered():
            from ars_acp.recovery import close_what_was_left  # late: most logs were left in order

            self.recovered = close_what_was_left(self, entries, why)
            entries += self.log.read(last)
        return entries

    def _fold_all(self, entries: Iterable[Numbered], taken_back: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Folds the log's entries anew, without what was `taken_back`; returns what rewinds there are."""
        self.history, self.facts = History(), Facts()
        found, number = [], 0
        try:
            for number, entry in entries:
                kind = entry["type"]
                if kind == "rewind":
                    found.append((entry["to"], entry["through"]))
                elif kind == "session" and entry["version"] > VERSION:
                    raise Unreadable(f"it is of a newer version of ARS ({entry['version']}); this one reads {VERSION}")
                if stands(number, taken_back):
                    self._apply(entry)
                else:
                    self.facts.apply_taken_back(entry)
        except (LookupError, TypeError, AttributeError) as exc:
            raise Unreadable(f"entry {number} is not as this version of ARS writes it") from exc
        return found

    def rewind(self, to: int, through: int) -> int:
        """Takes back the entries above `to`, up to `through`; returns the number of the entry that says so."""
        number = self.record({"type": "rewind", "to": to, "through": through})
        self.taken_back.append((to, through))
        self._fold_all(self.log.read(), self.taken_back)
        self.__dict__.pop("size", None)
        self.instructions = None
        return number

    def _apply(self, entry: Entry) -> None:
        self.history.apply(entry)
        self.facts.apply(entry)

    def record(self, *entries: Entry) -> int:
        """Appends to the log, then folds; returns the number of the first. Raises `event_log.LogError`."""
        at = time.time_ns() // 1_000_000
        first = self.log.append([{"at": at, **entry} for entry in entries])
        for entry in entries:
            self._apply(entry)
        return first

    def record_pieces(self, pieces: Sequence[tuple[str, str]], message: int | None = None) -> int:
        """As `record`, for the pieces of a reply: one write for all of them, nothing but what they need in each.

        The first pieces of a reply say the number that the ids of its messages are made of.
        """
        entries: list[Entry] = [{"type": kind, "text": text} for kind, text in pieces]
        if message is not None:
            entries[0]["message"] = message
        first = self.log.append(entries)
        for entry in entries:
            self.history.apply(entry)
        return first

    def next_id(self, prefix: str) -> str:
        """An id that no other thing of this session has, as long as something is recorded between two calls."""
        return f"{prefix}_{self.log.last + 1}"


def new_session_id() -> str:
    """128 random bits, in characters that any store takes as a name."""
    return f"sess_{os.urandom(16).hex()}"


def opening_entry(cwd: str, directories: Iterable[str], mode: str) -> Entry:
    """The first entry of a session's log."""
    return {"type": "session", "version": VERSION, "cwd": cwd, "directories": list(directories), "mode": mode}
