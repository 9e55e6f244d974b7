"""What the page costs its person: to be there, to come over the wire, and to hold a very long turn. In Chromium."""

import contextlib
import shlex
import shutil
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench.gateway import ARS, NO_AGENT, Gateway
from bench.harness import Bench, Figure
from tests.e2e.browser.chromium import Page, browser

LINES = 20_000
# When a person can write, on the clock of the machine: the conversation is shown, and what is typed goes into it.
USABLE = """
const done = arguments[0];
const look = () => {
  const field = document.querySelector('#composer');
  if (field && !field.disabled && document.querySelector('.empty-chat:not([hidden]) h2')) {
    requestAnimationFrame(() => setTimeout(() => done(performance.timeOrigin + performance.now())));
  } else requestAnimationFrame(look);
};
look();
"""
# Longest frame of a scroll through the conversation: in small steps over some screens, then in leaps over all of it.
SCROLL = """
const [distance, steps, leaps, done] = arguments;
const scroll = document.querySelector('.scroll');
const times = [];
let last = 0, step = 0;
const next = (now) => {
  if (last) times.push(now - last);
  last = now;
  if ((step += 1) > steps) return done(times);
  scroll.dispatchEvent(new WheelEvent('wheel'));
  if (leaps) scroll.scrollTop = scroll.scrollHeight * ((step * 37) % steps) / steps;
  else scroll.scrollTop -= distance;
  requestAnimationFrame(next);
};
requestAnimationFrame(next);
"""
# The frames until a turn that has begun is over and drawn. The page watches itself: who asks from outside for what it
# shows has all of it laid out.
WATCH = """
const done = arguments[0], times = [];
let last = performance.now(), quiet = 0, begun = false;
const look = (now) => {
  times.push(now - last);
  last = now;
  const goes = document.querySelector('.send-button.stop:not([hidden])') !== null;
  begun ||= goes;
  if (begun && !goes && (quiet += 1) > 10) return done(times);
  requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""


def page(bench: Bench) -> Iterator[Figure]:
    """All rows; none where there is no Chromium."""
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        print("page: no chromium and chromedriver here (make browser)", file=sys.stderr)
        return
    yield from _ready(bench)
    yield from _carried()
    yield from _scrolled(bench)


def _ready(bench: Bench) -> Iterator[Figure]:
    """From the start of a gateway that has never run to a page that its person can write in, in a browser that has
    never seen it; and the same browser coming again."""
    first, again = [], []
    for _ in range(bench.runs):
        with _browser() as it, tempfile.TemporaryDirectory() as state:
            began = time.time()
            with _gateway(state, "--agent", NO_AGENT) as (_, address):
                first.append(_usable(it, address) - began)
            it.open("about:blank")
            began = time.time()
            with _gateway(state, "--agent", NO_AGENT) as (_, address):
                again.append(_usable(it, address) - began)
    yield Figure("page: cold gateway, new browser → usable", statistics.median(first) * 1000, 1000, "ms")
    yield Figure("page: cold gateway, known browser → usable", statistics.median(again) * 1000, 1000, "ms")


def _carried() -> Iterator[Figure]:
    """All bytes that come over the wire until the page is usable: heads, files, and what the socket tells."""
    with _browser() as it, _Relay() as relay, tempfile.TemporaryDirectory() as state:
        ours = f"127.0.0.1:{relay.port}"
        allowed = ["--allow-host", ours, "--allow-origin", f"http://{ours}"]
        with _gateway(state, "--agent", NO_AGENT, *allowed) as (gateway, address):
            relay.target = gateway.port
            _usable(it, address.replace(f":{gateway.port}/", f":{relay.port}/"))
            yield Figure("page: bytes over the wire, first visit", relay.carried / 1000, 150, "KB")
            before = relay.carried
            it.reload()
            it.driver.execute_async_script(USABLE)
            yield Figure("page: bytes over the wire, a reload", (relay.carried - before) / 1000, None, "KB")


def _scrolled(bench: Bench) -> Iterator[Figure]:
    """A turn of 20,000 lines: Markdown, a part of it code."""
    with _browser() as it, tempfile.TemporaryDirectory() as state:
        script = Path(state, "model.script")
        script.write_text(f"=== turn repeat\nsay:\n{_text()}\n  The end of it.\n")
        agent = shlex.join([ARS, "--script", str(script), "--store", f"jsonl:{state}/agent"])
        with _gateway(f"{state}/gateway", "--agent", agent) as (_, address):
            _usable(it, address)
            it.type("#composer", "all of it")
            it.js("setTimeout(() => document.querySelector('.send-button:not(.stop)').click(), 100)")
            frames: list[float] = it.driver.execute_async_script(WATCH)
            yield Figure(f"page: {LINES:,} lines said and shown", sum(frames) / 1000, None, "s")
            yield Figure("page: longest frame meanwhile", max(frames), None, "ms")
            it.shows("The end of it.", ".thread", within=120)
            for name, leaps in (("scrolling", False), ("leaping", True)):
                of_runs = [_frames(it, leaps) for _ in range(bench.runs)]
                longest = statistics.median(max(times) for times in of_runs)
                yield Figure(f"page: {name} through {LINES:,} lines, longest frame", longest, 100, "ms")


def _frames(it: Page, leaps: bool) -> list[float]:
    found: list[float] = it.driver.execute_async_script(SCROLL, 240, 240, leaps)
    return found


def _text() -> str:
    """20,000 lines as a script has them."""
    prose = ["- a line with `code` and **words**, the {n}th of many", "A paragraph, {n}.", ""]
    code = ["```python", *(f"def function_{n}(argument):  # {{n}}" for n in range(6)), "```"]
    lines = [*prose * 4, *code]
    return "\n".join("  " + lines[n % len(lines)].replace("{n}", str(n)) for n in range(LINES))


def _usable(it: Page, address: str) -> float:
    """Opens it; when it can be written in, seconds since 1970."""
    it.open(address)
    return float(it.driver.execute_async_script(USABLE)) / 1000


@contextlib.contextmanager
def _browser() -> Iterator[Page]:
    with tempfile.TemporaryDirectory() as shots, browser(Path(shots), "bench") as it:
        it.driver.set_script_timeout(300)
        yield it


@contextlib.contextmanager
def _gateway(state: str, *arguments: str) -> Iterator[tuple[Gateway, str]]:
    """A gateway, and the address that it prints for its page."""
    gateway = Gateway({}, state, *arguments)
    try:
        assert gateway.process.stdout is not None
        said = gateway.process.stdout.readline().decode()
        yield gateway, next(word for word in said.split() if word.startswith("http://"))
    finally:
        gateway.process.terminate()
        try:
            gateway.process.wait(15)
        finally:
            gateway.process.kill()


class _Relay:
    """Carries bytes between a browser and `target`, and counts those that the browser gets."""

    def __init__(self) -> None:
        self.target = 0
        self.carried = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets = [self._listener]

    def __enter__(self) -> "_Relay":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
                self._sockets += [near, far]
                threading.Thread(target=self._carry, args=(near, far, False), daemon=True).start()
                threading.Thread(target=self._carry, args=(far, near, True), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if counts:
                    self.carried += len(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
