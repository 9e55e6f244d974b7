"""The command-line client of the Gateway, used by somebody who has it anew: where it is, how it is run."""

import contextlib
import json
import os
import shlex
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import pytest

from tests.e2e.acpx import MODULES, find_node
from tests.e2e.peers import Ran, Running, run, running
from tests.gateway.host import TOKEN, Program, program

CLIENT = Path(__file__).with_name("node") / "gateway/node_modules/clawdbot/dist/entry.js"
AGENT = str(Path(sys.executable).parent / "ars-acp")
# Each takes two seconds of a processor, all of which it spends on loading itself.
AT_ONCE = 3
SECONDS = 40.0


class Clients:
    """Programs that talk to one gateway, each at home in a directory of its own: a device token of another one that
    lies there would go before the token that is given."""

    def __init__(self, node: str, gateway: Program, home: Path) -> None:
        self.node = node
        self.gateway = gateway
        self._home = home
        self._at_once = anyio.CapacityLimiter(AT_ONCE)

    @property
    def address(self) -> tuple[str, ...]:
        """The arguments with which a command is told of the gateway."""
        return ("--url", self.gateway.url, "--token", TOKEN)

    async def __call__(self, *arguments: str) -> Ran:
        """Runs one command of the client."""
        async with self._at_once:
            with self._newcomer() as env:
                return await run(self.node, str(CLIENT), *arguments, cwd=Path(env["HOME"]), env=env, seconds=SECONDS)

    async def call(self, method: str, params: Any = None, *more: str) -> Any:
        """What `gateway call` prints, read."""
        given = () if params is None else ("--params", json.dumps(params))
        ran = await self("gateway", "call", method, "--url", self.gateway.url, "--json", *given, *more)
        assert ran.code == 0, ran.err
        return json.loads(ran.out)

    @contextlib.asynccontextmanager
    async def begun(self, *arguments: str) -> AsyncIterator[Running]:
        """A command of the client that goes on."""
        with self._newcomer() as env:
            async with running(self.node, str(CLIENT), *arguments, cwd=Path(env["HOME"]), env=env) as it:
                yield it

    @contextlib.asynccontextmanager
    async def bridged(self, *arguments: str) -> AsyncIterator[Running]:
        """acpx at work with the client's bridge, which makes an ACP agent of the gateway."""
        with self._newcomer() as env:
            bridge = shlex.join([self.node, str(CLIENT), "acp", *self.address])
            command = [self.node, str(MODULES / "acpx/dist/cli.js"), "--agent", bridge, "--format", "quiet", *arguments]
            async with running(*command, cwd=Path(env["HOME"]), env=env) as it:
                yield it

    @contextlib.contextmanager
    def _newcomer(self) -> Iterator[dict[str, str]]:
        """The environment of somebody who has set up the gateway's address and nothing else."""
        with TemporaryDirectory(dir=self._home) as home:
            remote = {"url": self.gateway.url, "token": TOKEN}
            # Without its plugins, which talk to messengers and would be compiled each time.
            config = {"gateway": {"mode": "remote", "remote": remote}, "plugins": {"enabled": False}}
            file = Path(home, ".clawdbot/clawdbot.json")
            file.parent.mkdir(mode=0o700)
            file.write_text(json.dumps(config))
            file.chmod(0o600)
            yield {
                "HOME": home,
                "PATH": f"{Path(self.node).parent}:{os.environ['PATH']}",
                "LANG": "C.UTF-8",
                "NO_COLOR": "1",
                "CLAWDBOT_GATEWAY_TOKEN": TOKEN,
                # Else it starts itself anew for an option of Node, and what is killed would be the wrong process.
                "CLAWDBOT_NO_RESPAWN": "1",
                "NODE_COMPILE_CACHE": str(self._home.parent / "compiled"),
            }


@contextlib.asynccontextmanager
async def at_hand(home: Path, script: str) -> AsyncIterator[Clients]:
    """The program, before the real agent whose model plays `script`, and its clients. Skips where there is no Node."""
    node = find_node()
    if node is None:
        missing = "*** NO NODE 22 OR LATER HERE: NOTHING IS TESTED WITH THE GATEWAY'S CLIENTS ***"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    if not CLIENT.exists():
        pytest.fail("the gateway's client is not there: run `make node`, or `make test`, which does")
    file = home / "model.script"
    file.write_text(script)
    agent = shlex.join([AGENT, "--script", str(file), "--store", f"jsonl:{home / 'agent'}"])
    async with program(home / "state", "--agent", agent) as gateway:
        yield Clients(node, gateway, home)
