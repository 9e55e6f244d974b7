"""What clients are told of a run: events `agent` and `chat`, numbered, as the agent says and does things."""

import asyncio
from typing import Any, Literal, Protocol

from ars_gateway.sessions.ledger import Entry, now
from ars_gateway.sessions.rooms import Room
from ars_gateway.sessions.story import Growing, Story

Json = dict[str, Any]
Audience = Literal["all", "tools"]

DELTA_SECONDS = 0.15
# A piece of a message is told with the whole message so far: what is long is told less often, so that its bytes do not
# grow with the square of its length. So many characters a second, for each run.
PIECES_PER_SECOND = 4_000_000


class Tell(Protocol):
    """How clients are told of a run."""

    def __call__(self, event: str, payload: Json, *, principal: str, droppable: bool, audience: Audience) -> None: ...


class Telling:
    """The events of one run. `seq` numbers them; what a client cannot see leaves a hole.

    `key` is the session's as its client wrote it.
    """

    def __init__(self, run: str, key: str, room: Room, tell: Tell) -> None:
        self.story = Story()
        self.seq = 0
        self._run = run
        self._key = key
        self._room = room
        self._tell = tell
        # When the text was last shown in a chat event; what is to be told next of the message that grows, and when.
        self._shown_at = float("-inf")
        self._showing: asyncio.TimerHandle | None = None
        self._piece: tuple[str, Growing, list[str]] | None = None
        self._piece_due = float("-inf")
        self._saying: asyncio.TimerHandle | None = None

    def begun(self, at: int) -> None:
        """The agent is at it."""
        self._agent("lifecycle", {"phase": "start", "startedAt": at})

    def take(self, update: Json) -> None:
        """The agent has said or done something: an update as it stands on the wire (`raw`)."""
        grown = self.story.size
        for stream, data in self.story.take(update):
            if "delta" in data:
                self._grow(stream, data["text"], data["delta"])
            else:
                self._say()
                self._agent(stream, data)
        if self.story.size > grown:
            self._delta()

    def ended(self, entry: Entry) -> None:
        """How it has ended, after what was still to be told."""
        if self._showing is not None:
            self._showing.cancel()
        self._say()
        if self.story.text:
            # The whole text once more, for clients that take it from deltas alone and may have been sent none of late.
            self._chat("delta", {"message": message(self.story.text)})
        reason = entry.outcome.get("stopReason")
        more = {"stopReason": reason} if reason else {}
        if entry.state == "ok":
            self._agent("lifecycle", {"phase": "end", "endedAt": entry.ended})
            self._chat("final", {"message": message(self.story.text), **more})
        elif entry.state == "error":
            text = entry.outcome["error"]["message"]
            self._agent("lifecycle", {"phase": "error", "error": text, "endedAt": entry.ended})
            self._chat("error", {"errorMessage": text})
        else:
            if entry.method == "agent":
                self._agent("lifecycle", {"phase": "end", "aborted": True, "endedAt": entry.ended})
            else:
                self.seq += 1
            self._chat("aborted", more)

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _grow(self, stream: str, text: Growing, delta: str) -> None:
        """A further piece of a message or a thought: told now, or joined to what is to be told soon."""
        if self._piece is not None:
            if text is self._piece[1]:
                self._piece[2].append(delta)
                return
            self._say()
        self._piece = stream, text, [delta]
        loop = asyncio.get_running_loop()
        if self._piece_due <= loop.time():
            self._say()
        else:
            self._saying = loop.call_at(self._piece_due, self._say)

    def _say(self) -> None:
        """Tells the piece that waits, if one does."""
        if self._saying is not None:
            self._saying.cancel()
            self._saying = None
        if self._piece is not None:
            (stream, growing, deltas), self._piece = self._piece, None
            text = str(growing)
            self._piece_due = asyncio.get_running_loop().time() + len(text) / PIECES_PER_SECOND
            self._agent(stream, {"text": text, "delta": "".join(deltas)})

    def _delta(self) -> None:
        """Shows the text so far, unless that was done a moment ago: then when the moment is over."""
        if self._showing is not None:
            return
        loop = asyncio.get_running_loop()
        due = self._shown_at + max(DELTA_SECONDS, self.story.size / PIECES_PER_SECOND)
        if due <= loop.time():
            self._show()
        else:
            self._showing = loop.call_at(due, self._show)

    def _show(self) -> None:
        self._showing = None
        self._shown_at = asyncio.get_running_loop().time()
        self._chat("delta", {"message": message(self.story.text)}, droppable=True)

    def _agent(self, stream: str, data: Json) -> None:
        self.seq += 1
        audience: Audience = "tools" if stream != "assistant" and self._quiet(stream) else "all"
        payload: Json = {"runId": self._run, "stream": stream, "data": data, "sessionKey": self._key}
        payload |= {"seq": self.seq, "ts": now()}
        self._tell("agent", payload, principal=self._room.principal, droppable=False, audience=audience)

    def _chat(self, state: str, more: Json, *, droppable: bool = False) -> None:
        payload = {"runId": self._run, "sessionKey": self._key, "seq": self.seq, "state": state, **more}
        self._tell("chat", payload, principal=self._room.principal, droppable=droppable, audience="all")

    def _quiet(self, stream: str) -> bool:
        """Whether the session shows that stream only to clients that ask for it by themselves."""
        if stream in ("tool", "plan"):
            return self._room.facts.get("verboseLevel") not in ("on", "full")
        return stream == "thinking" and self._room.facts.get("reasoningLevel") not in ("on", "stream")


def message(text: str) -> Json:
    """A chat message of the agent."""
    return {"role": "assistant", "content": [{"type": "text", "text": text}], "timestamp": now()}


def raw(update: Any) -> Json:
    """An update as it stood on the wire; what comes most often without a detour."""
    if update.session_update == "agent_message_chunk" and update.content.type == "text":
        return {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": update.content.text}}
    told: Json = update.model_dump(by_alias=True, exclude_none=True)
    return told
