"""Terminals inside the allowed roots: the commands that an agent runs through terminal/*.

A command is an argv, never a shell string, with its cwd below a root, an environment built from nothing, /dev/null as
stdin and a session of its own. Its output is kept to a limit, oldest bytes dropped first at a character boundary.
"""

import asyncio
import codecs
import os
import secrets
from collections.abc import Callable, Mapping, Sequence

import anyio

from acp_wire.errors import INTERNAL_ERROR, INVALID_PARAMS, NOT_FOUND, RpcError
from connector import environment, guarded
from connector.child import Child, Exit
from connector.files import Files
from connector.paced import Paced

OUTPUT_LIMIT = 1024 * 1024
MAX_OUTPUT_LIMIT = 16 * 1024 * 1024
MAX_TERMINALS = 256
CHUNK = 64 * 1024  # what a pipe holds
PIPE_CHUNKS = 2

OnOutput = Callable[[str, str], None]


class Tail:
    """The last `limit` bytes of what was fed, as text."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()
        self.dropped = False

    def feed(self, data: bytes) -> None:
        """Takes more output; what exceeds the limit is forgotten from the beginning, now and then."""
        self._data += data
        if len(self._data) > 2 * self._limit:
            self._forget()

    def text(self, *, whole: bool) -> str:
        """At most `limit` bytes of text in UTF-8. Unless `whole`, a character that is still arriving waits."""
        if len(self._data) > self._limit:
            self._forget()
        text = codecs.getincrementaldecoder("utf-8")("replace").decode(bytes(self._data), whole)
        encoded = text.encode()
        if len(encoded) <= self._limit:
            return text
        # Bytes that are no UTF-8 have grown into replacement characters.
        self.dropped = True
        return encoded[len(encoded) - self._limit :].decode(errors="ignore")

    def _forget(self) -> None:
        self.dropped = True
        start = cut = len(self._data) - self._limit
        # At most three bytes continue a character; more of them are no UTF-8 and stay.
        while start < min(cut + 3, len(self._data)) and self._data[start] & 0xC0 == 0x80:
            start += 1
        del self._data[:start]


class Terminal:
    """One command, its output so far, and its end."""

    def __init__(self, terminal_id: str, limit: int, on_output: OnOutput | None) -> None:
        self.id = terminal_id
        self.tail = Tail(limit)
        self._on_output = on_output
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._loop = asyncio.get_running_loop()
        self._read_fd: int | None = None
        self.child: Child

    def start(self, argv: Sequence[str], directory: int, env: Mapping[str, str]) -> None:
        """Starts the command in the open `directory`. Raises OSError and ValueError as `guarded.start` does."""
        self._read_fd, output = os.pipe()
        os.set_blocking(self._read_fd, False)
        try:
            with open(os.devnull, "rb") as nothing:
                self.child = guarded.start(
                    argv, env=env, directory=directory, stdin=nothing.fileno(), stdout=output, stderr=output
                )
        except (OSError, ValueError):
            self._stop_reading()
            raise
        finally:
            os.close(output)
        self._loop.add_reader(self._read_fd, self._read)

    def output(self) -> str:
        """What the command has written until now, the end of it where that is too much."""
        self._catch_up()
        return self.tail.text(whole=self.child.exit is not None)

    async def wait(self) -> Exit:
        """Waits for the command itself. What it wrote has been read by then; what its children write still is."""
        ended = await self.child.wait()
        self._catch_up()
        self._flush()
        return ended

    async def release(self) -> None:
        """Kills whatever is left and stops reading."""
        await self.child.finish()
        self._catch_up()
        self._stop_reading()
        self._flush()

    def _catch_up(self) -> None:
        """Reads what the pipe holds now; not until it is empty, which a child that goes on writing would prevent."""
        for _ in range(PIPE_CHUNKS):
            self._read()

    def _read(self) -> None:
        if self._read_fd is None:
            return
        try:
            data = os.read(self._read_fd, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._stop_reading()
        self.tail.feed(data)
        if self._on_output is not None and (text := self._decoder.decode(data, final=not data)):
            self._on_output(self.id, text)

    def _flush(self) -> None:
        if isinstance(self._on_output, Paced):
            self._on_output.flush(self.id)

    def _stop_reading(self) -> None:
        if self._read_fd is not None:
            self._loop.remove_reader(self._read_fd)
            os.close(self._read_fd)
            self._read_fd = None


class Terminals:
    """The terminals of one session. `close` ends all of them; until then an id lives from `create` to `release`."""

    def __init__(self, files: Files, *, cwd: str, on_output: OnOutput | None = None) -> None:
        self._files = files
        self._cwd = cwd
        self._on_output = on_output
        self._live: dict[str, Terminal] = {}

    def create(
        self,
        command: str,
        args: Sequence[str] = (),
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        output_limit: int | None = None,
    ) -> str:
        """Starts `command` with `args` and returns its terminal's id at once. Raises `RpcError` where it cannot."""
        if not command or any(ord(char) < 32 or ord(char) == 127 for char in command):
            raise RpcError(INVALID_PARAMS, "The command must be the name of a program, its arguments in args")
        if len(self._live) >= MAX_TERMINALS:
            raise RpcError(INVALID_PARAMS, f"{MAX_TERMINALS} terminals are open: release some")
        limit = OUTPUT_LIMIT if output_limit is None else min(output_limit, MAX_OUTPUT_LIMIT)
        terminal = Terminal(f"term_{secrets.token_hex(8)}", limit, self._on_output)
        directory = self._files.open_directory(cwd or self._cwd)
        try:
            terminal.start([command, *args], directory, environment.for_command(env or {}))
        except FileNotFoundError:
            raise RpcError(NOT_FOUND, "Command not found", {"command": command}) from None
        except PermissionError:
            raise RpcError(INVALID_PARAMS, "The command is not executable", {"command": command}) from None
        except (OSError, ValueError) as why:
            raise RpcError(INTERNAL_ERROR, f"The command could not be started: {why}") from None
        finally:
            os.close(directory)
        self._live[terminal.id] = terminal
        return terminal.id

    def get(self, terminal_id: str) -> Terminal:
        """The terminal of that id. Raises `RpcError` NOT_FOUND where there is none, or none any more."""
        try:
            return self._live[terminal_id]
        except KeyError:
            raise RpcError(NOT_FOUND, "No such terminal", {"terminalId": terminal_id}) from None

    async def release(self, terminal_id: str) -> None:
        """Ends the command if it still runs and forgets the id."""
        terminal = self.get(terminal_id)
        del self._live[terminal_id]
        await terminal.release()

    async def close(self) -> None:
        """Ends all of them, within a second or so."""
        ending = list(self._live.values())
        self._live.clear()
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as tasks:
                for terminal in ending:
                    tasks.start_soon(terminal.release)
