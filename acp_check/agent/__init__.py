"""The agent that a client under test starts: a process that does, on its stdin and stdout, what the kit tells it.

`python -m acp_check.agent SOCKET` knows no protocol itself. Every byte that the client writes goes to the kit, at the
other end of the Unix socket, and every byte that the kit sends goes to the client; the rest are the commands below.
With a NAME behind it the process only holds the socket open, deaf to SIGTERM: whether it still runs is then plain to
see, in whatever group and under whatever parent it is. Both end with the kit.
"""

import json
from typing import Any

# From the agent: who it is, what the client wrote, that its stdin ended, a signal's number, a command carried out.
HELLO, INPUT, INPUT_ENDED, SIGNALLED, DONE = b"h", b"i", b"e", b"s", b"d"
# To the agent: what to write on stdout, and what else to do (a JSON object with `do`).
OUTPUT, DO = b"o", b"c"
HEADER = 5


def frame(letter: bytes, payload: bytes = b"") -> bytes:
    """One message between the kit and an agent of its."""
    return letter + len(payload).to_bytes(HEADER - 1, "little") + payload


def told(letter: bytes, **what: Any) -> bytes:
    """One whose payload is a JSON object."""
    return frame(letter, json.dumps(what).encode())


def size_of(header: bytes) -> int:
    """How many bytes follow a header."""
    return int.from_bytes(header[1:HEADER], "little")
