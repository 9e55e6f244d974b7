"""One entry as one line of JSON: `{"n":7,...}` and a newline, and back."""

import json
from typing import Any

import orjson

Entry = dict[str, Any]

_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME

# orjson refuses to write integers over 64 bits and lone surrogates, and reads the former as floats. A line with such
# a value is written by the standard library and says so by the space after its first colon: the same one reads it.
_BY_JSON = b'{"n": '


def encode(number: int, entry: Entry) -> bytes:
    """The line of an entry. Raises TypeError or ValueError for what is not JSON, and for an entry with a key "n"."""
    if "n" in entry:
        raise ValueError('the key "n" of an entry is the log\'s own')
    if not entry:
        return b'{"n":%d}\n' % number
    try:
        return b'{"n":%d,%b' % (number, orjson.dumps(entry, option=_OPTIONS)[1:])
    except orjson.JSONEncodeError:
        return _BY_JSON + b"%d,%b\n" % (number, _dumps(entry)[1:])


def decode(line: bytes) -> tuple[int, Entry]:
    """The number and the entry of a line. Raises ValueError for anything that `encode` has not written."""
    entry = json.loads(line) if line.startswith(_BY_JSON) else orjson.loads(line)
    if type(entry) is not dict:
        raise ValueError("not an object")
    number = entry.pop("n", None)
    if type(number) is not int:
        raise ValueError("no number")
    return number, entry


def _dumps(entry: Entry) -> bytes:
    try:
        return json.dumps(entry, allow_nan=False, separators=(",", ":")).encode("ascii")
    except RecursionError:
        raise ValueError("the entry is nested too deeply") from None
