"""Secrets out of what an agent says of itself: its errors and its stderr go to logs and to people."""

import re
from collections.abc import Iterable, Mapping

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
