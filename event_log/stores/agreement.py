"""How a local file is compared with the server's log, and made the same where the server's is the one that counts."""

import os
from collections.abc import Callable

from event_log.encoding import decode
from event_log.errors import LogDamaged
from event_log.log import Log
from event_log.stores.jsonl import JsonlStore
from event_log.stores.jsonl_file import failed
from event_log.stores.server import Server, count
from event_log.stores.tail import Tail


async def agreeing(server: Server, files: JsonlStore, local: Log, last: int) -> int:
    """How many entries of the local file, up to the number `last`, are the server's too."""
    tail = Tail(files.path(local.name))
    while tail.number < last and (theirs := await server.read(local.name, tail.number)):
        ours = tail.next(min(last, tail.number + count(theirs)))
        for their_line, line in zip(theirs.splitlines(True), ours.splitlines(True), strict=False):
            if their_line != line:
                return tail.number
            tail.take(line)
    return tail.number


async def follow(server: Server, files: JsonlStore, local: Log, tell: Callable[[str], None]) -> Log:
    """Make the file of a log that we hold what the server has; returns the log that we hold then.

    What only we have is kept in `<name>.orphaned`. Raises LogDamaged where the server lacks an entry.
    """
    common = await agreeing(server, files, local, local.last)
    if common < local.last:
        kept = _set_aside(files, local, common)
        tell(f"the log {local.name} went on elsewhere; {local.last - common} entries of this host alone are in {kept}")
        await files.delete(local.name)
        local = await files.create(local.name)
    try:
        while lines := await server.read(local.name, local.last):
            entries = [decode(line) for line in lines.splitlines()]
            if entries[0][0] != local.last + 1:
                raise LogDamaged(local.name, "the server lacks an entry", number=local.last + 1, offset=0)
            local.append([entry for _, entry in entries])
    except BaseException:
        local.close()
        raise
    return local


def _set_aside(files: JsonlStore, local: Log, common: int) -> str:
    path = os.path.join(files.directory, f"{local.name}.orphaned")
    tail = Tail(files.path(local.name))
    tail.seek(common)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab") as file:
            while lines := tail.next(local.last):
                file.write(lines)
                tail.take(lines)
    except OSError as error:
        raise failed("cannot keep what was written here only", error) from error
    return path
