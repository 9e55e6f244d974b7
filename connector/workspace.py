"""The hands of one session: text files and terminals inside its allowed roots."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import anyio.to_thread

from connector.files import READ_LIMIT, Files
from connector.terminals import OnOutput, Terminals

R = TypeVar("R")


class Workspace:
    """Files and terminals below `roots`, absolute directories of which the first is the cwd.

    `on_output(terminal_id, text)` is told what terminals write, as it comes. `close` must be called in the end: no
    terminal outlives its workspace.
    """

    def __init__(
        self, roots: Sequence[str], *, read_limit: int = READ_LIMIT, on_output: OnOutput | None = None
    ) -> None:
        self.roots = tuple(roots)
        self.files = Files(roots, read_limit=read_limit)
        self.terminals = Terminals(self.files, cwd=roots[0], on_output=on_output)
        self._at_work = 0
        self._closed = False

    async def real(self, path: str) -> str:
        """`Files.real`, without holding up the event loop."""
        return await self._in_thread(lambda: self.files.real(path))

    async def read(
        self, path: str, *, line: int | None = None, limit: int | None = None, real: str | None = None
    ) -> str:
        """`Files.read`, without holding up the event loop."""
        return await self._in_thread(lambda: self.files.read(path, line=line, limit=limit, real=real))

    async def write(self, path: str, text: str, *, real: str | None = None) -> None:
        """`Files.write`, without holding up the event loop."""
        await self._in_thread(lambda: self.files.write(path, text, real=real))

    async def close(self) -> None:
        """Ends the terminals and gives the descriptors back, once nothing is read or written any more."""
        await self.terminals.close()
        self._closed = True
        self._give_back()

    async def _in_thread(self, work: Callable[[], R]) -> R:
        self._at_work += 1
        try:
            return await anyio.to_thread.run_sync(work)
        finally:
            self._at_work -= 1
            self._give_back()

    def _give_back(self) -> None:
        # Not under a thread that opens something below one of them: its number may be another directory's by then.
        if self._closed and not self._at_work:
            self.files.close()
