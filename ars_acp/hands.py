"""Hands: everything a tool may ask of the IDE. The agent opens no project file and starts no process of its own.

HandsError           the request did not work out; its text is written for the model
├── NotFound         there is no such file, terminal or program
├── Timeout          the client did not answer in time
├── Unsupported      this client cannot do that
└── Refused          the client answered with an error, or the request may not be made
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol


class HandsError(Exception):
    """What a tool asked for was not done. A turn makes it a failed `ToolResult` in one place."""

    code: ClassVar[str | None] = None  # for ToolResult.code

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotFound(HandsError):
    """There is no such file, terminal or program."""

    code = "NOT_FOUND"


class Timeout(HandsError):
    """The client did not answer in time."""

    code = "TOOL_TIMEOUT"


class Unsupported(HandsError):
    """This client cannot do that."""

    code = "UNSUPPORTED"


class Refused(HandsError):
    """The client answered with an error, or the request is one that must not be made."""

    code = "REFUSED"


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended: an exit code, or a signal, or neither when it was stopped by the time limit."""

    output: str
    truncated: bool  # the beginning of the output is gone
    exit_code: int | None
    signal: str | None
    timed_out: bool
    terminal_id: str


@dataclass(frozen=True, slots=True)
class Called:
    """What the client answered to a call that it carries out itself.

    `approved`: a person who may decide it accepts what `content` says, as it stands.
    """

    ok: bool
    content: str
    raw: Any = None
    code: str | None = None
    approved: bool = False


# What an answer waits for besides the work: nothing, a person's permission, a person's answer.
Patience = Literal["work", "permission", "answer"]
Answer = Literal["accept", "decline", "cancel"]


@dataclass(frozen=True, slots=True)
class Form:
    """What came back from a form; `content` is empty unless it was accepted."""

    action: Answer
    content: dict[str, Any] = field(default_factory=dict)


class Hands(Protocol):
    """One session's way to its client. Every method may raise `HandsError`; paths are absolute."""

    can: frozenset[str]
    """What the client is able to do, of "read", "write", "run", "form" and "link". Asking is always possible."""

    does: frozenset[str]
    """The tools that the client carries out itself, by their names in the specification ("git.diff")."""

    async def read(self, path: str, *, line: int | None = None, limit: int | None = None) -> str:
        """The file's text as the editor holds it, from `line` (1-based), at most `limit` lines.

        Raises NotFound where the client says that there is no such file.
        """

    async def write(self, path: str, text: str) -> None:
        """Make `text` the whole content of the file, which the client creates if need be."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        timeout: float,
        output_limit: int,
        started: Callable[[str], None] | None = None,
    ) -> Ran:
        """Run a program to its end, or for `timeout` seconds and then kill it.

        `started` gets the terminal's id as soon as there is one. The terminal is released whatever happens. The last
        `output_limit` bytes of output are kept, standard output and error together.
        """

    async def ask(self, tool_call: dict[str, Any], options: list[dict[str, Any]]) -> str | None:
        """Ask for permission: the id of the chosen option, always one of `options`; None means cancelled."""

    async def form(self, message: str, schema: dict[str, Any], tool_call_id: str | None) -> Form:
        """Show a form. `schema` is a flat object of ACP's elicitation properties."""

    async def link(self, message: str, url: str, tool_call_id: str | None) -> Answer:
        """Ask the person to open an address; "accept" means that they agreed to, not that they are done there."""

    async def call(
        self, call_id: str, name: str, arguments: dict[str, Any], *, patience: Patience, seconds: float
    ) -> Called:
        """Have the client carry out a call of a tool that it `does`; the work itself may take `seconds` more."""
