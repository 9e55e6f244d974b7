"""`python -m connector.testing`: the mock agent on stdin and stdout."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio

from acp_wire.connection import AGENT_SIDE, Connection
from acp_wire.streams import stdio
from connector.testing.agent import MockAgent
from connector.testing.script import DEFAULT, Script, ScriptError
from connector.vendors import VENDORS


def main() -> int:
    """The agent's process; 2 is a wrong command line or script."""
    parser = argparse.ArgumentParser(
        prog="python -m connector.testing", description="A mock agent that plays a script."
    )
    parser.add_argument("--like", choices=[*VENDORS], default="ars", help="the vendor whose ways it has")
    parser.add_argument(
        "--script", type=Path, metavar="FILE", help="what it does; without one it says back what it was told"
    )
    parser.add_argument(
        "--heard", type=Path, metavar="FILE", help="where to write, a line each time, what its model is told"
    )
    parser.add_argument(
        "--store", type=Path, metavar="FILE", help="where its sessions are kept; without one they end with it"
    )
    parser.add_argument(
        "--offers", metavar="NAMES", default="load,resume", help="which of load and resume it offers; neither with ''"
    )
    parser.add_argument("--signed-out", action="store_true", help="it wants to be signed in first, as its vendor does")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    vendor = VENDORS[chosen.like]
    if vendor.quirks.re_executes and not chosen.worker:
        return subprocess.call([sys.executable, "-m", "connector.testing", *sys.argv[1:], "--worker"])
    try:
        script = Script.load(chosen.script) if chosen.script else Script.parse(DEFAULT)
    except (OSError, ScriptError) as why:
        parser.error(f"{chosen.script}: {why}")
    agent = MockAgent(
        vendor,
        script,
        signed_in=not chosen.signed_out,
        environment=os.environ,
        on_heard=lambda prompts: _add_line(chosen.heard, prompts),
        stored=lambda: json.loads(chosen.store.read_text()) if chosen.store and chosen.store.exists() else (),
        on_stored=lambda sessions: _keep(chosen.store, sessions),
        offers=chosen.offers.split(","),
    )
    anyio.run(_serve, agent, vendor.quirks.eof_seconds)
    return 0


async def _serve(agent: MockAgent, eof_seconds: float) -> None:
    async with stdio() as stream:
        agent.connection = Connection(stream, agent, AGENT_SIDE)
        await agent.connection.serve()
        await anyio.sleep(eof_seconds)


def _keep(path: Path | None, sessions: Sequence[dict[str, Any]]) -> None:
    """All of it or what was there before, whenever the process is killed."""
    if path is not None:
        beside = path.with_name(f"{path.name}.{os.getpid()}")
        beside.write_text(json.dumps(sessions), encoding="utf-8")
        beside.replace(path)


def _add_line(path: Path | None, prompts: Sequence[str]) -> None:
    if path is not None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(list(prompts)) + "\n")


if __name__ == "__main__":
    sys.exit(main())
