"""What can go wrong with an agent, each with who is to blame.

ConnectorError
├── AgentNotFound        the command could not be started: the configuration's fault
├── AgentExited          the agent's process is gone, or its end of the connection
│   └── AgentInterrupted it was gone in mid-turn; says what is known of that turn
├── AgentTimeout         the agent did not answer in time, or fell silent in a turn
├── AgentError           the agent answered with an error: `code`, `message`, `details`
│   ├── SignInNeeded     it wants to be signed in first; the message says how
│   └── SessionNotFound  it does not know, or no longer has, that session
├── AgentUnavailable     supervised, and not to be had: it has failed too often, or is being stopped
├── NotOffered           the agent has not said that it can do this; nothing was sent: the caller's fault
├── VersionMismatch      it speaks no version of the protocol that we do
├── TurnInterrupted      the application ended in mid-turn: how far the agent came is known only up to there
├── NotSent              the application ended while the prompt was queued: the agent has never seen it
├── ConversationHeld     another application, or another session of ours, has the conversation
└── RecordUnusable       the conversation's record cannot be read or written; no other one is begun in its place
"""

import errno
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from connector.child import Exit


@dataclass(frozen=True)
class Asked:
    """The request that went wrong, as far as there was one: its id on the wire, and how many seconds it took."""

    method: str
    request_id: int | None = None
    elapsed: float = 0.0

    def __str__(self) -> str:
        number = "" if self.request_id is None else f", request {self.request_id}"
        return f"{self.method}{number}, after {self.elapsed:.1f} s"


class ConnectorError(Exception):
    """Whatever can go wrong; the text is one or more lines for people.

    `agent` is the agent's name, `asked` the request, `exit` how its process ended if it has, `stderr` the end of what
    it wrote there.
    """

    def __init__(
        self, agent: str, text: str, *, asked: Asked | None = None, ended: Exit | None = None, stderr: str = ""
    ) -> None:
        self.agent = agent
        self.asked = asked or Asked("")
        self.exit = ended
        self.stderr = stderr
        super().__init__(f"{agent}: {text}")

    @property
    def method(self) -> str:
        """The method that was asked for; "" where nothing was."""
        return self.asked.method


def _last_words(stderr: str) -> str:
    return f"\nThe last it wrote on stderr:\n{stderr}" if stderr else ""


def _details(data: Any) -> str:
    """What an error's data say to people: agents differ in where they put it."""
    told = [data.get(name) for name in ("details", "message", "reason")] if isinstance(data, dict) else [data]
    return next((one for one in told if isinstance(one, str) and one), "")


class AgentNotFound(ConnectorError):
    """The command is missing, not executable, or its directory is gone."""

    def __init__(self, agent: str, argv: Sequence[str], why: Exception) -> None:
        reason = why.strerror if isinstance(why, OSError) and why.strerror else str(why)
        super().__init__(agent, f"cannot start `{shlex.join(argv)}`: {reason}")
        self.missing = isinstance(why, FileNotFoundError)
        # Another try would end the same; not so where descriptors or memory were short.
        self.for_good = isinstance(why, FileNotFoundError | PermissionError | NotADirectoryError | ValueError) or (
            isinstance(why, OSError) and why.errno == errno.ENOEXEC
        )

    def advise(self, install: str) -> "AgentNotFound":
        """Says how the agent is installed, where that may be what is missing."""
        if install and self.missing:
            self.args = (f"{self}; install it with `{install}`",)
        return self


class AgentExited(ConnectorError):
    """`exit` is None where the process has closed its stdout and goes on running; `why` is ours, where we ended it."""

    def __init__(self, agent: str, asked: Asked, ended: Exit | None, stderr: str, why: str = "") -> None:
        self.why = why
        how = f"the agent ended ({ended})" if ended else "the agent closed the connection"
        reason = f": {why}" if why else ""
        text = f"{how} during {asked.method}{reason} ({asked}){_last_words(stderr)}"
        super().__init__(agent, text, asked=asked, ended=ended, stderr=stderr)


Outcome = Literal["done", "failed", "outcome unknown", "not begun"]


@dataclass(frozen=True)
class CallKnown:
    """A tool call of a turn that was interrupted. A call whose outcome is unknown may have done its work."""

    id: str
    title: str
    what: Outcome

    def __str__(self) -> str:
        return f"{self.title or self.id}: {self.what}"


