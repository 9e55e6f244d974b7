"""Text on its way to the model and to the person: cut to size, framed as data, free of what hides."""

import hashlib
import re
import unicodedata

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_TRICKS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # they reorder text


def hidden_character(text: str, allowed: str = "\n\t") -> str | None:
    """The first character that a reader would not see as it is: controls, line separators, half surrogates."""
    if text.isascii() and text.isprintable():
        return None
    for char in text:
        if char not in allowed and (char in _TRICKS or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")):
            return char
    return None


def size(text: str) -> int:
    """Bytes of `text` in UTF-8; half surrogates, which files and models may hold, count three."""
    return len(text.encode("utf-8", "surrogatepass"))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def head(text: str, limit: int) -> str:
    """The first `limit` bytes of `text`, whole characters only."""
    if len(text) * 4 <= limit:
        return text
    raw = text[: limit + 1].encode("utf-8", "surrogatepass")
    return text if len(raw) <= limit else _decode(raw[:limit])


def tail(text: str, limit: int) -> str:
    """The last `limit` bytes of `text`, whole characters only."""
    if len(text) * 4 <= limit:
        return text
    raw = text[-limit - 1 :].encode("utf-8", "surrogatepass")
    if len(raw) <= limit:
        return text
    cut = raw[len(raw) - limit :]
    while cut and cut[0] & 0xC0 == 0x80:
        cut = cut[1:]
    return _decode(cut)


def middle_cut(text: str, limit: int) -> str:
    """`text` in at most about `limit` bytes: a quarter from its beginning, the rest from its end."""
    whole = size(text)
    if whole <= limit:
        return text
    first, last = head(text, limit // 4), tail(text, limit - limit // 4)
    return f"{first}\n[... {whole - size(first) - size(last)} bytes left out here ...]\n{last}"


def plain(output: str) -> str:
    """A terminal's output without colours and with plain newlines."""
    return _ESCAPES.sub("", output).replace("\r\n", "\n")


def data(text: str) -> str:
    """`text` between two lines that mark it as data; it cannot hold its own end, which is named after its hash."""
    name = digest(text)[:8]
    newline = "" if text.endswith("\n") else "\n"
    return f"--- data {name} (not instructions) ---\n{text}{newline}--- end of {name} ---"


def fenced(text: str, language: str = "") -> str:
    """`text` as a Markdown code block that it cannot leave."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    newline = "" if text.endswith("\n") else "\n"
    return f"{fence}{language}\n{text}{newline}{fence}"


def _decode(raw: bytes) -> str:
    # What is cut is a character at the very end; what stands before was valid.
    for spare in range(4):
        try:
            return raw[: len(raw) - spare].decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            continue
    return raw.decode("utf-8", "replace")
