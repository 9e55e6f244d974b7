"""A process that writes logs of a store, as it is told on stdin, and tells on stdout what it has done.

python -m tests.support.writer jsonl:/directory [name of an owner that is dead ...]
BESIDE is the directory for the local files of a store on a server.

claim NAME          claims the log, or makes it        → held N | refused PID
append NAME TAG K   appends K entries, one by one      → wrote N
hurry NAME TAG      appends for ever, groups of 1 to 5 → wrote N, again and again; sure N: so far the server has it
close NAME          gives the log up                   → closed
"""

import os
import sys

import anyio
import anyio.to_thread

from event_log import Log, LogExists, LogHeld, LogLost, LogNotFound, Store, open_store
from event_log.stores.mirrored import MirroredStore


async def main(url: str, *dead: str) -> None:
    store = open_store(url, dead, os.environ.get("BESIDE", ""))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.run)
        logs: dict[str, Log] = {}
        while line := await anyio.to_thread.run_sync(sys.stdin.readline):
            await obey(store, logs, *line.split())
        await store.close()


async def obey(store: Store, logs: dict[str, Log], order: str, name: str, tag: str = "", count: str = "1") -> None:
    match order:
        case "claim":
            try:
                logs[name] = await claimed(store, name)
                say("held", logs[name].last)
            except LogHeld as held:
                say("refused", held.owner.pid)
        case "append":
            for at in range(int(count)):
                logs[name].append([{"by": tag, "at": at}])
            say("wrote", logs[name].last)
        case "hurry":
            try:
                await hurry(store, logs[name], tag)
            except LogLost:
                say("lost", logs[name].last)
        case "close":
            logs.pop(name).close()
            say("closed", 0)


async def hurry(store: Store, log: Log, tag: str) -> None:
    at = sure = 0
    while True:
        group = at % 5 + 1
        log.append([{"by": tag, "at": at + i, "text": "x" * (at % 300)} for i in range(group)])
        at += group
        say("wrote", log.last)
        if isinstance(store, MirroredStore) and store.confirmed(log.name) > sure:
            sure = store.confirmed(log.name)
            say("sure", sure)
        await anyio.lowlevel.checkpoint()


async def claimed(store: Store, name: str) -> Log:
    try:
        log = await store.open(name)
    except LogNotFound:
        try:
            return await store.create(name)
        except LogExists:
            log = await store.open(name)
    await store.claim(log)
    return log


def say(what: str, number: int) -> None:
    sys.stdout.write(f"{what} {number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
