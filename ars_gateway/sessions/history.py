"""A transcript as chat.history shows it: a fold over the entries of a connector's record. Pure."""

from collections.abc import Iterable
from typing import Any

from ars_gateway.protocol.frames import encoded
from ars_gateway.sessions.story import Growing, shown, text_of, tool_name

Json = dict[str, Any]
# What chat.inject adds to a record: something that stands in the conversation without anybody having been asked.
INJECTED = "injected"
# The mark of a prompt's block that nobody wrote to be read: instructions, what was injected before.
BEHIND = "ars/behind"
_ENDS = {"end_turn": "stop", "max_tokens": "length", "cancelled": "aborted"}


class History:
    """The messages of a transcript: user, assistant and toolResult. Entries of unknown types mean nothing.

    Updates have no time of their own: theirs is that of the last entry which has one.
    """

    def __init__(self) -> None:
        self._messages: list[Json] = []
        self._prompts: dict[int, Json] = {}
        self._reply: Json | None = None
        # The block that is being said, and what of it came since somebody looked.
        self._block: Json = {}
        self._said_since = Growing()
        self._calls: dict[str, Json] = {}
        self._at = 0

    def take(self, number: int, entry: Json) -> None:
        """The next entry."""
        if "at" in entry:
            self._at = round(entry["at"] * 1000)
        match entry.get("type"):
            case "prompt":
                self._prompts[number] = user(entry.get("blocks") or [], self._at)
            case "begun":
                self._begun(entry.get("turn", 0))
            case "update":
                self._update(entry.get("update") or {})
            case "ended":
                self._ended(entry)
            case "injected":
                self._close(None)
                self._messages.append(entry["message"])

    @property
    def messages(self) -> list[Json]:
        """The messages up to now, without the prompts that still wait."""
        self._write_out()
        return self._messages

    def all(self) -> list[Json]:
        """The messages up to now; prompts that still wait stand last."""
        waiting = list(self._prompts.values())
        return [it for it in (*self.messages, *waiting) if it["content"]]

    def _begun(self, turn: int) -> None:
        self._close(None)
        if (prompt := self._prompts.pop(turn, None)) is not None:
            self._messages.append(prompt)

    def _ended(self, entry: Json) -> None:
        self._prompts.pop(entry.get("turn", 0), None)
        error = entry.get("error")
        if error:
            self._speaking()["errorMessage"] = error.get("message", "")
        self._close("error" if error else _ENDS.get(entry.get("stopReason") or "", entry.get("stopReason")))

    def _update(self, update: Json) -> None:
        kind = update.get("sessionUpdate")
        if kind == "agent_message_chunk":
            self._said("text", text_of(update.get("content")))
        elif kind == "agent_thought_chunk":
            self._said("thinking", text_of(update.get("content")))
        elif kind == "user_message_chunk":
            self._close(None)
            self._messages.append(user([update.get("content")], self._at))
        elif kind in ("tool_call", "tool_call_update"):
            self._called(update, str(update.get("toolCallId", "")))

    def _said(self, kind: str, piece: str) -> None:
        if not piece:
            return
        content = self._speaking()["content"]
        if not content or content[-1] is not self._block or self._block["type"] != kind:
            self._write_out()
            self._block = {"type": kind, kind: ""}
            content.append(self._block)
        self._said_since.add(piece)

    def _write_out(self) -> None:
        """Gives the block that is being said all that was said of it."""
        if since := str(self._said_since):
            self._block[self._block["type"]] += since
            self._said_since = Growing()

    def _called(self, call: Json, call_id: str) -> None:
        known = self._calls.get(call_id)
        if known is None:
            known = {"type": "toolCall", "id": call_id, "name": tool_name(call), "arguments": {}}
            self._calls[call_id] = known
            self._speaking()["content"].append(known)
        if isinstance(args := call.get("rawInput"), dict):
            known["arguments"] = args
        if call.get("status") in ("completed", "failed"):
            self._close("toolUse")
            result = {"role": "toolResult", "toolCallId": call_id, "toolName": known["name"], "content": shown(call)}
            result |= {"isError": call["status"] == "failed", "timestamp": self._at}
            self._messages.append(result)

    def _speaking(self) -> Json:
        if self._reply is None:
            self._reply = {"role": "assistant", "content": [], "timestamp": self._at}
            self._messages.append(self._reply)
        return self._reply

    def _close(self, reason: str | None) -> None:
        """The message that is being said is whole."""
        self._write_out()
        if self._reply is not None and reason is not None:
            self._reply["stopReason"] = reason
        self._reply = None


def history(entries: Iterable[tuple[int, Json]]) -> list[Json]:
    """The messages of all `entries`."""
    found = History()
    for number, entry in entries:
        found.take(number, entry)
    return found.all()


def user(blocks: list[Any], at: int) -> Json:
    """A prompt as a message: what a person would have written of it."""
    content: list[Json] = []
    for block in blocks:
        if not isinstance(block, dict) or (block.get("_meta") or {}).get(BEHIND):
            continue
        if block.get("type") == "text":
            content.append({"type": "text", "text": block.get("text", "")})
        elif block.get("type") == "image":
            content.append({"type": "image", "mimeType": block.get("mimeType")})
        else:
            named = block.get("uri") or (block.get("resource") or {}).get("uri") or block.get("type")
            content.append({"type": "text", "text": f"[{named}]"})
    return {"role": "user", "content": content, "timestamp": at}


def text_of_message(message: Json) -> str:
    """The text of a message, its parts apart."""
    return "\n\n".join(part["text"] for part in message["content"] if part.get("type") == "text" and part["text"])


def previews(messages: list[Json], limit: int, characters: int) -> list[Json]:
    """The last `limit` things that person and agent have said, each cut to `characters`."""
    found: list[Json] = []
    for message in reversed(messages):
        if len(found) == limit:
            break
        if message["role"] in ("user", "assistant") and (text := text_of_message(message)):
            cut = text if len(text) <= characters else f"{text[: characters - 1]}…"
            found.append({"role": message["role"], "text": cut})
    return found[::-1]


def newest(messages: list[Json], most_bytes: int) -> list[Json]:
    """As many of the last messages as fit into so many bytes of JSON, always the last one."""
    room = most_bytes
    for kept, message in enumerate(reversed(messages)):
        room -= len(encoded(message))
        if room < 0 and kept:
            return messages[-kept:]
    return messages
