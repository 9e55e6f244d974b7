"""An application that converses with an agent and is going to be killed: what a reader of the record sees, it prints.

python -m tests.support.application jsonl:/directory '["agent", "command"]' /project

It ensures the conversation `work`, has one turn carried out, then begins one that streams, with another behind it. Each
entry that its reader sees is a line: its number, and a digest of the whole.
"""

import hashlib
import json
import sys

import anyio
import orjson

from connector import Client, Command, Limits, Record, keeping, launch


def digest(entry: dict[str, object]) -> str:
    """The same for equal entries."""
    return hashlib.sha256(orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def command(argv: str) -> Command:
    """The agent, by the same name in each application."""
    return Command("agent", json.loads(argv), passed_on=("COVERAGE_*", "XDG_*", "OPENAI_*"))


async def read(record: Record) -> None:
    async for number, entry in record.follow():
        print(number, digest(entry), flush=True)


async def main(url: str, argv: str, cwd: str) -> None:
    limits = Limits(late=0)
    async with keeping(url) as store, launch(command(argv), Client(), cwd=cwd, limits=limits, store=store) as connector:
        session = await connector.ensure("work", cwd)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read, session.record)
            await session.prompt("first")
            streams = session.start("second")
            session.start("third")
            await streams.ended()


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
