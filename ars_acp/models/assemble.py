"""One reply out of the chunks of its stream: pieces to show at once, tool calls and the reply at the end. Pure."""

import json
from typing import Any

import orjson

from ars_acp.models.faults import Fault, Faults
from ars_acp.models.model import Finish, Piece, Reply, ToolCallRequest, Usage
from ars_acp.models.tool_calls import ToolCalls, whole_characters
from ars_acp.models.tool_text import TextCalls

DONE = b"[DONE]"
# So many pieces are joined into one: as strings of their own they take ten times the memory of their text.
MANY_PIECES = 4096
SHAPE_ERRORS = (AttributeError, KeyError, IndexError, TypeError)


class Assembly:
    """Takes the chunks of one stream in order. What cannot be part of a reply ends it: then `fault` says why."""

    def __init__(self, faults: Faults, text_calls: TextCalls | None = None) -> None:
        self.done = False
        self.fault: Fault | None = None
        self.finish_reason: str | None = None
        self._faults = faults
        self._text_calls = text_calls
        self._text: list[str] = []
        self._thought: list[str] = []
        self._calls = ToolCalls()
        self._refused = False
        self._repaired: list[ToolCallRequest] = []
        self._usage: dict[str, Any] | None = None
        self._odd = False
        self._halves: dict[str, str] = {}

    @property
    def partial_chars(self) -> int:
        """How much text has been given out."""
        return sum(map(len, self._text))

    def take(self, events: list[bytes]) -> list[Piece]:
        """The pieces of these events, as they came. Events after the end of the reply are not looked at."""
        pieces: list[Piece] = []
        add, keep = pieces.append, self._text.append
        plain = self._text_calls is None
        try:
            for event in events:
                try:
                    chunk = orjson.loads(event)
                except orjson.JSONDecodeError:
                    if event.strip() == DONE:
                        self.done = True
                        break
                    self._chunk(self._loads(event), pieces)
                    continue
                choices = chunk.get("choices")
                if choices:
                    choice = choices[0]
                    delta = choice.get("delta")
                    # Nearly every chunk is one piece of text and nothing else.
                    if plain and delta and len(delta) == 1 and choice.get("finish_reason") is None:
                        text = delta.get("content")
                        if text.__class__ is str and not self._halves:
                            if text:
                                keep(text)
                                add(("text", text))
                            continue
                self._chunk(chunk, pieces)
        except Fault as fault:
            self.fault = fault
        except SHAPE_ERRORS:
            self.fault = self._faults.interrupted("shape", self.partial_chars)
        if len(self._text) > MANY_PIECES:
            self._text[:] = ["".join(self._text)]
        return pieces

    def whole(self, body: bytes) -> list[Piece]:
        """The pieces of a reply that came at once, from a server that does not stream."""
        pieces: list[Piece] = []
        try:
            self._chunk(self._loads(body), pieces, "message")
        except Fault as fault:
            self.fault = fault
        except SHAPE_ERRORS:
            self.fault = self._faults.interrupted("shape", self.partial_chars)
        self.done = True
        return pieces

    def close(self) -> list[Piece]:
        """What was held back and turns out to be text. Comes once, after the last take."""
        pieces: list[Piece] = []
        if self._text_calls is not None:
            text, self._repaired = self._text_calls.finish()
            self._show("text", text, pieces)
        for kind in list(self._halves):
            self._show(kind, self._halves.pop(kind), pieces, last=True)
        return pieces

    def reply(self, first_token: float | None, seconds: float) -> Reply:
        """The reply, decided from what came rather than from the finish_reason that came with it. Raises Fault."""
        if self.fault is not None:
            raise self.fault
        if not self.done and self.finish_reason is None:
            raise self._faults.interrupted("eof", self.partial_chars)
        if self.finish_reason == "error":
            raise self._faults.interrupted("error", self.partial_chars)
        calls = self._calls.finish() + self._repaired
        text = "".join(self._text)
        finish: Finish = "tool_calls" if calls else "stop"
        if self.finish_reason == "length":
            finish = "length"
        elif self._refused or self.finish_reason == "content_filter":
            finish = "refusal"
        elif not calls and not text:
            raise self._faults.unusable("empty", "the model's reply is empty", retryable=True)
        if finish != "tool_calls":
            calls = []  # the last of them may be cut, and the history must hold no call without a result
        return Reply(text, "".join(self._thought), calls, finish, _usage(self._usage), first_token, seconds)

    def _chunk(self, chunk: dict[str, Any], pieces: list[Piece], key: str = "delta") -> None:
        for choice in (chunk.get("choices") or ())[:1]:
            self._delta(choice.get(key) or {}, pieces)
            if reason := choice.get("finish_reason"):
                self.finish_reason = str(reason)
        if chunk.get("error"):
            raise self._faults.in_stream(chunk, self.partial_chars)
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self._usage = usage

    def _delta(self, delta: dict[str, Any], pieces: list[Piece]) -> None:
        for thought in _thoughts(delta):
            self._show("thought", thought, pieces)
        for text in _texts(delta.get("content")):
            self._show("text", self._text_calls.feed(text) if self._text_calls else text, pieces)
        refusal = delta.get("refusal")
        if isinstance(refusal, str) and refusal:
            self._refused = True
            self._show("text", refusal, pieces)
        for fragment in delta.get("tool_calls") or ():
            self._calls.add(fragment)
        if delta.get("function_call"):
            self._calls.add({"index": 0, "function": delta["function_call"]})

    def _show(self, kind: str, text: str, pieces: list[Piece], *, last: bool = False) -> None:
        if self._odd and text:
            # Half a surrogate pair waits for its other half; one that stays alone becomes U+FFFD.
            text = self._halves.pop(kind, "") + text
            if not last and "\ud800" <= text[-1] <= "\udbff":
                text, self._halves[kind] = text[:-1], text[-1]
            text = whole_characters(text)
        if text:
            (self._text if kind == "text" else self._thought).append(text)
            pieces.append((kind, text))

    def _loads(self, event: bytes) -> Any:
        """What orjson refuses and others send: lone surrogates, bytes that are not UTF-8, huge numbers."""
        self._odd = True
        try:
            return json.loads(event.decode("utf-8", "replace"))
        except (ValueError, RecursionError) as error:
            raise self._faults.interrupted("json", self.partial_chars, type(error).__name__) from None


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content] if content else []
    if isinstance(content, list):
        return [part["text"] for part in content if part.get("type") in ("text", None) and part.get("text")]
    return []


def _thoughts(delta: dict[str, Any]) -> list[str]:
    for name in ("reasoning_content", "reasoning"):
        thought = delta.get(name)
        if isinstance(thought, str) and thought:
            return [thought]
    details = delta.get("reasoning_details") or ()
    return [detail["text"] for detail in details if isinstance(detail.get("text"), str) and detail["text"]]


def _usage(usage: dict[str, Any] | None) -> Usage | None:
    if usage is None:
        return None
    read = usage.get("prompt_tokens_details") or {}
    written = usage.get("completion_tokens_details") or {}
    return Usage(
        input=_count(usage.get("prompt_tokens")) or 0,
        output=_count(usage.get("completion_tokens")) or 0,
        cached=_count(read.get("cached_tokens", usage.get("prompt_cache_hit_tokens"))),
        thought=_count(written.get("reasoning_tokens")),
    )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None
