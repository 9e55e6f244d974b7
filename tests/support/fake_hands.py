"""`MemoryHands`: hands without a wire, with real files and commands, and scripted people."""

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio

from ars_acp.hands import Answer, Called, Form, HandsError, NotFound, Patience, Ran, Refused, Unsupported

ALL = frozenset({"read", "write", "run", "form", "link"})

Asked = Callable[[dict[str, Any], list[dict[str, Any]]], str | None]
Filled = Callable[[str, dict[str, Any]], Form]


class MemoryHands:
    """A client that grants what `can` holds, and raises AssertionError for a request that it never announced.

    `ask`, `form` and `link` are answered by the callables `answer`, `fill` and `open`; an exception in `faults` is
    raised instead of carrying out the request named by its key: ("write", path), ("read", path), ("run", program).
    `meanwhile` is called with such a key before each of these requests: there other people are at work. `calls` records
    every request.
    """

    def __init__(
        self,
        can: frozenset[str] = ALL,
        *,
        answer: Asked = lambda _call, _options: None,
        fill: Filled = lambda _message, _schema: Form("cancel"),
        open: Callable[[str], Answer] = lambda _url: "cancel",
    ) -> None:
        self.open = open
        self.can = can
        self.does: frozenset[str] = frozenset()
        self.answer = answer
        self.fill = fill
        self.calls: list[tuple[Any, ...]] = []
        self.faults: dict[tuple[str, str], HandsError] = {}
        self.meanwhile: Callable[[str, str], None] = lambda _kind, _subject: None
        self.missing_programs: set[str] = set()
        self.environment: dict[str, str] = {**os.environ, "LC_ALL": "C.UTF-8"}

    async def read(self, path: str, *, line: int | None = None, limit: int | None = None) -> str:
        self._meet("read", path)
        try:
            text = Path(path).read_bytes().decode("utf-8", "surrogatepass")
        except FileNotFoundError:
            raise NotFound(f"{path}: not found") from None
        except (OSError, UnicodeError) as exc:
            raise Refused(f"{path}: the client refused: {exc}") from None
        if line is None and limit is None:
            return text
        lines = text.split("\n")
        kept = [it + "\n" for it in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
        first = (line or 1) - 1
        return "".join(kept[first:] if limit is None else kept[first : first + limit])

    async def write(self, path: str, text: str) -> None:
        self._meet("write", path)
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(text.encode("utf-8", "surrogatepass"))
        except OSError as exc:
            raise Refused(f"{path}: the client refused: {exc}") from None

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        timeout: float,
        output_limit: int,
        started: Callable[[str], None] | None = None,
    ) -> Ran:
        self._meet("run", argv[0], list(argv), cwd)
        if argv[0] in self.missing_programs:
            raise Refused(f"{argv[0]}: the client refused: no such program")
        try:
            process = await anyio.open_process(
                list(argv),
                stdin=subprocess.DEVNULL,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=self.environment,
                start_new_session=True,
            )
        except (OSError, ValueError, UnicodeError) as exc:
            raise Refused(f"{argv[0]}: the client refused: {exc}") from None
        terminal_id = f"terminal-{len(self.calls)}"
        if started is not None:
            started(terminal_id)
        output = bytearray()
        assert process.stdout is not None
        with anyio.move_on_after(timeout) as scope:
            try:
                async for chunk in process.stdout:
                    output += chunk
                await process.wait()
            finally:
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
        with anyio.CancelScope(shield=True):
            await process.aclose()
        code = process.returncode
        ended_by = signal.Signals(-code).name if code is not None and code < 0 else None
        timed_out = scope.cancelled_caught
        kept = bytes(output[-output_limit:])
        return Ran(
            output=kept.decode("utf-8", "replace"),
            truncated=len(kept) < len(output),
            exit_code=None if timed_out or ended_by else code,
            signal=None if timed_out else ended_by,
            timed_out=timed_out,
            terminal_id=terminal_id,
        )

    async def ask(self, tool_call: dict[str, Any], options: list[dict[str, Any]]) -> str | None:
        self.calls.append(("ask", tool_call, options))
        chosen = self.answer(tool_call, options)
        return chosen if any(it["optionId"] == chosen for it in options) else None

    async def form(self, message: str, schema: dict[str, Any], tool_call_id: str | None) -> Form:
        if "form" not in self.can:
            raise Unsupported("this client cannot show forms")
        self.calls.append(("form", message, schema, tool_call_id))
        return self.fill(message, schema)

    async def link(self, message: str, url: str, tool_call_id: str | None) -> Answer:
        if "link" not in self.can:
            raise Unsupported("this client cannot open addresses")
        self.calls.append(("link", url, message, tool_call_id))
        return self.open(url)

    async def call(
        self, call_id: str, name: str, arguments: dict[str, Any], *, patience: Patience, seconds: float
    ) -> Called:
        raise Unsupported("this client carries out no calls")

    def made(self, kind: str) -> list[Any]:
        """The subjects of all requests of one kind, in order: paths, argument lists, tool calls, messages."""
        return [it[2] if kind == "run" else it[1] for it in self.calls if it[0] == kind]

    def _meet(self, kind: str, subject: str, *more: Any) -> None:
        assert kind in self.can, f"{kind} was requested of a client that cannot"
        self.calls.append((kind, subject, *more))
        self.meanwhile(kind, subject)
        if (kind, subject) in self.faults:
            raise self.faults[kind, subject]
