"""`Hands` over an ACP v1 client: fs/*, terminal/*, session/request_permission, elicitation/create."""

import contextlib
import os
import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any

from acp_wire import build_extensions, methods
from acp_wire.connection import Connection
from acp_wire.errors import NOT_FOUND, ConnectionClosed, RequestTimeout, RpcError
from ars_acp.hands import Answer, Called, Form, NotFound, Patience, Ran, Refused, Timeout, Unsupported
from ars_acp.redact import redact

if TYPE_CHECKING:
    from acp_wire.schema.initialization import ClientCapabilities
    from ars_acp.settings import Settings
    from ars_acp.trace import Trace


SHOWN_CHARACTERS = 500
# Many clients answer a missing file with an internal error that only its text tells apart.
MISSING = re.compile(r"ENOENT|no such file", re.IGNORECASE)


class AcpHands:
    """The hands of one session."""

    def __init__(
        self,
        connection: Connection,
        session_id: str,
        can: frozenset[str],
        settings: "Settings",
        trace: "Trace | None" = None,
        does: frozenset[str] = frozenset(),
    ) -> None:
        self.can = can
        self.does = does
        self._connection = connection
        self._settings = settings
        # What every request begins with: its session, and the trace that its turn belongs to.
        self._common: dict[str, Any] = {"sessionId": session_id} | ({"_meta": dict(trace)} if trace else {})

    async def read(self, path: str, *, line: int | None = None, limit: int | None = None) -> str:
        params: dict[str, Any] = {**self._common, "path": path}
        params |= {key: value for key, value in (("line", line), ("limit", limit)) if value is not None}
        async with _client_errors(path):
            answer = await self._connection.request(
                methods.FS_READ_TEXT_FILE, params, timeout=self._settings.client_seconds
            )
        return answer.content

    async def write(self, path: str, text: str) -> None:
        params = {**self._common, "path": path, "content": text}
        async with _client_errors(path):
            await self._connection.request(methods.FS_WRITE_TEXT_FILE, params, timeout=self._settings.client_seconds)

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        timeout: float,
        output_limit: int,
        started: Callable[[str], None] | None = None,
    ) -> Ran:
        terminal = await self._create(argv, cwd, output_limit)
        ended = False
        try:
            if started is not None:
                started(terminal["terminalId"])
            timed_out = False
            try:
                async with _client_errors(argv[0]):
                    exit_status = await self._connection.request(
                        methods.TERMINAL_WAIT_FOR_EXIT, terminal, timeout=timeout
                    )
                exit_code, signal = exit_status.exit_code, exit_status.signal
            except Timeout:
                timed_out, exit_code, signal = True, None, None
                await self._ask_terminal(methods.TERMINAL_KILL, terminal)
            shown = await self._ask_terminal(methods.TERMINAL_OUTPUT, terminal)
            ended = not timed_out
        finally:
            # Nobody waits for these: a client that has hung must not hold up a cancel, and released is released.
            if not ended:
                self._connection.post(methods.TERMINAL_KILL, terminal)
            self._connection.post(methods.TERMINAL_RELEASE, terminal)
        return Ran(shown.output, shown.truncated, exit_code, signal, timed_out, terminal["terminalId"])

    async def _create(self, argv: Sequence[str], cwd: str, output_limit: int) -> dict[str, Any]:
        params = {
            **self._common,
            "command": argv[0],
            "args": list(argv[1:]),
            "cwd": cwd,
            "outputByteLimit": output_limit,
        }
        async with _client_errors(argv[0]):
            created = await self._connection.request(
                methods.TERMINAL_CREATE, params, timeout=self._settings.client_seconds, late=self._release_late
            )
        return {**self._common, "terminalId": created.terminal_id}

    def _release_late(self, created: Any) -> None:
        """A terminal that came after we had given up on it is nobody's: end it."""
        terminal = {**self._common, "terminalId": created.terminal_id}
        self._connection.post(methods.TERMINAL_KILL, terminal)
        self._connection.post(methods.TERMINAL_RELEASE, terminal)

    async def _ask_terminal(self, row: "methods.Request[Any, Any]", terminal: dict[str, Any]) -> Any:
        async with _client_errors("the terminal"):
            return await self._connection.request(row, terminal, timeout=self._settings.client_seconds)

    async def ask(self, tool_call: dict[str, Any], options: list[dict[str, Any]]) -> str | None:
        params = {**self._common, "toolCall": tool_call, "options": options}
        async with _client_errors("the permission"):
            answer = await self._connection.request(
                methods.SESSION_REQUEST_PERMISSION, params, timeout=self._settings.permission_seconds
            )
        chosen = getattr(answer.outcome, "option_id", None)
        return chosen if any(option["optionId"] == chosen for option in options) else None

    async def form(self, message: str, schema: dict[str, Any], tool_call_id: str | None) -> Form:
        if "form" not in self.can:
            raise Unsupported("this client cannot show forms")
        params = {"mode": "form", "message": message, "requestedSchema": schema}
        answer = await self._elicit("the form", params, tool_call_id)
        if answer.action == "accept":
            return Form("accept", dict(getattr(answer, "content", None) or {}))
        return Form("decline" if answer.action == "decline" else "cancel")

    async def link(self, message: str, url: str, tool_call_id: str | None) -> Answer:
        if "link" not in self.can:
            raise Unsupported("this client cannot open addresses: give it in your answer instead")
        # No elicitation/complete will follow: what becomes of the page is not for us to see.
        params = {"mode": "url", "message": message, "url": url, "elicitationId": f"link_{os.urandom(8).hex()}"}
        answer = await self._elicit("the link", params, tool_call_id)
        return answer.action if answer.action in ("accept", "decline") else "cancel"

    async def call(
        self, call_id: str, name: str, arguments: dict[str, Any], *, patience: Patience, seconds: float
    ) -> Called:
        params = self._common | build_extensions.tool_call(self._common["sessionId"], call_id, name, arguments)
        settings = self._settings
        timeout = (
            seconds
            + {
                "work": settings.client_seconds,
                "permission": settings.permission_seconds + settings.client_seconds,
                "answer": settings.question_seconds,
            }[patience]
        )
        async with _client_errors(name):
            answer = await self._connection.request(methods.ARS_TOOL_CALL, params, timeout=timeout)
        return Called(answer.ok, answer.content, answer.raw, answer.code, answer.approved)

    async def _elicit(self, what: str, params: dict[str, Any], tool_call_id: str | None) -> Any:
        params = {**self._common, **params} | ({"toolCallId": tool_call_id} if tool_call_id is not None else {})
        async with _client_errors(what):
            return await self._connection.request(
                methods.ELICITATION_CREATE, params, timeout=self._settings.question_seconds
            )


