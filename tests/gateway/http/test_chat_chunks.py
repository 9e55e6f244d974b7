"""A run's entries as chunks, and what was counted as usage. Pure, but for a feed that forgets."""

from typing import Any

import orjson

from ars_gateway.http.chat_chunks import DONE, Chunks, completion, usage_of
from ars_gateway.http.chat_completions import Pieces
from ars_gateway.http.chat_notes import Notes
from ars_gateway.http.errors import HttpError
from ars_gateway.sessions.feed import MOST_BYTES, Feed
from ars_gateway.sessions.feed import Entry as Told
from ars_gateway.sessions.ledger import Entry


def entry(**outcome: Any) -> Entry:
    return Entry("owner", "r", "m", b"", "k", "s", state="ok", outcome=outcome)


def chunks(*, tells_usage: bool = False) -> Chunks:
    return Chunks("chatcmpl-1", "main", 7, Notes("http://localhost:1/#s=k"), tells_usage=tells_usage)


def read(told: bytes) -> list[Any]:
    return [orjson.loads(it.removeprefix(b"data: ")) for it in told.split(b"\n\n") if it and it + b"\n\n" != DONE]


def test_pieces_that_come_together_go_together_in_their_order():
    kinds = ["thought", "thought", "text", "update", "text", "thought", "usage"]
    entries = [Told(n, "r", kind, f"{n} " if kind != "update" else {}) for n, kind in enumerate(kinds)]
    deltas = [it["choices"][0]["delta"] for it in read(chunks().pieces(entries))]
    assert deltas == [{"reasoning_content": "0 1 "}, {"content": "2 4 "}, {"reasoning_content": "5 "}]
    assert chunks().pieces([]) == b""


def test_usage_is_in_every_chunk_where_it_is_asked_for_and_known_in_the_last():
    made = chunks(tells_usage=True)
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    assert read(made.begun())[0]["usage"] is None
    finished, counted = read(made.ended(entry(), usage))
    assert (finished["usage"], finished["choices"][0]["finish_reason"]) == (None, "stop")
    assert (counted["usage"], counted["choices"]) == (usage, [])
    assert made.ended(entry(), usage).endswith(DONE)
    assert "usage" not in read(chunks().begun())[0]


def test_a_failure_ends_without_done():
    told = chunks().failed(HttpError(503, "AGENT_UNAVAILABLE", "gone", retryable=True))
    error = {"message": "gone", "type": "server_error", "code": "agent_unavailable", "param": None}
    assert read(told) == [{"error": error}]
    assert DONE not in told


def test_a_whole_answer_has_thoughts_where_there_were_any():
    made = completion("chatcmpl-1", "main", 7, entry(stopReason="max_tokens"), text="t", thought="", usage=None)
    assert made["choices"][0]["message"] == {"role": "assistant", "content": "t", "refusal": None}
    assert (made["choices"][0]["finish_reason"], made["usage"]) == ("length", None)
    made = completion("chatcmpl-1", "main", 7, entry(), text="t", thought="why", usage=None)
    assert made["choices"][0]["message"]["reasoning_content"] == "why"


def test_what_is_not_counted_whole_is_not_told():
    counted = {"inputTokens": 5, "outputTokens": 2, "totalTokens": 7, "cachedReadTokens": 4, "thoughtTokens": 1}
    assert usage_of(counted) == {
        "prompt_tokens": 5,
        "completion_tokens": 2,
        "total_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }
    assert usage_of({"inputTokens": 5, "outputTokens": 2}) is None
    assert usage_of({**counted, "totalTokens": "7"}) is None
    assert usage_of(None) is None


def test_a_client_that_is_too_slow_is_told_that_a_part_is_gone():
    feed = Feed()
    run: Any = type("Run", (), {"order": type("Order", (), {"id": "r"}), "entry": entry(), "turn": None})
    source = Pieces(chunks(), run, feed, feed.last)
    assert read(source.ready() or b"")[0]["choices"][0]["delta"]["role"] == "assistant"
    assert source.ready() == b""
    feed.add("r", "text", "x" * (MOST_BYTES // 2))
    feed.add("r", "text", "y" * (MOST_BYTES // 2 + 1))
    assert read(source.ready() or b"")[-1]["error"]["code"] == "llm_stream_interrupted"
    assert source.ready() is None
