"""The person's end of the terminal: single keys while the agent works, whole lines in between."""

import asyncio
import codecs
import contextlib
import os
import termios
from collections.abc import Iterator

END_OF_FILE = "\x04"


class Keyboard:
    """Reads `fd`, a terminal, on the event loop. `close` puts the terminal back as it was."""

    def __init__(self, fd: int = 0) -> None:
        self._fd = fd
        self._was = termios.tcgetattr(fd)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._typed = ""

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Keys are not shown and need no Enter; Ctrl-C is a signal as ever. For while the agent works."""
        was = termios.tcgetattr(self._fd)
        mode = termios.tcgetattr(self._fd)
        mode[3] &= ~(termios.ICANON | termios.ECHO)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._fd, termios.TCSADRAIN, mode)
        try:
            yield
        finally:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, was)

    def forget(self) -> None:
        """Throws away what was typed before there was a question: it is no answer to it."""
        termios.tcflush(self._fd, termios.TCIFLUSH)
        self._typed = ""

    async def key(self) -> str:
        """The next key. Escape sequences of special keys are skipped; Ctrl-D is `END_OF_FILE`."""
        while True:
            if not self._typed:
                self._typed = await self._read()
            if self._typed.startswith("\x1b") and len(self._typed) > 1:
                self._typed = ""
                continue
            key, self._typed = self._typed[:1], self._typed[1:]
            return key

    async def line(self) -> str | None:
        """The next line without its end; None when the person has ended the input (Ctrl-D)."""
        mode = termios.tcgetattr(self._fd)
        self.close()
        try:
            while "\n" not in self._typed:
                data = await self._read()
                if data == END_OF_FILE:
                    rest, self._typed = self._typed, ""
                    return rest or None
                self._typed += data
        finally:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, mode)
        line, _, self._typed = self._typed.partition("\n")
        return line

    def close(self) -> None:
        """Puts the terminal back as it was."""
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._was)

    async def _read(self) -> str:
        loop = asyncio.get_running_loop()
        text = ""
        while not text:
            ready: asyncio.Future[None] = loop.create_future()
            loop.add_reader(self._fd, _settle, ready)
            try:
                await ready
            finally:
                loop.remove_reader(self._fd)
            try:
                data = os.read(self._fd, 65536)
            except OSError:
                data = b""
            if not data:
                return END_OF_FILE
            text = self._decoder.decode(data)
        return text


def _settle(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
