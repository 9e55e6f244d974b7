"""A session: its log, and what is folded from it.

Entries of the log, by `type` (each carries `at`, milliseconds of Unix time, but for the pieces of a reply):

    session      cwd, directories, mode, version    the first entry
    prompt       content (ACP blocks), text         what the person said; `text` is what the model reads
    thought      text                               one piece of reasoning, as the client saw it
    text         text                               one piece of a reply, as the client saw it
    update       update                             any other session/update: tool calls, plans, notices
    reply        finish, calls, usage, seconds      a reply has ended; calls are {id, name, arguments}
    result       id, ok, text, code                 what the model reads of one tool call
    interrupted  reason, partialChars               a reply did not end; what was shown of it is kept
    turn         stop                               the prompt was answered
"""

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import anyio

from acp_wire.connection import Call
from event_log.log import Log

if TYPE_CHECKING:
    from ars_acp.tools.roots import Roots

VERSION = 1
UNKNOWN = "nothing was recorded of its end"
Entry = dict[str, Any]


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
            case "prompt":
                self._close_what_is_open()
                self._turn_began = len(self.messages)
                self.messages.append({"role": "user", "content": entry["text"]})
            case "reply":
                self._close_reply(entry["calls"])
            case "result" if entry["id"] in self._open:
                self._place(entry["id"], entry["text"])
            case "interrupted":
                self._text.append(f"\n[This reply was interrupted: {entry['reason']}]")
                self._close_reply([])
            case "turn" if entry["stop"] == "refusal":
                # The protocol drops a refused prompt and all that came after it from the next one.
                del self.messages[self._turn_began :]
                self._open.clear()

    def partial_chars(self) -> int:
        """How much of the reply under way has been shown."""
        return sum(map(len, self._text))

    def _close_what_is_open(self) -> None:
        """What a turn left behind whose process died or whose disk was full: no model takes half a conversation."""
        if self._text or self._thought:
            self._text.append(f"\n[This reply was interrupted: {UNKNOWN}]")
            self._close_reply([])
        for call_id in sorted(self._open, key=self._calls.__getitem__):
            self._place(call_id, f"Not finished: {UNKNOWN}. Its outcome is unknown.")

    def _place(self, call_id: str, text: str) -> None:
        """Adds a result where its call stands, whichever ended first: many models' templates show no ids."""
        at = len(self.messages)
        place = self._calls.get(call_id, at)
        while at and self._calls.get(self.messages[at - 1].get("tool_call_id", ""), -1) > place:
            at -= 1
        self.messages.insert(at, {"role": "tool", "tool_call_id": call_id, "content": text})
        self._open.discard(call_id)

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
class Session:
    """One conversation in one project."""

    id: str
    cwd: str
    directories: tuple[str, ...]
    log: Log
    mode: str
    history: History = field(default_factory=History)
    # Requests for a turn, the running one first; the reader adds to it, so that a cancel finds them all.
    prompts: list[Call] = field(default_factory=list)
    turn: anyio.Lock = field(default_factory=anyio.Lock)
    # The number of the last entry whose update was sent to this client.
    sent: int = 0
    approved_patches: set[str] = field(default_factory=set)
    always_allowed: set[str] = field(default_factory=set)
    instructions: str | None = None

    @cached_property
    def roots(self) -> "Roots":
        """Where the session's tools may reach."""
        from ars_acp.tools.roots import Roots  # late: nothing needs it before the first prompt

        return Roots(self.cwd, self.directories)

    def record(self, *entries: Entry) -> int:
        """Appends to the log, then folds; returns the number of the first. Raises `event_log.LogError`."""
        at = time.time_ns() // 1_000_000
        first = self.log.append([{**entry, "at": at} for entry in entries])
        for entry in entries:
            self.history.apply(entry)
        return first

    def record_pieces(self, pieces: Sequence[tuple[str, str]]) -> int:
        """As `record`, for the pieces of a reply: one write for all of them, nothing but what they need in each."""
        entries = [{"type": kind, "text": text} for kind, text in pieces]
        first = self.log.append(entries)
        for entry in entries:
            self.history.apply(entry)
        return first

    def next_id(self, prefix: str) -> str:
        """An id that no other thing of this session has, as long as something is recorded between two calls."""
        return f"{prefix}_{self.log.last + 1}"


def new_session_id() -> str:
    """128 random bits, in characters that any store takes as a name."""
    return f"sess_{secrets.token_hex(16)}"


def opening_entry(cwd: str, directories: Iterable[str], mode: str) -> Entry:
    """The first entry of a session's log."""
    return {"type": "session", "version": VERSION, "cwd": cwd, "directories": list(directories), "mode": mode}