class AgentInterrupted(AgentExited):
    """The agent ended in mid-turn, and its prompt was not sent again, as it may have had effects.

    `text` is what it had said, `calls` what is known of its tool calls. The agent is back, unless `unavailable` says
    why not.
    """

    def __init__(
        self,
        cause: AgentExited,
        text: str,
        calls: Sequence[CallKnown],
        unavailable: "AgentUnavailable | None" = None,
    ) -> None:
        self.text = text
        self.calls = tuple(calls)
        self.unavailable = unavailable
        self.why = cause.why
        told = [f"the turn was interrupted and not begun again; {len(text)} characters of its reply are kept"]
        told += [f"  {call}" for call in self.calls]
        told += [str(error).removeprefix(f"{cause.agent}: ") for error in (unavailable, cause) if error is not None]
        ConnectorError.__init__(
            self, cause.agent, "\n".join(told), asked=cause.asked, ended=cause.exit, stderr=cause.stderr
        )


class AgentUnavailable(ConnectorError):
    """A supervised agent that takes no prompts: `state` is failed, draining or stopped."""

    def __init__(self, agent: str, state: str, why: str = "") -> None:
        self.state = state
        super().__init__(agent, f"it takes no prompts, its state is {state}{f': {why}' if why else ''}")


class AgentTimeout(ConnectorError):
    """No answer within `seconds`, or in a turn nothing at all for that long."""

    def __init__(self, agent: str, asked: Asked, seconds: float, stderr: str, what: str = "no answer to") -> None:
        text = f"{what} {asked.method} within {seconds:g} s ({asked}){_last_words(stderr)}"
        super().__init__(agent, text, asked=asked, stderr=stderr)
        self.seconds = seconds


class AgentError(ConnectorError):
    """The agent's error answer. `data` is the error's, as it came; `details` is what its `details` say."""

    def __init__(
        self, agent: str, asked: Asked, code: int, message: str, data: Any = None, *, hint: str = "", stderr: str = ""
    ) -> None:
        self.code = code
        self.message = message
        self.data = data
        self.details = _details(data)
        detail = f": {self.details}" if self.details and self.details not in message else ""
        more = f"\n{hint}" if hint else ""
        super().__init__(agent, f"{message}{detail} (error {code}, {asked}){more}", asked=asked, stderr=stderr)


class SignInNeeded(AgentError):
    """The agent wants to be signed in; the last lines of the message say what to do."""


class SessionNotFound(AgentError):
    """The agent does not know the session. A new one is another conversation: nobody makes one instead."""


class NotOffered(ConnectorError):
    """The agent does not offer `capability`, so it was not asked."""

    def __init__(self, agent: str, capability: str, what: str) -> None:
        super().__init__(agent, f"{what}: the agent does not offer `{capability}`")
        self.capability = capability


class VersionMismatch(ConnectorError):
    """The agent answered initialize with a protocol version that is not ours."""

    def __init__(self, agent: str, version: int) -> None:
        super().__init__(agent, f"it speaks version {version} of the protocol, and we version 1")


class TurnInterrupted(ConnectorError):
    """The turn has no end but this one. `partial` is the reply as far as it was recorded."""

    def __init__(self, agent: str, partial: str) -> None:
        super().__init__(
            agent,
            "the application ended in the middle of this turn: what the agent did after the last "
            "recorded update is unknown",
        )
        self.partial = partial


class NotSent(ConnectorError):
    """The prompt can be given again: nothing of it has had an effect."""

    def __init__(self, agent: str) -> None:
        super().__init__(agent, "the application ended before this prompt was sent")


class ConversationHeld(ConnectorError):
    """Only one may drive a conversation. `by` says who does, as far as that is known."""

    def __init__(self, agent: str, name: str, by: str) -> None:
        super().__init__(agent, f"the conversation {name!r} is held by {by}")
        self.by = by


class RecordUnusable(ConnectorError):
    """`__cause__` is the store's error. A damaged record stays as it is, for a person to look at."""

    def __init__(self, agent: str, name: str, why: Exception) -> None:
        super().__init__(agent, f"the record of the conversation {name!r} cannot be used: {why}")
