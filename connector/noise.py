"""What an agent prints on stdout beside its messages: counted, its end kept for error texts, told now and then."""

from collections.abc import Callable
from typing import Any

KEPT_BYTES = 8 * 1024
TOLD_BYTES = 200


class Noise:
    """`on_event` hears of the 1st, the 10th, the 100th line, and so on: an agent that prints for ever fills no log.

    What is told has gone through `hide`.
    """

    def __init__(self, hide: Callable[[str], str], on_event: Callable[[str, dict[str, Any]], None] | None) -> None:
        self.lines = 0
        self._kept = bytearray()
        self._hide = hide
        self._on_event = on_event
        self._next_told = 1

    def heard(self, line: bytes) -> None:
        """One more line, or its beginning."""
        self.lines += 1
        self._kept += line + b"\n"
        del self._kept[:-KEPT_BYTES]
        if self.lines == self._next_told:
            self._next_told *= 10
            if self._on_event is not None:
                last = self._hide(line[:TOLD_BYTES].decode(errors="replace"))
                self._on_event("agent.printed", {"lines": self.lines, "last": last})

    def tail(self) -> str:
        """The last of it, 8 KiB at most."""
        return self._hide(self._kept.decode(errors="replace")).strip()
