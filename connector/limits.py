"""How long an agent is given for what. One frozen table; a vendor or a role changes rows of it by `replace`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Time limits in seconds; None is no limit.

    `initialize`    the handshake; agents that a package runner has to fetch first take a minute
    `authenticate`  a sign-in, for which a person may have to go to their browser
    `session`       session/new, session/load and session/resume
    `request`       any other request: a mode, an option, a list
    `turn`          a whole turn, from the prompt to its answer, its agent's restarts included
    `idle`          in a turn: the agent says nothing, and waits for nothing of ours, a question, a file or a command
    `cancel`        the answer to a cancelled prompt; then the agent is given up and its process killed
    `probe`         supervised: an agent that is at nothing says nothing and does not answer a ping; then its process is
                    killed and started again
    `late`          how long after a turn's answer its late updates are waited for

    A vendor or a role that needs others says so by `dataclasses.replace(limits, idle=1800)`. Where the process has
    ended no limit is waited for.
    """

    initialize: float | None = 60
    authenticate: float | None = 300
    session: float | None = 60
    request: float | None = 30
    turn: float | None = None
    idle: float | None = 600
    cancel: float = 5
    probe: float | None = 10
    late: float = 0.25


DEFAULTS = Limits()
