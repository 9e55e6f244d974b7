"""Making what an agent says harmless to a terminal, and to the person who reads it."""

import re

# Whole escape sequences first: without its introducer the rest of one would be left as letters.
_SEQUENCES = re.compile(
    r"(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # OSC: titles, links, the clipboard
    r"|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x9c]*(?:\x1b\\|\x9c)"  # DCS, SOS, PM, APC
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, the cursor
    r"|\x1b[ -/]*[0-~]?"
)
# C0 but tab and newline, DEL, C1, whatever turns the order of letters around, and letters that nobody can see.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_HIDDEN = re.compile(f"{_CONTROLS.pattern}|[\t\n\u00ad\u200b-\u200d\u2060-\u2064\ufeff\ud800-\udfff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def clean(text: str) -> str:
    """`text` without escape sequences, control characters and marks of direction; tabs and newlines stay."""
    return _SURROGATES.sub("\ufffd", _CONTROLS.sub("", _SEQUENCES.sub("", text.replace("\r\n", "\n"))))


def visible(text: str) -> str:
    """`text` on one line with whatever could hide in it written out: for what a person is asked to agree to."""
    return _HIDDEN.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return _SHORT.get(match[0]) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{{{code:x}}}")
