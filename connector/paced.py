"""What a command prints, for whoever shows it live: often enough to look at, never faster than that."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

SECONDS = 0.05
MOST = 16 * 1024


@dataclass(eq=False)
class _Held:
    """What one terminal has written since it was last told; `timer` runs while it is not to be told again."""

    timer: asyncio.TimerHandle
    text: str = ""
    left_out: int = 0


@dataclass(eq=False)
class Paced:
    """Give this as `on_output`: `tell(terminal_id, text)` is called at most every `seconds` for one terminal.

    What comes meanwhile is joined; of more than `most` characters only the end is told, with a line that says how much
    is missing. What is left is told when the command has been waited for or released, before its client knows.
    """

    tell: Callable[[str, str], None]
    seconds: float = SECONDS
    most: int = MOST
    _held: dict[str, _Held] = field(default_factory=dict)

    def __call__(self, terminal_id: str, text: str) -> None:
        """Takes the next piece."""
        held = self._held.get(terminal_id)
        if held is None:
            self._rest(terminal_id)
            held = self._held[terminal_id]
            self._keep(held, text)
            self._tell(terminal_id, held)
        else:
            self._keep(held, text)

    def flush(self, terminal_id: str) -> None:
        """Tells at once what is held of that terminal."""
        if (held := self._held.pop(terminal_id, None)) is not None:
            held.timer.cancel()
            self._tell(terminal_id, held)

    def _rest(self, terminal_id: str) -> None:
        timer = asyncio.get_running_loop().call_later(self.seconds, self._due, terminal_id)
        self._held[terminal_id] = _Held(timer)

    def _due(self, terminal_id: str) -> None:
        held = self._held.pop(terminal_id)
        if held.text:
            self._rest(terminal_id)
            self._tell(terminal_id, held)

    def _keep(self, held: _Held, text: str) -> None:
        whole = held.text + text
        held.left_out += max(len(whole) - self.most, 0)
        held.text = whole[-self.most :]

    def _tell(self, terminal_id: str, held: _Held) -> None:
        text, left_out = held.text, held.left_out
        held.text, held.left_out = "", 0
        if text:
            self.tell(terminal_id, f"\n[{left_out} characters are not shown here]\n{text}" if left_out else text)
