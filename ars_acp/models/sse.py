"""Server-sent events: bytes in, the data of whole events out. Pure; after the WHATWG HTML standard, 9.2.6."""

BOM = b"\xef\xbb\xbf"


class EventTooLong(Exception):
    """One event is longer than the limit."""


class EventStream:
    """The reading end of one event stream.

    An event's data comes out once its blank line has arrived, however the bytes were cut. An event named "error", or a
    field of that name (llama.cpp), comes out as {"error": data}.
    """

    __slots__ = ("_began", "_buffer", "_carriage_returns", "_limit", "_skip_newline")

    def __init__(self, limit: int = 64 << 20) -> None:
        self._buffer = bytearray()
        self._limit = limit
        self._began = False
        self._carriage_returns = False
        self._skip_newline = False

    def feed(self, data: bytes) -> list[bytes]:
        """Takes bytes as they arrived and returns the data of each event that they complete. Raises EventTooLong."""
        if not self._began and data:
            self._began = True
            data = data.removeprefix(BOM)
        if self._carriage_returns or b"\r" in data:
            data = self._unify(data)
        buffer = self._buffer
        if buffer:
            seen = len(buffer) - 1
            buffer += data
            if buffer.find(b"\n\n", seen) < 0:
                if len(buffer) > self._limit:
                    raise EventTooLong
                return []
            data = bytes(buffer)
            buffer.clear()
        blocks = data.split(b"\n\n")
        buffer += blocks.pop()
        events = []
        for block in blocks:
            # The usual case, one line and one space, must not pay for the others.
            if block[:6] == b"data: " and b"\n" not in block:
                events.append(block[6:])
            elif (event := _event(block)) is not None:
                events.append(event)
        return events

    def end(self) -> list[bytes]:
        """The event that lacks only its blank line at the end of the stream: servers do leave it out."""
        block = bytes(self._buffer)
        self._buffer.clear()
        event = _event(block)
        return [] if event is None else [event]

    @property
    def quiet(self) -> bool:
        """Nothing is under way but, at most, a comment."""
        return not self._buffer or bytes(self._buffer[:64]).lstrip(b"\n")[:1] in (b"", b":")

    def _unify(self, data: bytes) -> bytes:
        # A line ends with CRLF, LF or CR. A CR at the very end counts at once, so its LF, should it follow, is dropped.
        self._carriage_returns = True
        if self._skip_newline and data[:1] == b"\n":
            data = data[1:]
            self._skip_newline = False
        if data:
            self._skip_newline = data[-1:] == b"\r"
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _event(block: bytes) -> bytes | None:
    data: list[bytes] = []
    failed = False
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"event":
            failed = value == b"error"
        elif name == b"error":
            data.append(value)
            failed = True
    joined = b"\n".join(data)
    if failed and joined:
        return b'{"error":' + joined + b"}"
    return joined or None
