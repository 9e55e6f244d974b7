"""Secrets out of text, by value and by shape. The one sink that everything leaving for people or files goes through."""

import json
import re

SHORTEST = 8
HIDDEN = "[redacted]"
SHAPES = re.compile(
    r"sk-[A-Za-z0-9_-]{8,}"
    r"|(?<=://)[^/\s:@\"]+:[^/\s@\"]+(?=@)"
    r"|(?i:(?<=authorization: )|(?<=authorization\": \"))(?i:(?:bearer|basic) )?[^\s\"',}]+"
    r"|(?i:(?<=bearer ))[A-Za-z0-9._~+/=-]{8,}"
)


class Redactor:
    """Knows the secrets that this process has loaded. Values under eight characters are too common to search for."""

    def __init__(self) -> None:
        self._values: tuple[str, ...] = ()

    def add(self, secret: str | None) -> None:
        """From here on `secret` leaves in no text, neither plain nor as JSON writes it."""
        if secret and len(secret) >= SHORTEST:
            forms = {secret, json.dumps(secret)[1:-1], *self._values}
            self._values = tuple(sorted(forms, key=len, reverse=True))

    def __call__(self, text: str) -> str:
        for value in self._values:
            if value in text:
                text = text.replace(value, HIDDEN)
        return SHAPES.sub(HIDDEN, text)


redact = Redactor()
