"""A child process with everything that it started: what it can be asked, whoever started it.

Nothing here waits for a pipe: a grandchild may hold one for ever.
"""

import signal
from dataclasses import dataclass
from typing import Protocol

import anyio

KILLED_SECONDS = 0.8


@dataclass(frozen=True)
class Exit:
    """How a process ended: by itself with `code` (0 to 255), or by the signal of that name."""

    code: int | None
    signal: str | None

    def __str__(self) -> str:
        return f"exit status {self.code}" if self.signal is None else f"killed by {self.signal}"

    @classmethod
    def of(cls, code: int) -> "Exit":
        """From a code that is negative where a signal ended the process."""
        return cls(code, None) if code >= 0 else cls(None, _signal_name(-code))


class Child(Protocol):
    """One running command, which leads a session and a group of its own. Must be given to `finish` in the end."""

    pid: int
    exit: Exit | None

    async def wait(self) -> Exit:
        """Waits until the process itself has ended, whatever its children do."""

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process's whole group, for as long as the process runs."""

    async def kill(self) -> None:
        """Kills it and what it has started, and waits until that is done, for `KILLED_SECONDS` at most."""

    async def finish(self) -> None:
        """Kills what is left and gives everything back. Calling it again does nothing."""


class End:
    """The part of a `Child` that both kinds have: how it ended, and whoever waits for that."""

    def __init__(self) -> None:
        self.exit: Exit | None = None
        self._exited = anyio.Event()

    async def wait(self) -> Exit:
        """See `Child.wait`."""
        await self._exited.wait()
        assert self.exit is not None
        return self.exit

    def _ended(self, code: int) -> None:
        self.exit = Exit.of(code)
        self._exited.set()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
