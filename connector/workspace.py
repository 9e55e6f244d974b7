"""The hands of one session: text files and terminals inside its allowed roots."""

from collections.abc import Sequence

import anyio.to_thread

from connector.files import READ_LIMIT, Files
from connector.terminals import OnOutput, Terminals


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

    async def real(self, path: str) -> str:
        """`Files.real`, without holding up the event loop."""
        return await anyio.to_thread.run_sync(self.files.real, path)

    async def read(
        self, path: str, *, line: int | None = None, limit: int | None = None, real: str | None = None
    ) -> str:
        """`Files.read`, without holding up the event loop."""
        return await anyio.to_thread.run_sync(lambda: self.files.read(path, line=line, limit=limit, real=real))

    async def write(self, path: str, text: str, *, real: str | None = None) -> None:
        """`Files.write`, without holding up the event loop."""
        await anyio.to_thread.run_sync(lambda: self.files.write(path, text, real=real))

    async def close(self) -> None:
        """Ends the terminals and gives the descriptors back."""
        await self.terminals.close()
        self.files.close()
