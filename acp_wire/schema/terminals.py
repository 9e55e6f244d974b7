"""`terminal/*`: commands that the client runs for the agent."""

from typing import Annotated

from pydantic import Field

from acp_wire.schema._base import NULL_IS_EMPTY, Empty, Lenient, Model, OptionalText, Strings, Uint32, Uint64
from acp_wire.schema.session import EnvVariable


class CreateTerminalRequest(Model):
    """`output_byte_limit` keeps the end of the output, cut at a character."""

    session_id: str
    command: str
    args: Strings = Field(default_factory=list)
    env: Annotated[list[EnvVariable], NULL_IS_EMPTY] = Field(default_factory=list)
    cwd: str | None = None
    output_byte_limit: Uint64 | None = None


class CreateTerminalResponse(Model):
    terminal_id: str


class TerminalExitStatus(Model):
    """Both are None for a command that ended in neither way, or has a code that ACP cannot carry."""

    exit_code: Annotated[Uint32 | None, Lenient()] = None
    signal: OptionalText = None


class TerminalOutputResponse(Model):
    """`exit_status` is None while the command runs."""

    output: str
    truncated: bool
    exit_status: Annotated[TerminalExitStatus | None, Lenient()] = None


class OfTerminal(Model):
    """Params that name a terminal and nothing else."""

    session_id: str
    terminal_id: str


TerminalOutputRequest = OfTerminal
WaitForTerminalExitRequest = OfTerminal
WaitForTerminalExitResponse = TerminalExitStatus
KillTerminalRequest = OfTerminal
KillTerminalResponse = Empty
ReleaseTerminalRequest = OfTerminal
ReleaseTerminalResponse = Empty
