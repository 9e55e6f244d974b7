"""Where everything that a person sees is written: plain ANSI, or plain text where that is not wanted."""

import re
import sys
from typing import TextIO

STYLES = {
    "bold": "1",
    "dim": "2",
    "thought": "2;3",
    "good": "32",
    "bad": "31",
    "warning": "33",
    "info": "36",
    "added": "32",
    "removed": "31",
    "place": "36",
    "title": "1;36",
}
ASCII = str.maketrans(
    {
        "✓": "+",
        "✗": "x",
        "▸": ">",
        "○": ".",
        "│": "|",
        "└": "`",
        "…": "~",
        "·": "-",
        "›": ">",
        "─": "-",
        "–": "-",
        "—": "-",
    }
)


class Screen:
    """A terminal, a pipe or a file. What is given to it must be harmless already (`plain.clean`).

    With `live` a status line may stand at the bottom; it vanishes before anything else is written.
    """

    def __init__(
        self, out: TextIO | None = None, *, colour: bool = False, live: bool = False, width: int = 100
    ) -> None:
        self._out = out or sys.stdout
        self._colour = colour
        self._live = live
        self._status = ""
        self._column = 0
        self._blank = True
        self._ascii = not (getattr(self._out, "encoding", "") or "ascii").lower().startswith("utf")
        self.width = width

    def write(self, text: str, style: str = "", *, wrap: bool = False) -> None:
        """Writes `text` where the last one ended; with `wrap` a live screen breaks its lines between words."""
        if not text:
            return
        self._erase_status()
        if wrap and self._live:
            text = self._wrapped(text)
        self._put(self._styled(text, style))
        last = text.rpartition("\n")[2]
        self._column = len(last) if "\n" in text else self._column + len(text)
        self._blank = text.endswith("\n\n") or (text == "\n" and self._blank)
        self._out.flush()

    def _wrapped(self, text: str) -> str:
        """What arrives in pieces is wrapped as far as a piece shows where its words end."""
        column, wrapped = self._column, []
        for word in re.findall(r"\n|[^\S\n]+|\S+", text):
            if word == "\n":
                column = 0
            elif column and column + len(word) >= self.width and not word.isspace():
                wrapped.append("\n")
                column = len(word)
            else:
                column += len(word)
            wrapped.append(word)
        return "".join(wrapped)

    def line(self, text: str = "", style: str = "") -> None:
        """Writes `text` on a line of its own."""
        self.end_line()
        self.write(text, style)
        self.write("\n")
        self._blank = not text

    def gap(self) -> None:
        """A blank line, unless there is one already."""
        self.end_line()
        if not self._blank:
            self.line()

    def end_line(self) -> None:
        """Makes sure that the next thing begins a line."""
        if self._column:
            self.write("\n")
            self._blank = False

    def entered(self) -> None:
        """The person has ended the line with Enter, and the terminal has moved on to the next one."""
        self._column = 0
        self._blank = False

    def status(self, text: str) -> None:
        """Shows what is going on until something else is written. Nothing is shown where the screen is not live."""
        if not self._live or self._column:
            return
        self._erase_status()
        self._status = text[: max(self.width - 1, 10)]
        self._put(self._styled(self._status, "dim"))
        self._out.flush()

    def idle(self, text: str) -> None:
        """`status`, unless there is one already."""
        if not self._status:
            self.status(text)

    def _erase_status(self) -> None:
        if self._status:
            self._put("\r\x1b[K")
            self._status = ""

    def _styled(self, text: str, style: str) -> str:
        if self._ascii:
            text = text.translate(ASCII).encode("ascii", "replace").decode()
        if not style or not self._colour:
            return text
        # Line by line, so that a pager or a cut line does not lose the style or keep it.
        on, off = f"\x1b[{STYLES[style]}m", "\x1b[0m"
        return "\n".join(f"{on}{part}{off}" if part else "" for part in text.split("\n"))

    def _put(self, text: str) -> None:
        self._out.write(text)
