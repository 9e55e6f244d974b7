"""What an agent's updates are for the clients of a run: pieces of text, tool calls, and the text of it all. Pure.

Updates are what stands on the wire, unread: what is not of the shape that it should be of is passed over.
"""

from typing import Any

Json = dict[str, Any]
Event = tuple[str, Json]
# Between two messages of a run, so that one's last word is not the other's first.
BETWEEN = "\n\n"


class Growing:
    """A text that grows by small pieces: joined when somebody wants to see it, not at each of them."""

    __slots__ = ("_pieces",)

    def __init__(self) -> None:
        self._pieces: list[str] = []

    def add(self, piece: str) -> None:
        """Puts `piece` at the end."""
        self._pieces.append(piece)

    def __str__(self) -> str:
        if len(self._pieces) != 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0]


class Halves:
    """Agents that count as UTF-16 does may cut a character in two: its halves are put together again."""

    def __init__(self) -> None:
        # The first half that waits for its second one, and the kind of update that it was in.
        self._left = self._kind = ""

    def joined(self, update: Json) -> Json | None:
        """The update with what was left of the one before it; None where nothing but a first half has come."""
        kind, text = update.get("sessionUpdate"), text_of(update.get("content"))
        left, self._left = self._left if kind == self._kind else "", ""
        if not text or (text[-1] < "\ud800" and not left):
            return update
        text = left + text
        if "\ud800" <= text[-1] <= "\udbff":
            self._left, self._kind, text = text[-1], str(kind), text[:-1]
        whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return {**update, "content": {**update["content"], "text": whole}} if whole else None


class Story:
    """The telling of one run.

    Its `text` only ever grows: a client that has shown a part of it shows the rest. A message ends where the agent does
    something else.
    """

    def __init__(self) -> None:
        self.size = 0  # of the text, in characters
        self._text = Growing()
        self._messages: list[Growing] = []
        self.usage: Json = {}
        # The tokens of all replies that were counted, each with the context that it stood in.
        self.tokens = 0
        self._open = False
        self._thought = Growing()
        self._calls: dict[str, Json] = {}
        self._titles: dict[str, str] = {}

    @property
    def text(self) -> str:
        """All that was said."""
        return str(self._text)

    @property
    def thought(self) -> str:
        """All that was thought."""
        return str(self._thought)

    @property
    def messages(self) -> list[str]:
        """The same, message by message."""
        return [str(message) for message in self._messages]

    def take(self, update: Json) -> list[Event]:
        """The agent events of an update: stream and data, in order. Where data has a `delta`, its `text` is `Growing`:
        one object for each message, and for all thoughts."""
        kind = update.get("sessionUpdate")
        if kind == "agent_message_chunk":
            return self._said(text_of(update.get("content")))
        if kind == "agent_thought_chunk":
            return self._thinking(text_of(update.get("content")))
        if kind in ("tool_call", "tool_call_update"):
            self._open = False
            return self._called(update, str(update.get("toolCallId", "")))
        if kind == "plan":
            return [("plan", {"entries": update.get("entries") or []})]
        if kind == "user_message_chunk":
            self._open = False
        elif kind == "usage_update":
            self.usage = {name: update[name] for name in ("used", "size", "cost") if update.get(name) is not None}
            self.tokens += self.usage.get("used", 0)
        return []

    def _said(self, piece: str) -> list[Event]:
        if not piece:
            return []
        if not self._open:
            self._open = True
            self._messages.append(Growing())
            if self.size and not self.text.endswith("\n"):
                self._add(BETWEEN)
        self._add(piece)
        self._messages[-1].add(piece)
        return [("assistant", {"text": self._messages[-1], "delta": piece})]

    def _add(self, piece: str) -> None:
        self._text.add(piece)
        self.size += len(piece)

    def _thinking(self, piece: str) -> list[Event]:
        self._thought.add(piece)
        return [("thinking", {"text": self._thought, "delta": piece})] if piece else []

    def _called(self, call: Json, call_id: str) -> list[Event]:
        events: list[Event] = []
        known = self._calls.get(call_id)
        if known is None:
            known = self._calls[call_id] = {"name": tool_name(call), "toolCallId": call_id}
            args = call.get("rawInput")
            events.append(("tool", {"phase": "start", **known, "args": args if isinstance(args, dict) else {}}))
        if call.get("title"):
            self._titles[call_id] = call["title"]
        content = shown(call)
        if call.get("status") in ("completed", "failed"):
            meta = {"meta": self._titles[call_id]} if call_id in self._titles else {}
            ended = {"phase": "result", **known, **meta}
            ended |= {"isError": call["status"] == "failed", "result": {"content": content}}
            events.append(("tool", ended))
        elif content and not events:
            events.append(("tool", {"phase": "update", **known, "partialResult": {"content": content}}))
        return events


def tool_name(call: Json) -> str:
    """What a tool is called, where the agent tells it; else what kind it is."""
    return str(call.get("name") or call.get("kind") or "other")


def text_of(content: Any) -> str:
    """The text of a content block; empty where it is none."""
    text = content.get("text") if isinstance(content, dict) and content.get("type") == "text" else None
    return text if isinstance(text, str) else ""


def shown(call: Json) -> list[Json]:
    """What a tool call shows, as the content of a result."""
    found: list[Json] = []
    for item in call.get("content") or ():
        kind = item.get("type") if isinstance(item, dict) else None
        if kind == "content" and (text := text_of(item.get("content"))):
            found.append({"type": "text", "text": text})
        elif kind == "diff":
            found.append({name: item.get(name) for name in ("type", "path", "oldText", "newText")})
        elif kind == "terminal":
            found.append({"type": "terminal", "terminalId": item.get("terminalId")})
    raw = call.get("rawOutput")
    return found or ([{"type": "text", "text": raw}] if isinstance(raw, str) and raw else [])
