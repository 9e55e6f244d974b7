"""What an OpenAI client is answered: a run's entries in, chunks of a stream out, or one completion. Pure.

`usage` is what the agent has counted for this prompt, and null where it counts nothing: an estimate would be taken for
a bill.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

from ars_gateway.http import openai_errors
from ars_gateway.http.chat_notes import Notes
from ars_gateway.http.errors import HttpError
from ars_gateway.protocol.frames import encoded
from ars_gateway.sessions.feed import Entry as Told
from ars_gateway.sessions.ledger import Entry

Json = dict[str, Any]

# ACP's stop reasons; a run that a person has stopped ends as one that has nothing more to say.
_FINISHES = {"max_tokens": "length", "max_turn_requests": "length", "refusal": "content_filter"}
_DELTAS = {"text": "content", "thought": "reasoning_content"}
DONE = b"data: [DONE]\n\n"


class Chunks:
    """The chunks of one answer, in the order: `begun`, any `pieces`, then `ended` or `failed`."""

    def __init__(self, id: str, model: str, created: int, notes: Notes, *, tells_usage: bool) -> None:
        self._head = {"id": id, "object": "chat.completion.chunk", "created": created, "model": model}
        self._notes = notes
        self._tells_usage = tells_usage

    def begun(self) -> bytes:
        """The first chunk: who speaks."""
        return self._chunk({"role": "assistant", "content": ""})

    def pieces(self, entries: Iterable[Told]) -> bytes:
        """What was said and thought in these entries, and what waits; pieces that have come together go together."""
        said = ((delta, words) for it in entries for delta, words in self._words(it))
        parts = ((delta, "".join(words for _, words in some)) for delta, some in groupby(said, key=itemgetter(0)))
        return b"".join(self._chunk({delta: words}) for delta, words in parts)

    def _words(self, entry: Told) -> Iterator[tuple[str, str]]:
        if entry.kind in _DELTAS:
            yield _DELTAS[entry.kind], entry.data
        elif note := self._notes.waits(entry) or self._notes.missed(entry):
            yield "content", note

    def ended(self, entry: Entry, usage: Json | None) -> bytes:
        """The last chunks of a run that has its end."""
        last = self._chunk({}, finish(entry))
        if self._tells_usage:
            last += _data({**self._head, "choices": [], "usage": usage})
        return last + DONE

    def failed(self, error: HttpError) -> bytes:
        """What stands at the end of a stream that nothing more comes of."""
        return _data(openai_errors.shape(error))

    def _chunk(self, delta: Json, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _data({**self._head, "choices": [choice], **({"usage": None} if self._tells_usage else {})})


def completion(id: str, model: str, created: int, entry: Entry, *, text: str, thought: str, usage: Json | None) -> Json:
    """The whole answer of a run that has its end."""
    message: Json = {"role": "assistant", "content": text, "refusal": None}
    if thought:
        message["reasoning_content"] = thought
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish(entry)}
    head = {"id": id, "object": "chat.completion", "created": created, "model": model}
    return {**head, "choices": [choice], "usage": usage}


def finish(entry: Entry) -> str:
    """How a run has ended, in the API's words."""
    return _FINISHES.get(entry.outcome.get("stopReason") or "", "stop")


def usage_of(counted: Json | None) -> Json | None:
    """`PromptResponse.usage` of ACP in the API's words; None where it does not have all of it."""
    names = ("inputTokens", "outputTokens", "totalTokens")
    prompt, answer, total = ((counted or {}).get(name) for name in names)
    if not all(isinstance(it, int) for it in (prompt, answer, total)):
        return None
    told: Json = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": total}
    if isinstance(cached := (counted or {}).get("cachedReadTokens"), int):
        told["prompt_tokens_details"] = {"cached_tokens": cached}
    if isinstance(thought := (counted or {}).get("thoughtTokens"), int):
        told["completion_tokens_details"] = {"reasoning_tokens": thought}
    return told


def _data(it: Json) -> bytes:
    return b"data: " + encoded(it) + b"\n\n"
