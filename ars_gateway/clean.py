"""What a stranger says of itself, fit for a log, a list or a terminal."""

import re

# ANSI sequences whole; then C0, C1, DEL, and what turns the direction of text or hides it.
_SEQUENCES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])|\x9b[0-?]*[ -/]*[@-~]")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


def clean(text: str, most: int = 120) -> str:
    """`text` without control and direction characters, cut to `most`."""
    return _CONTROLS.sub("", _SEQUENCES.sub("", text[: most * 4]))[:most].strip()
