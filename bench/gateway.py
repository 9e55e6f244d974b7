"""What the gateway costs: to start, to hold, to ask, to tell many, and between a model and a client."""

import contextlib
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import orjson

from bench import ws
from bench.harness import ROOT, Bench, Figure

GATEWAY = str(Path(sys.executable).parent / "ars-gateway")
ARS = str(Path(sys.executable).parent / "ars-acp")
TOKEN = "bench-not-a-real-token"
# An agent that needs nothing and is not started for anything that is asked here.
NO_AGENT = shlex.join([sys.executable, "-c", "import sys; sys.stdin.read()"])
CALLS = 1_000
SESSIONS = 200
SOCKETS = 1_000
LISTENERS, BURST = 100, 500
STREAMS, SPEED, STAMPS = 20, 200, 400
INJECT = ws.request("1", "chat.inject", {"sessionKey": "main", "message": "What everybody should know. " * 8})
MARK = b'"delta":"'


class Gateway:
    """The program at work."""

    def __init__(self, environment: dict[str, str], state: str, *arguments: str) -> None:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        command = [GATEWAY, "--port", "0", "--state-dir", state, "--no-socket", *arguments]
        began = time.perf_counter()
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**kept, "ARS_GATEWAY_TOKEN": TOKEN, **environment},
        )
        assert self.process.stdout is not None
        said = self.process.stdout.readline().decode()
        self.started = time.perf_counter() - began
        assert said, f"the gateway ended with {self.process.wait()}"
        self.port = int(said.split()[3].rpartition(":")[2])

    def client(self) -> ws.Socket:
        """A client after its hello."""
        return ws.Socket(self.port).sign_in(TOKEN)

    def cpu(self) -> float:
        """CPU seconds used so far, all threads."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def pss(self) -> float:
        """Proportional resident memory, in MB of 1,000,000 bytes."""
        lines = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e6


@contextlib.contextmanager
def at_work(environment: dict[str, str] | None = None, agent: str = NO_AGENT) -> Iterator[Gateway]:
    """A gateway in a state directory of its own, ended as one ends it."""
    with tempfile.TemporaryDirectory() as state:
        gateway = Gateway(environment or {}, state, "--agent", agent)
        try:
            yield gateway
        finally:
            gateway.process.send_signal(signal.SIGTERM)
            try:
                gateway.process.wait(15)
            finally:
                gateway.process.kill()


def gateway(bench: Bench) -> Iterator[Figure]:
    """All rows."""
    yield from _start(bench)
    yield from _asked(bench)
    yield from _held(bench)
    yield from _told(bench)
    yield from _streamed(bench)


def _start(bench: Bench) -> Iterator[Figure]:
    starts, sizes = [], []
    for _ in range(bench.runs):
        with at_work() as one:
            starts.append(one.started)
            one.client().call(ws.request("h", "health"))
            sizes.append(one.pss())
    yield Figure("gateway: start → listening", statistics.median(starts) * 1000, 1000, "ms")
    yield Figure("gateway: idle, without an agent", statistics.median(sizes), 80, "MB PSS")


def _asked(bench: Bench) -> Iterator[Figure]:
    with at_work() as one:
        client = one.client()
        yield from _one_by_one(bench, client, "health", 500)
        yield from _many_ahead(bench, one, client, "health", 8_000)
        for number in range(SESSIONS):
            key = f"bench-{number}"
            answer = client.call(ws.request("p", "sessions.patch", {"key": key, "label": f"Session {number} of many"}))
            assert b'"ok":true' in answer, answer
        assert orjson.loads(client.call(ws.request("l", "sessions.list")))["payload"]["count"] == SESSIONS
        yield from _one_by_one(bench, client, "sessions.list", None)
        yield from _many_ahead(bench, one, client, "sessions.list", 1_500)


def _one_by_one(bench: Bench, client: ws.Socket, method: str, most: float | None) -> Iterator[Figure]:
    data = ws.request("1", method)

    def times() -> list[float]:
        found = []
        for _ in range(CALLS):
            began = time.perf_counter()
            client.call(data)
            found.append((time.perf_counter() - began) * 1e6)
        return sorted(found)

    of_runs = [times() for _ in range(bench.runs)]
    yield Figure(
        f"gateway: {method}, one after the other, p50", statistics.median(it[CALLS // 2] for it in of_runs), most, "µs"
    )


def _many_ahead(bench: Bench, one: Gateway, client: ws.Socket, method: str, least: float) -> Iterator[Figure]:
    data = [ws.request("1", method)] * CALLS * 2
    rates, costs = [], []
    for _ in range(bench.runs):
        used, began = one.cpu(), time.perf_counter()
        client.pipelined(data, 64)
        rates.append(len(data) / (time.perf_counter() - began))
        costs.append((one.cpu() - used) / len(data) * 1e6)
    name = f"gateway: {method}" + (f" of {SESSIONS}" if method == "sessions.list" else "")
    yield Figure(f"{name}, 64 ahead", statistics.median(rates), least, "/s", at_least=True)
    yield Figure(f"{name}, CPU for one", statistics.mean(costs), None, "µs")


def _held(bench: Bench) -> Iterator[Figure]:
    """Sockets that come and stay."""
    with at_work() as one:
        one.client()
        before, used, began = one.pss(), one.cpu(), time.perf_counter()
        clients = [one.client() for _ in range(SOCKETS)]
        took = time.perf_counter() - began
        yield Figure(f"gateway: {SOCKETS:,} sockets signed in", took, 3, "s")
        yield Figure("gateway: a sign-in, CPU", (one.cpu() - used) / SOCKETS * 1e6, None, "µs")
        assert b'"ok":true' in clients[-1].call(ws.request("h", "health"))
        yield Figure("gateway: each idle socket", (one.pss() - before) * 1000 / SOCKETS, 40, "KB")
        for client in clients:
            client.close()


def _told(bench: Bench) -> Iterator[Figure]:
    """Broadcasts to a hundred clients in another process, each of a message that is put into a session."""
    rates, costs = [], []
    mark = '"runId":"inject-'
    with at_work(bench.environment("mode:ok20"), ARS) as one:
        teller = one.client()
        teller.call(_send("main", "warm"))  # the session's record is open from here on
        _finals(teller, 1)
        for _ in range(bench.runs):
            command = [sys.executable, "-m", "bench.ws", str(one.port), TOKEN, str(LISTENERS), mark, str(BURST)]
            with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as listeners:
                assert listeners.stdout is not None
                assert listeners.stdout.readline() == b"ready\n"
                used, began = one.cpu(), time.perf_counter()
                teller.pipelined([INJECT] * BURST, 16)
                ended = float(listeners.stdout.readline())
                rates.append(LISTENERS * BURST / (ended - began))
                costs.append((one.cpu() - used) / (LISTENERS * BURST) * 1e6)
    yield Figure(f"gateway: told to {LISTENERS} clients", statistics.median(rates), 45_000, "/s", at_least=True)
    yield Figure("gateway: CPU for one delivery", statistics.mean(costs), None, "µs")


def _streamed(bench: Bench) -> Iterator[Figure]:
    """From the model server's write of a token to the client's read of the event that has it."""
    lags: list[float] = []
    environment = bench.environment(f"mode:stamp{STAMPS}at{SPEED}")
    with at_work(environment, ARS) as one:
        client = one.client()
        for number in range(STREAMS):
            client.call(_send(f"s{number}", f"warm-{number}"))
        _finals(client, STREAMS)
        used, began = one.cpu(), time.perf_counter()
        for number in range(STREAMS):
            client.call(_send(f"s{number}", f"run-{number}"))
        lags = sorted(_lags(client, STREAMS))
        took = time.perf_counter() - began
        share = (one.cpu() - used) / took
    assert len(lags) == STREAMS * STAMPS, f"{len(lags)} tokens came"
    name = f"gateway: token → event, {STREAMS} × {SPEED} tokens/s"
    yield Figure(f"{name}, p50", lags[len(lags) // 2], None, "ms")
    yield Figure(f"{name}, p99", lags[int(len(lags) * 0.99)], 10, "ms")
    yield Figure("gateway: CPU share meanwhile", share * 100, None, "%")


def _send(session: str, run: str) -> bytes:
    return ws.request("1", "chat.send", {"sessionKey": session, "message": "go", "idempotencyKey": run})


def _finals(client: ws.Socket, count: int) -> None:
    """Reads until so many runs have ended."""
    while count:
        count -= sum(b'"state":"final"' in one for one in client.messages())


def _lags(client: ws.Socket, count: int) -> Iterator[float]:
    """Milliseconds that each token took, until so many runs have ended."""
    while count:
        messages = client.messages()
        at = time.perf_counter_ns()
        for one in messages:
            count -= b'"state":"final"' in one
            if (start := one.find(MARK)) >= 0:
                start += len(MARK)
                stamps = one[start : one.index(b'"', start)]
                size = len(str(at))
                assert len(stamps) % size == 0, one
                for place in range(0, len(stamps), size):
                    yield (at - int(stamps[place : place + size])) / 1e6
