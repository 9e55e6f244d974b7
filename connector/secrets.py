"""Secrets out of what an agent says of itself: its errors and its stderr go to logs and to people."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

SHORTEST = 8
HIDDEN = "[redacted]"
NAMES = re.compile(r"KEY|TOKEN|SECRET|PASS|AUTH|CREDENTIAL", re.IGNORECASE)
SHAPES = re.compile(
    r"\bsk-[A-Za-z0-9_-]{8,}"
    r"|(?<=://)[^/\s:@\"]+:[^/\s@\"]+(?=@)"
    r"|(?i:(?<=authorization: )|(?<=authorization\": \"))(?i:(?:bearer|basic) )?[^\s\"',}]+"
    r"|(?i:(?<=bearer ))[A-Za-z0-9._~+/=-]{8,}"
)


class Secrets:
    """The values of an agent's environment whose names sound like secrets; those under eight characters are no use."""

    def __init__(self, env: Mapping[str, str]) -> None:
        found: Iterable[str] = {value for name, value in env.items() if NAMES.search(name) and len(value) >= SHORTEST}
        self._values = sorted(found, key=len, reverse=True)
        self._on_the_wire = [orjson.dumps(value)[1:-1] for value in self._values]

    def hide(self, text: str) -> str:
        """`text` without those values, and without what looks like a secret."""
        for value in self._values:
            text = text.replace(value, HIDDEN)
        return SHAPES.sub(HIDDEN, text)

    def hide_in(self, value: object) -> object:
        """The same for whatever JSON can hold."""
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, dict):
            return {key: self.hide_in(item) for key, item in value.items()}
        return [self.hide_in(item) for item in value] if isinstance(value, list) else value

    def without_values(self, entry: dict[str, Any]) -> dict[str, Any]:
        """`entry`, the same object where it holds none of those values, else a copy without them.

        For what is kept as it came: what only looks like a secret stays.
        """
        if not self._values:
            return entry
        try:
            line = orjson.dumps(entry)
            for value in self._on_the_wire:  # asked of each update: any() costs more
                if value in line:
                    break
            else:
                return entry
        except orjson.JSONEncodeError:  # integers beyond 64 bits: looked through piece by piece
            pass
        return {key: self._replaced(item) for key, item in entry.items()}

    def continued(self, before: str, text: str) -> str:
        """`text` without what goes on with one of those values, of which `before` and `text` have the beginning.

        For text that comes in pieces: of a value that is cut anywhere at most the first eight characters are left.
        """
        whole, start = before + text, len(before)
        found: list[tuple[int, int]] = []
        for value in self._values:
            head = value[: min(SHORTEST, len(value) // 2)]
            at = whole.find(head)
            while at >= 0:
                there = whole[at : at + len(value)]
                if value.startswith(there):
                    all_of_it = at >= start and there == value
                    found.append((at if all_of_it else max(at + len(head), start), at + len(there)))
                at = whole.find(head, at + 1)
        for begin, end in sorted(found, reverse=True):
            if begin < end:
                whole = whole[:begin] + HIDDEN + whole[end:]
        return whole[start:]

    @property
    def longest(self) -> int:
        """How many characters the longest of those values has; 0 where there is none."""
        return len(self._values[0]) if self._values else 0

    def _replaced(self, value: Any) -> Any:
        if isinstance(value, str):
            for secret in self._values:
                value = value.replace(secret, HIDDEN)
            return value
        if isinstance(value, dict):
            return {self._replaced(key): self._replaced(item) for key, item in value.items()}
        return [self._replaced(item) for item in value] if isinstance(value, list) else value
