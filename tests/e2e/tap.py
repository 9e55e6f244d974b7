"""A wire tap between a client and an agent: `tap.py RECORD AGENT...` runs the agent and copies every line both ways.

Each line is written to RECORD before it goes on, as JSON: `["agent" or "client", the message]`. So the order of the
record is one that both ends can have seen. The agent's process id is written to RECORD.pid.
"""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO


def main(record: str, agent: list[str]) -> int:
    child = subprocess.Popen(agent, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    Path(f"{record}.pid").write_text(str(child.pid))
    assert child.stdin is not None
    assert child.stdout is not None
    kept = open(record, "ab", buffering=0)  # noqa: SIM115  # until the process ends
    threading.Thread(target=_copy, args=(b"client", sys.stdin.buffer, child.stdin, kept)).start()
    _copy(b"agent", child.stdout, sys.stdout.buffer, kept)
    return child.wait()


def _copy(sender: bytes, source: IO[bytes], target: IO[bytes], kept: IO[bytes]) -> None:
    try:
        for line in source:
            kept.write(b'["%b",%b]\n' % (sender, line.strip()))
            target.write(line)
            target.flush()
        target.close()
    except BrokenPipeError:
        os._exit(1)  # whoever should read this has gone


if __name__ == "__main__":
    # Without the usual end: a thread still reads from stdin.
    os._exit(main(sys.argv[1], sys.argv[2:]))
