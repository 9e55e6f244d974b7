"""`make bench`: what ars-acp costs, on this machine, through the real executable, real pipes and a real model server.

Each figure is the median of several runs. Absolute times depend on the machine and on what else it does: the first
lines time bare Python programs beside ours, so that a slow moment shows.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.peer import PIECE, Peer, chunks, first_update, messages, prompt_params, timed_messages
from event_log.stores import open_store

ROOT = Path(__file__).parent.parent
TOKENS = 5000
SESSIONS = 20
ENTRIES = 10_000
FAST = f"mode:ok{TOKENS}"


@dataclass(frozen=True)
class Figure:
    """One row: what was measured, what is required (None: only reported), and the unit."""

    name: str
    measured: float
    required: float | None
    unit: str
    at_least: bool = False

    @property
    def met(self) -> str:
        if self.required is None:
            return ""
        good = self.measured >= self.required if self.at_least else self.measured <= self.required
        return "met" if good else "NOT MET"


class Bench:
    """A model server, and agents that use it."""

    def __init__(self, port: int, home: Path, runs: int) -> None:
        self.runs = runs
        self.sessions = home / ".local/state/ars-acp/sessions"
        self._environment = {
            "HOME": str(home),
            "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
            "OPENAI_API_KEY": "sk-bench-not-a-real-key",
        }

    @contextmanager
    def agent(self, mode: str) -> Iterator[Peer]:
        """An agent after `initialize`, whose model is the server in that mode."""
        peer = Peer({**self._environment, "OPENAI_MODEL": mode})
        try:
            peer.initialize()
            yield peer
        finally:
            peer.process.kill()
            peer.process.wait()

    def median(self, once: Callable[[], float]) -> float:
        """The median of several runs of `once`."""
        return statistics.median(once() for _ in range(self.runs))

    def spawn(self) -> Peer:
        """An agent that was only started."""
        return Peer({**self._environment, "OPENAI_MODEL": FAST})


def warmed(peer: Peer) -> str:
    """A session in which one prompt has been answered."""
    session = peer.new_session()
    peer.prompt(session)
    return session


# ── start ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def bare_start(program: str) -> Callable[[], float]:
    """Milliseconds that a bare interpreter takes for `program`."""

    def once() -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], check=True)
        return (time.perf_counter() - began) * 1000

    return once


def start(bench: Bench) -> Iterator[Figure]:
    yield Figure("bare python -c pass", bench.median(bare_start("pass")), None, "ms")
    yield Figure("bare python -c 'import asyncio, json'", bench.median(bare_start("import asyncio, json")), None, "ms")
    ours, bare = [], []
    for _ in range(2 * bench.runs + 1):  # in turns, so that both have the machine's same moments
        ours.append(start_times(bench.spawn()))
        bare.append(start_times(Peer({}, command=[sys.executable, "-m", "bench.bare_agent"])))
    initialized, created = (statistics.median(times) for times in zip(*ours, strict=True))
    least = statistics.median(time for _, time in bare)
    yield Figure("bare asyncio agent: spawn → session/new", least, None, "ms")
    yield Figure("spawn → initialize", initialized, None, "ms")
    yield Figure("spawn → session/new", created, 180, "ms")
    yield Figure("the same, in starts of the bare agent", created / least, 180 / 57, "×")


def start_times(peer: Peer) -> tuple[float, float]:
    """Milliseconds from the spawn to the answers to `initialize` and `session/new`."""
    initialized = peer.initialize()
    peer.new_session()
    created = time.perf_counter()
    peer.process.kill()
    peer.process.wait()
    return (initialized - peer.began) * 1000, (created - peer.began) * 1000


# ── latency ───────────────────────────────────────────────────────────────────────────────────────────────────────────


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

    yield Figure("first prompt, sent at once → first update", bench.median(at_once), 500, "ms")
    yield Figure("first prompt, after 2 s → first update", bench.median(after_idling), 15, "ms")
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


# ── throughput ────────────────────────────────────────────────────────────────────────────────────────────────────────


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


# ── memory, growth, ends ──────────────────────────────────────────────────────────────────────────────────────────────


def memory(bench: Bench) -> Iterator[Figure]:
    with bench.agent("mode:ok20") as peer:
        warmed(peer)
        idle = peer.pss()
        for _ in range(50):
            peer.new_session()
        after = peer.pss()
    yield Figure("idle, everything loaded", idle, 65, "MB PSS")
    yield Figure("each further session, of 50", (after - idle) * 1000 / 50, 50, "KB")


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


def load(bench: Bench) -> Iterator[Figure]:
    """How long `session/load` takes in a process that has done nothing else yet."""

    def stored(tokens: int) -> str:
        with bench.agent(f"mode:ok{tokens}") as peer:
            return warmed(peer)

    def loaded(session: str) -> float:
        with bench.agent("mode:ok20") as peer:
            began = time.perf_counter()
            peer.call("session/load", {"sessionId": session, "cwd": "/", "mcpServers": []})
            return (time.perf_counter() - began) * 1000

    long = stored(ENTRIES)
    yield Figure(f"session/load, {ENTRIES:,} entries in one turn", bench.median(lambda: loaded(long)), 300, "ms")
    many = stored(2)
    with closing(open_store(f"jsonl:{bench.sessions}").open(many)) as log:
        turn = [entry for _, entry in log.read(1)]
        for _ in range(ENTRIES // len(turn)):
            log.append(turn)
    name = f"session/load, {ENTRIES:,} entries in {ENTRIES // len(turn):,} turns"
    yield Figure(name, bench.median(lambda: loaded(many)), 300, "ms")


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


SECTIONS: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "start": start,
    "first_token": first_token,
    "throughput": throughput,
    "many_sessions": many_sessions,
    "memory": memory,
    "growth": growth,
    "load": load,
    "ends": ends,
}


@contextmanager
def model_server() -> Iterator[int]:
    """The fixture's model server in a process of its own; its port."""
    command = [sys.executable, "-m", "fixtures.model_server", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as server:
        assert server.stdout is not None
        try:
            yield json.loads(server.stdout.readline())["port"]
        finally:
            server.kill()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], help="all, unless some are named")
    parser.add_argument("--runs", type=int, default=7)
    chosen = parser.parse_args()
    print(f"{'':58} {'measured':>10} {'required':>12}")
    with model_server() as port, tempfile.TemporaryDirectory() as home:
        bench = Bench(port, Path(home), chosen.runs)
        for name in chosen.sections or SECTIONS:
            for figure in SECTIONS[name](bench):
                required = "" if figure.required is None else f"{'≥' if figure.at_least else '≤'} {figure.required:,}"
                row = f"{figure.name:58} {figure.measured:>10,.1f} {required:>12} {figure.unit:8} {figure.met}"
                print(row.rstrip(), flush=True)


if __name__ == "__main__":
    main()
