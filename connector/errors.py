"""What can go wrong with an agent, each with who is to blame.

ConnectorError
├── AgentNotFound      the command could not be started: the configuration's fault
├── AgentExited        the agent's process is gone, or its end of the connection
├── AgentTimeout       the agent did not answer in time
├── AgentError         the agent answered with an error: `code`, `message`, `details`
│   └── SignInNeeded   it wants to be signed in first; the message says how
└── VersionMismatch    it speaks no version of the protocol that we do
"""

import shlex
from collections.abc import Sequence
from typing import Any

from connector.child import Exit


class ConnectorError(Exception):
    """Whatever can go wrong; `agent` is the agent's name. The text is one or more lines for people."""

    def __init__(self, agent: str, text: str, stderr: str = "") -> None:
        super().__init__(f"{agent}: {text}" + (f"\nThe last it wrote on stderr:\n{stderr}" if stderr else ""))
        self.agent = agent
        self.stderr = stderr


class AgentNotFound(ConnectorError):
    """The command is missing, not executable, or its directory is gone."""

    def __init__(self, agent: str, argv: Sequence[str], why: Exception) -> None:
        reason = why.strerror if isinstance(why, OSError) and why.strerror else str(why)
        super().__init__(agent, f"cannot start `{shlex.join(argv)}`: {reason}")


class AgentExited(ConnectorError):
    """`exit` is None where the process has closed its stdout and goes on running."""

    def __init__(self, agent: str, doing: str, ended: Exit | None, stderr: str) -> None:
        how = f"the agent ended ({ended})" if ended else "the agent closed the connection"
        super().__init__(agent, f"{how} during {doing}", stderr)
        self.exit = ended


class AgentTimeout(ConnectorError):
    """No answer to `method` within `seconds`."""

    def __init__(self, agent: str, method: str, seconds: float, stderr: str) -> None:
        super().__init__(agent, f"no answer to {method} within {seconds:g} s", stderr)
        self.method = method


class AgentError(ConnectorError):
    """The agent's error answer to `method`, which took `elapsed` seconds. `data` is the error's, as it came."""

    def __init__(self, agent: str, method: str, code: int, message: str, data: Any, elapsed: float) -> None:
        self.method = method
        self.code = code
        self.message = message
        self.data = data
        self.elapsed = elapsed
        held = data.get("details") if isinstance(data, dict) else None
        self.details = held if isinstance(held, str) else ""
        detail = f": {self.details}" if self.details else ""
        super().__init__(agent, f"{message}{detail} ({method}, error {code}, after {elapsed:.1f} s)")


class SignInNeeded(AgentError):
    """The agent answered that authentication is required."""


class VersionMismatch(ConnectorError):
    """The agent answered initialize with a protocol version that is not ours."""

    def __init__(self, agent: str, version: int) -> None:
        super().__init__(agent, f"it speaks version {version} of the protocol, and we version 1")
