"""What the terminals of a run have shown, for its transcript: agents tell what they call, not what it prints."""

from typing import Any

from ars_gateway.talks.turns import TERMINAL_CHARACTERS

Json = dict[str, Any]
MOST = 64
OVER = ("completed", "failed")


class Screens:
    """The terminals of one run, by their ids: of each the end of what it has shown, until it is taken."""

    def __init__(self) -> None:
        self._shown: dict[str, Json] = {}

    def add(self, terminal: str, text: str) -> None:
        """A terminal has shown more."""
        known = self._shown.pop(terminal, None) or {"terminalId": terminal, "data": ""}
        known["data"] += text
        if len(known["data"]) > TERMINAL_CHARACTERS:
            known |= {"data": known["data"][-TERMINAL_CHARACTERS:], "cut": True}
        self._shown[terminal] = known
        if len(self._shown) > MOST:
            del self._shown[next(iter(self._shown))]

    def over(self, update: Json) -> list[Json]:
        """Those that a tool call has shown which is over now."""
        if update.get("status") not in OVER:
            return []
        named = [it.get("terminalId") for it in update.get("content") or () if it.get("type") == "terminal"]
        return [self._shown.pop(it) for it in named if it in self._shown]

    def rest(self) -> list[Json]:
        """All others."""
        left, self._shown = list(self._shown.values()), {}
        return left
