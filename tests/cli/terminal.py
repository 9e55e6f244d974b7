"""A person at a terminal: `ars` under a pseudo-terminal, with the keys that are pressed when something is seen."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator
from pathlib import Path

import anyio

ROOT = Path(__file__).parents[2]
ERASED = re.compile(r"[^\r\n]*\r\x1b\[K")
SEQUENCES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def environment(home: Path, **more: str) -> dict[str, str]:
    """A person's environment without their files and keys."""
    return {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        **{name: value for name, value in os.environ.items() if name.startswith(("COVERAGE_", "PYTHONDONTWRITE"))},
        **more,
    }


def argv(*args: str) -> list[str]:
    """The command line of `ars`."""
    return [sys.executable, "-m", "ars_cli", *args]


def ars(home: Path, *args: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """Runs `ars` to its end where there is no terminal."""
    told = environment(home, **env)
    return subprocess.run(argv(*args), input=stdin, capture_output=True, text=True, env=told, timeout=60, check=False)


class Terminal:
    """The screen and the keyboard of a running program."""

    def __init__(self, fd: int, process: subprocess.Popen[bytes]) -> None:
        self._fd = fd
        self.process = process
        self.raw = ""
        self._seen = 0

    @property
    def text(self) -> str:
        """Everything that was printed and not erased again, without colours."""
        return SEQUENCES.sub("", ERASED.sub("", self.raw)).replace("\r\n", "\n")

    async def sees(self, words: str) -> None:
        """Waits until `words` are printed after what was waited for before."""
        with anyio.fail_after(20):
            while words not in self.text[self._seen :]:
                assert await self._read(), f"the program ended; waited for {words!r} in:\n{self.text}"
        self._seen = self.text.index(words, self._seen) + len(words)

    def press(self, keys: str) -> None:
        """Types, as the person would."""
        os.write(self._fd, keys.encode())

    async def ends(self) -> int:
        """Waits for the end of the program and returns its exit code."""
        with anyio.fail_after(20):
            while await self._read():
                pass
            return await anyio.to_thread.run_sync(self.process.wait)

    async def _read(self) -> bool:
        await anyio.wait_readable(self._fd)
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # how Linux tells that the other end is closed
            return False
        self.raw += data.decode(errors="replace")
        return bool(data)


@contextlib.asynccontextmanager
async def terminal(
    *args: str, env: dict[str, str], cwd: Path | None = None, width: int = 100
) -> AsyncIterator[Terminal]:
    """`ars` with these arguments, in a terminal of its own."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    process = _start(argv(*args), theirs, {"PYTHONPATH": str(ROOT), **env}, cwd or ROOT)
    os.close(theirs)
    try:
        yield Terminal(ours, process)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _start(command: list[str], tty: int, env: dict[str, str], cwd: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=tty,
        stdout=tty,
        stderr=tty,
        env=env,
        cwd=cwd,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
