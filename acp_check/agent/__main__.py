"""`python -m acp_check.agent SOCKET [NAME]`: see the package."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import Any

from acp_check.agent import DO, DONE, HEADER, HELLO, INPUT, INPUT_ENDED, OUTPUT, SIGNALLED, frame, size_of, told

CHUNK = 1 << 16
TERMINATED = 128 + signal.SIGTERM


class _Agent:
    """The process that the client has started. The main thread obeys the kit, another one hands on what comes in."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._kit = _connect(path)
        self._sending = threading.Lock()
        self._stubborn = False
        self._signals, self._signalled = os.pipe()

    def run(self) -> None:
        """Does what it is told until the kit is gone or says that it should end."""
        for fd in (0, 1, 2):
            os.set_blocking(fd, True)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what a terminal sends to everybody is the client's matter
        signal.signal(signal.SIGTERM, lambda number, _: os.write(self._signalled, bytes([number])) and None)
        self._send(told(HELLO, pid=os.getpid(), cwd=os.getcwd(), env=sorted(os.environ)))
        for work in (self._hand_on, self._report_signals):
            threading.Thread(target=work, daemon=True).start()
        while header := _exactly(self._kit, HEADER):
            payload = _exactly(self._kit, size_of(header))
            if header[:1] == OUTPUT:
                _write(1, payload)
            elif header[:1] == DO:
                self._do(**json.loads(payload))
        os._exit(0)

    def _send(self, data: bytes) -> None:
        try:
            with self._sending:
                self._kit.sendall(data)
        except OSError:
            os._exit(0)

    def _hand_on(self) -> None:
        while data := _read(0):
            self._send(frame(INPUT, data))
        self._send(frame(INPUT_ENDED))

    def _report_signals(self) -> None:
        while number := os.read(self._signals, 1):
            self._send(frame(SIGNALLED, number))
            if not self._stubborn:
                os._exit(TERMINATED)

    def _do(self, do: str, **more: Any) -> None:
        """`exit` with `code`, `kill` itself, `flood` stderr with `bytes`, `start` a child that only holds the socket as
        `name`, `detached` or not; be `stubborn` from here on: SIGTERM does not end it; `close` its stdout.
        """
        if do == "exit":
            _write(2, more.get("words", "").encode())
            os._exit(more["code"])
        elif do == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif do == "flood":
            line = b"the agent has a lot to say on stderr, and nobody has to read it " * 16 + b"\n"
            for _ in range(more["bytes"] // len(line)):
                _write(2, line)
        elif do == "start":
            argv = [sys.executable, "-m", "acp_check.agent", self._path, more["name"]]
            subprocess.Popen(argv, start_new_session=more["detached"])
        elif do == "stubborn":
            self._stubborn = True
        elif do == "close":
            os.close(1)
        self._send(told(DONE, do=do))


def hold(path: str, name: str) -> None:
    """Says that it runs, and does until the kit is gone or somebody kills it."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    kit = _connect(path)
    kit.sendall(told(HELLO, pid=os.getpid(), holds=name))
    kit.recv(1)
    os._exit(0)


def _connect(path: str) -> socket.socket:
    kit = socket.socket(socket.AF_UNIX)
    kit.connect(path)
    return kit


def _exactly(kit: socket.socket, size: int) -> bytes:
    """So many bytes; none where the kit is gone."""
    data = bytearray()
    while len(data) < size:
        try:
            more = kit.recv(min(size - len(data), 1 << 20))
        except OSError:
            return b""
        if not more:
            return b""
        data += more
    return bytes(data)


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, CHUNK)
    except OSError:
        return b""


def _write(fd: int, data: bytes) -> None:
    """All of it. Where nobody reads any more nothing is lost that anybody could have had."""
    left = memoryview(data)
    try:
        while left:
            left = left[os.write(fd, left) :]
    except OSError:
        return


def main(argv: list[str]) -> None:
    """Runs one of the two."""
    if len(argv) == 1:
        _Agent(argv[0]).run()
    elif len(argv) == 2:
        hold(*argv)
    else:
        sys.exit("usage: python -m acp_check.agent SOCKET [NAME]: `ars check-client` starts it")


if __name__ == "__main__":
    main(sys.argv[1:])
