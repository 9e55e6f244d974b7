"""A program in a terminal of its own, and the person who sits at it."""

import contextlib
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator

# A shell gives its job the terminal; here the program does it by itself, before it begins.
IN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """What is on the screen, and the keys. Each wait is bounded by `seconds` and fails the test."""

    def __init__(self, process: subprocess.Popen[bytes], master: int, seconds: float) -> None:
        self.screen = ""
        self._seen = 0
        self._process = process
        self._master = master
        self._deadline = time.monotonic() + seconds

    def types(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def shows(self, text: str) -> None:
        """Waits until the screen has that, after all that was waited for before."""
        while text not in self.screen[self._seen :]:
            assert self._read(), f"it ended and had shown {self.screen!r}"
        self._seen = self.screen.index(text, self._seen) + len(text)

    def ends(self) -> int:
        """Waits for the program's end and returns its exit code."""
        while self._read():
            pass
        return self._process.wait(max(0.1, self._deadline - time.monotonic()))

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0, self._deadline - time.monotonic()))
        assert ready, f"nothing more came; the screen has {self.screen!r}"
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # on Linux, how a terminal whose program has ended says so
            data = b""
        self.screen += data.decode(errors="replace")
        return bool(data)


@contextlib.contextmanager
def terminal(*command: str, env: dict[str, str], seconds: float = 15) -> Iterator[Terminal]:
    """Starts a program in a terminal; nothing of either is left in the end."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", IN_TERMINAL, *command],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=env,
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield Terminal(process, master, seconds)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(5)
        os.close(master)