@contextlib.asynccontextmanager
async def _client_errors(what: str) -> AsyncIterator[None]:
    """The wire's exceptions as those that a tool turns into a result."""
    try:
        yield
    except RequestTimeout as exc:
        raise Timeout(f"{what}: the client did not answer in time ({exc})") from None
    except ConnectionClosed:
        raise Refused(f"{what}: the client is gone") from None
    except RpcError as exc:
        reason = _reason(exc)
        if exc.code == NOT_FOUND or MISSING.search(reason):
            raise NotFound(f"{what}: not found") from None
        raise Refused(f"{what}: the client refused: {reason}") from None


def _reason(exc: RpcError) -> str:
    """What the client says, from its beginning: errors may be as long as anything else."""
    # Clients on the TypeScript SDK say "Internal error", and what it was in the data.
    details = exc.data.get("details") if isinstance(exc.data, dict) else exc.data
    said = [it for it in (exc.message, details) if isinstance(it, str) and it]
    return ": ".join(redact(it[: 4 * SHOWN_CHARACTERS])[:SHOWN_CHARACTERS] for it in said)


def abilities(capabilities: "ClientCapabilities | None") -> frozenset[str]:
    """What `Hands.can` may hold for a client that announced `capabilities`."""
    if capabilities is None:
        return frozenset()
    elicitation = capabilities.elicitation
    offered = {
        "read": capabilities.fs.read_text_file,
        "write": capabilities.fs.write_text_file,
        "run": capabilities.terminal,
        "form": elicitation is not None and elicitation.form is not None,
        "link": elicitation is not None and elicitation.url is not None,
    }
    return frozenset(name for name, can in offered.items() if can)
