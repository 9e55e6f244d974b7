"""Bytes in, lines out; message in, bytes out. Pure: nothing here waits or touches a descriptor.

One message is one line of UTF-8 JSON ended by a newline (ACP v1, transports). orjson reads and writes first; what it
refuses goes to the standard library, which keeps lone surrogates, integers over 64 bits and exact ids.
"""

import json
import math
from collections.abc import Iterator
from typing import Any

import orjson

LINE_LIMIT = 64 * 1024 * 1024
# orjson holds a long line three times while it reads it: as it came, as a copy, and what it found. Where the text is
# plain ASCII the standard library does with two, and is as quick.
LONG_LINE = 1024 * 1024
BOM = b"\xef\xbb\xbf"


class LineTooLong(Exception):
    """A line went over the limit; what follows up to its newline is thrown away."""


class StreamUnusable(Exception):
    """Twice the limit went by without a newline: there are no messages to be had from this peer."""


class NotJson(ValueError):
    """The line holds no JSON value, or one that cannot be carried (NaN, infinity, invalid UTF-8, nested too deep)."""


class Lines:
    """Cuts a stream of bytes into lines, at most `limit` bytes each.

    `feed` yields each complete line without its newline, and a `LineTooLong` in the place of one that is over the
    limit, as soon as that is known. It raises `StreamUnusable` when another `limit` bytes bring no newline.
    """

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        # One buffer that grows in place: pieces in a list leave holes in the heap, as large as the line itself.
        self._held = bytearray()
        self._discarded: int | None = None

    def feed(self, data: bytes) -> Iterator[bytes | bytearray | LineTooLong]:
        """Takes what has arrived; `data` may hold no newline, or many. A line that came in pieces is a bytearray."""
        if b"\n" not in data:
            yield from self._hold(data)
            return
        lines = data.split(b"\n")
        last = lines.pop()
        if self._held or self._discarded is not None:
            yield from self._hold(lines.pop(0))
            if self._discarded is None:
                yield self._take_held()
            self._discarded = None
        for line in lines:
            yield line if len(line) <= self._limit else LineTooLong()
        yield from self._hold(last)

    def finish(self) -> bytearray:
        """What stands after the last newline, when the stream has ended."""
        self._discarded = None
        return self._take_held()

    def _take_held(self) -> bytearray:
        line, self._held = self._held, bytearray()
        return line

    def _hold(self, data: bytes) -> Iterator[LineTooLong]:
        if self._discarded is not None:
            self._discarded += len(data)
            if self._discarded > self._limit:
                raise StreamUnusable
            return
        over = len(self._held) + len(data) - self._limit
        if over <= 0:
            self._held += data
            return
        self._held, self._discarded = bytearray(), over
        yield LineTooLong()
        if over > self._limit:
            raise StreamUnusable


def decode(line: bytes | bytearray) -> Any:
    """The JSON value of one line, which may be empty afterwards. Raises `NotJson`."""
    if len(line) > LONG_LINE and line.isascii():
        return _decode_slowly(line)
    try:
        message = orjson.loads(line)
    except orjson.JSONDecodeError:
        return _decode_slowly(line)
    # orjson turns an integer over 64 bits into a float, and an id has to go back exactly as it came.
    if type(message) is dict and type(message.get("id")) is float:
        return _decode_slowly(line)
    return message


def _decode_slowly(line: bytes | bytearray) -> Any:
    try:
        text = str(memoryview(line)[len(BOM) if line.startswith(BOM) else 0 :], "utf-8")
        if isinstance(line, bytearray):
            line.clear()
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise NotJson("nested too deep") from None
    except UnicodeDecodeError:
        raise NotJson("not valid UTF-8") from None
    except ValueError:
        raise NotJson("not valid JSON") from None


def _refuse_constant(name: str) -> float:
    raise ValueError(name)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("out of range")
    return value


def encode(message: Any) -> bytes:
    """One message as a line, its newline included.

    Raises `ValueError` for NaN and for what is nested too deep, `TypeError` for what is not JSON.
    """
    try:
        return orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:
        return _encode_slowly(message)


def _encode_slowly(message: Any) -> bytes:
    try:
        return json.dumps(message, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"
    except RecursionError:
        raise ValueError("nested too deep") from None
