"""The gateway as a program of its own, before the real agent whose model plays a script; for tests that block."""

import contextlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.gateway.host import GATEWAY, TOKEN, environment

AGENT = str(Path(sys.executable).parent / "ars-acp")
PAGE = re.compile(r"http://\S+")


class Gateway:
    """The program at work in `home`. `address` is what it prints for a person to open: good once, within a minute."""

    def __init__(self, home: Path, script: str, *arguments: str) -> None:
        self.home = home
        self.workspace = home / "workspace"
        self.workspace.mkdir(parents=True, exist_ok=True)
        self.state = home / "state"
        self.log = home / "gateway.log"
        (home / "model.script").write_text(script)
        agent = shlex.join([AGENT, "--script", str(home / "model.script"), "--store", f"jsonl:{home / 'agent'}"])
        self._arguments = ["--agent", agent, "--workspace", str(self.workspace), *arguments]
        self.port = 0
        self.start()

    def start(self) -> None:
        """Starts it, where it was before; back when it listens."""
        command = [GATEWAY, "--port", str(self.port), "--state-dir", str(self.state), "--log-file", str(self.log)]
        self.process = subprocess.Popen(
            [*command, *self._arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(ARS_GATEWAY_TOKEN=TOKEN),
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline() + self.process.stdout.readline()
        assert self.said, f"the gateway ended with {self.process.wait(10)}: {self.log.read_text()}"
        self.port = int(self.said.split()[3].rpartition(":")[2])

    def stop(self) -> None:
        """Ends it with SIGTERM, which it has to obey."""
        assert self.process.stdout is not None
        self.process.terminate()
        try:
            self.process.wait(10)
        finally:
            self.process.kill()
            self.process.wait(10)
            self.process.stdout.close()

    @property
    def url(self) -> str:
        """Where it is, without any sign-in."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        found = PAGE.search(self.said)
        assert found is not None, self.said
        return found[0]

    def another_address(self) -> str:
        """One more, as a person asks for it."""
        command = [GATEWAY, "address", "--state-dir", str(self.state)]
        env = environment(ARS_GATEWAY_TOKEN=TOKEN)
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=20, check=True).stdout.strip()


@contextlib.contextmanager
def at_work(home: Path, script: str, *arguments: str) -> Iterator[Gateway]:
    """A gateway that is ended at the end."""
    gateway = Gateway(home, script, *arguments)
    try:
        yield gateway
    finally:
        gateway.stop()
