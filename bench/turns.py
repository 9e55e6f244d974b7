"""What a turn costs: the first token, tokens a second, the end of a turn and of the process."""

import os
import statistics
import time
from collections.abc import Iterator
from typing import Any

from bench.harness import FAST, TOKENS, Bench, Figure, warmed
from bench.peer import PIECE, Peer, chunks, first_update, messages, prompt_params, timed_messages

SESSIONS = 20


def prompt_latency(peer: Peer, session: str) -> float:
    """Milliseconds from the prompt's last byte to the first update."""
    request_id = peer.send("session/prompt", prompt_params(session, "go"))
    began = time.perf_counter()
    return (first_update(peer.until(request_id)) - began) * 1000


def first_token(bench: Bench) -> Iterator[Figure]:
    def at_once() -> float:
        with bench.agent("mode:ok20") as peer:
            return prompt_latency(peer, peer.new_session())

    def after_idling() -> float:
        with bench.agent("mode:ok20") as peer:
            session = peer.new_session()
            time.sleep(2)
            return prompt_latency(peer, session)

    def spare() -> tuple[float, float]:
        with bench.agent("mode:ok20") as peer:
            time.sleep(2)
            began = time.perf_counter()
            session = peer.new_session()
            created = (time.perf_counter() - began) * 1000
            return created, prompt_latency(peer, session)

    yield Figure("first prompt, sent at once → first update", bench.median(at_once), 500, "ms")
    yield Figure("first prompt, after 2 s → first update", bench.median(after_idling), 15, "ms")
    created, shown = (statistics.median(times) for times in zip(*(spare() for _ in range(bench.runs)), strict=True))
    yield Figure("initialized, idle 2 s → session/new", created, 30, "ms")
    yield Figure("initialized, idle 2 s → first prompt → first update", shown, 15, "ms")
    with bench.agent("mode:ok20") as peer:
        session = warmed(peer)
        latencies = [prompt_latency(peer, session) for _ in range(50)]
        yield Figure("warm prompt → first update (instant model)", statistics.median(latencies), 2.5, "ms")
    with bench.agent("mode:stamp20") as peer:
        session = warmed(peer)
        added = [lags(peer, session)[0] for _ in range(50)]
        yield Figure("model's first byte → first update", statistics.median(added), 1, "ms")
    with bench.agent("mode:stamp150at150") as peer:
        session = warmed(peer)
        spread = sorted(lag for _ in range(3) for lag in lags(peer, session))
        yield Figure("lag at 150 tokens/s, p95", spread[int(len(spread) * 0.95)], 1.5, "ms")


def is_piece(message: dict[str, Any]) -> bool:
    """Whether this is an update that shows a piece of a reply."""
    update = message.get("params", {}).get("update", {})
    return bool(update.get("sessionUpdate") == "agent_message_chunk")


def lags(peer: Peer, session: str) -> list[float]:
    """Milliseconds between the server's writing of each chunk, whose text is that time, and its update's arrival."""
    found = []
    for at, message in timed_messages(peer.prompt(session)):
        if is_piece(message):
            stamped = int(message["params"]["update"]["content"]["text"])
            found.append((at - stamped / 1e9) * 1000)
    return found


def throughput(bench: Bench) -> Iterator[Figure]:
    rates, costs, updates = [], [], []
    with bench.agent(FAST) as peer:
        session = warmed(peer)
        for _ in range(bench.runs):
            used, began = peer.cpu(), time.perf_counter()
            arrivals = peer.prompt(session)
            rates.append(TOKENS / (arrivals[-1][0] - began))
            costs.append((peer.cpu() - used) * 1000 / (TOKENS / 1000))
            texts = chunks(messages(arrivals), session)
            assert "".join(texts) == expected_text(), "the text is not what the model said"
            updates.append(len(texts))
    yield Figure(f"{TOKENS} one-token chunks, one session", statistics.median(rates), 60_000, "tokens/s", at_least=True)
    yield Figure("agent CPU per 1,000 tokens", statistics.median(costs), 15, "ms")
    yield Figure(f"updates sent for {TOKENS} chunks", statistics.median(updates), None, "")


def expected_text() -> str:
    """What the server's `ok` mode says."""
    from fixtures.model_modes import tokens

    return tokens(TOKENS)


def many_sessions(bench: Bench) -> Iterator[Figure]:
    rates, slowest, updates = [], [], []
    for _ in range(bench.runs):
        with bench.agent(FAST) as peer:
            warmed(peer)
            sessions = [peer.new_session() for _ in range(SESSIONS)]
            began = time.perf_counter()
            asked = [peer.send("session/prompt", prompt_params(session, "go")) for session in sessions]
            timed = timed_messages(peer.until(*asked))
            rates.append(SESSIONS * TOKENS / (timed[-1][0] - began))
            firsts: dict[str, float] = {}
            for at, message in timed:
                if is_piece(message):
                    firsts.setdefault(message["params"]["sessionId"], (at - began) * 1000)
            slowest.append(max(firsts[session] for session in sessions))
            found = [message for _, message in timed]
            texts = [chunks(found, session) for session in sessions]
            assert all("".join(text) == expected_text() for text in texts), "a text is not what the model said"
            updates.append(sum(map(len, texts)))
    yield Figure(f"{SESSIONS} sessions at once", statistics.median(rates), 60_000, "tokens/s", at_least=True)
    yield Figure("the last session's first update", statistics.median(slowest), 300, "ms")
    yield Figure(f"updates sent for {SESSIONS * TOKENS} chunks", statistics.median(updates), None, "")


def growth(bench: Bench) -> Iterator[Figure]:
    ratios = []
    for _ in range(bench.runs):
        with bench.agent("mode:ok200") as peer:
            warmed(peer)
            session = peer.new_session()
            used = []
            for _ in range(50):
                before = peer.cpu()
                peer.prompt(session)
                used.append(peer.cpu() - before)
            # One prompt takes a few milliseconds: compare neighbours' medians rather than two single readings.
            ratios.append(statistics.median(used[-5:]) / statistics.median(used[:5]))
    yield Figure("50th prompt ÷ first, agent CPU", statistics.median(ratios), 1.3, "×")


def ends(bench: Bench) -> Iterator[Figure]:
    def cancelled() -> float:
        with bench.agent("mode:rate100x100000") as peer:
            session = peer.new_session()
            request_id = peer.send("session/prompt", prompt_params(session, "go"))
            while PIECE not in os.read(peer.process.stdout.fileno(), 1 << 20):  # type: ignore[union-attr]
                pass
            began = time.perf_counter()
            peer.send("session/cancel", {"sessionId": session}, notification=True)
            return (peer.until(request_id)[-1][0] - began) * 1000

    def closed(mode: str | None) -> float:
        with bench.agent(mode or "mode:ok20") as peer:
            session = peer.new_session() if mode else warmed(peer)
            if mode:
                peer.send("session/prompt", prompt_params(session, "go"))
                while PIECE not in os.read(peer.process.stdout.fileno(), 1 << 20):  # type: ignore[union-attr]
                    pass
            return peer.close() * 1000

    yield Figure("cancel → answer", bench.median(cancelled), 3, "ms")
    yield Figure("stdin closes → end, idle", bench.median(lambda: closed(None)), 50, "ms")
    yield Figure("stdin closes → end, in mid-stream", bench.median(lambda: closed("mode:rate100x100000")), 200, "ms")
