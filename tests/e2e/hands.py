"""The hands of a real editor: files on the disk, commands as processes."""

import asyncio
import contextlib
import itertools
import os
import signal
from pathlib import Path
from typing import Any

from tests.support.hands import EVERYTHING, Hands, Json, Refusal

WITHOUT_FORMS = {name: value for name, value in EVERYTHING.items() if name != "elicitation"}
NOT_FOUND = -32002


class RealHands(Hands):
    """As `Hands`, on a project that is there. `environment` is that of the commands."""

    def __init__(self, environment: dict[str, str], capabilities: Json = EVERYTHING, **replaced: Any) -> None:
        super().__init__(capabilities, **replaced)
        self.environment = environment
        self.terminals: dict[str, asyncio.subprocess.Process] = {}
        self._numbers = itertools.count(1)

    def fs_read_text_file(self, params: Json) -> Json:
        try:
            lines = Path(params["path"]).read_text().splitlines(keepends=True)
        except FileNotFoundError:
            raise Refusal(NOT_FOUND, "no such file") from None
        first = params.get("line", 1) - 1
        return {"content": "".join(lines[first:][: params.get("limit")])}

    def fs_write_text_file(self, params: Json) -> Json:
        Path(params["path"]).write_text(params["content"])
        return {}

    async def terminal_create(self, params: Json) -> Json:
        self.executed.append(params)
        pipe, joined = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
        command = (params["command"], *params["args"])
        try:
            child = await asyncio.create_subprocess_exec(
                *command, cwd=params["cwd"], env=self.environment, stdout=pipe, stderr=joined
            )
        except FileNotFoundError:
            raise Refusal(NOT_FOUND, "no such program") from None
        terminal_id = f"terminal-{next(self._numbers)}"
        self.terminals[terminal_id] = child
        return {"terminalId": terminal_id}

    async def terminal_wait_for_exit(self, params: Json) -> Json:
        return _status(await self._terminal(params).wait())

    async def terminal_output(self, params: Json) -> Json:
        child = self._terminal(params)
        assert child.stdout is not None
        output = await child.stdout.read()
        return {"output": output.decode(), "truncated": False, "exitStatus": _status(await child.wait())}

    def terminal_kill(self, params: Json) -> Json:
        kill(self._terminal(params))
        return {}

    async def terminal_release(self, params: Json) -> Json:
        self.terminal_kill(params)
        await self.terminals.pop(params["terminalId"]).communicate()
        return {}

    def _terminal(self, params: Json) -> asyncio.subprocess.Process:
        if params["terminalId"] not in self.terminals:
            raise Refusal(NOT_FOUND, "no such terminal")
        return self.terminals[params["terminalId"]]


def kill(child: asyncio.subprocess.Process) -> None:
    """Kills it unless it has ended. Its own `kill` may take the exit status away from whoever waits for it."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)


def _status(code: int) -> Json:
    return {"exitCode": code, "signal": None} if code >= 0 else {"exitCode": None, "signal": f"SIG{-code}"}
