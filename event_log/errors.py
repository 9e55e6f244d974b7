"""What can go wrong with a log, and who is to blame.

LogError
├── LogNameInvalid     the caller: a name is 1 to 64 of A-Z a-z 0-9 _ and -
├── LogNotFound        the caller: there is no log of that name, or it has been deleted
├── LogExists          the caller: the name is taken
├── LogClosed          the caller: the log was closed
│   └── LogLost        nobody: another owner has taken the log over; this one writes no more
├── LogNotHeld         the caller: the log was opened to be read; claim it before the first append
├── LogHeld            another owner, who lives: it is writing this log. Worth another try later
├── StoreInvalid       the settings: no store answers to that URL
├── LogStorageFailed   the machine: disk full, permission denied. Of a failed append nothing is in the log
│   └── StoreUnreachable  the store's server: it does not answer or refuses to work. Worth another try later
├── LogDamaged         what is stored: it is not what was written. It is read up to there, and never written again
└── LogNewer           what is stored: a newer version of this program wrote it, so this one only reads it
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from event_log.owner import Owner


class LogError(Exception):
    """The root of all errors of this package; its text is one line, fit for a person."""


class LogNameInvalid(LogError):
    """The name of a log has other characters than the allowed ones, or too many. The name is not repeated."""

    def __init__(self) -> None:
        super().__init__("the name of a log is 1 to 64 of the characters A-Z, a-z, 0-9, _ and -")


class LogNotFound(LogError):
    def __init__(self, name: str) -> None:
        super().__init__(f"there is no log {name}")
        self.name = name


class LogExists(LogError):
    def __init__(self, name: str) -> None:
        super().__init__(f"there already is a log {name}")
        self.name = name


class LogClosed(LogError):
    def __init__(self, name: str, reason: str = "is closed") -> None:
        super().__init__(f"the log {name} {reason}")
        self.name = name


class LogLost(LogClosed):
    """Another owner has the log now: nothing more is written here. It may be opened, and claimed, afresh."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "was taken over by another process")


class LogNotHeld(LogError):
    def __init__(self, name: str) -> None:
        super().__init__(f"the log {name} was opened to be read only: claim it first")
        self.name = name


class LogHeld(LogError):
    """`owner` is writing the log, and is not known to be dead."""

    def __init__(self, name: str, owner: "Owner") -> None:
        super().__init__(f"the log {name} is open in another process (pid {owner.pid} on {owner.host})")
        self.name = name
        self.owner = owner


class StoreInvalid(LogError):
    """A store's URL has an unknown scheme, or says something that its store cannot use."""


class LogStorageFailed(LogError):
    """The operating system refused. `errno` is its number, None where there is none (a write that stopped short)."""

    def __init__(self, action: str, reason: str, errno: int | None = None) -> None:
        super().__init__(f"{action}: {reason}")
        self.errno = errno


class StoreUnreachable(LogStorageFailed):
    """Nothing is lost by it: what was written is in local files. `reason` is one line."""

    def __init__(self, shown: str, reason: str) -> None:
        super().__init__(f"the store at {shown} cannot be reached now", f"{reason}; try again")
        self.reason = reason


class LogDamaged(LogError):
    """A stored entry is unreadable or out of order: entry `number`, whose line starts at byte `offset`."""

    def __init__(self, name: str, reason: str, *, number: int, offset: int) -> None:
        super().__init__(f"the log {name} is damaged: {reason} (entry {number}, at byte {offset})")
        self.name = name
        self.number = number
        self.offset = offset


class LogNewer(LogError):
    def __init__(self, name: str, version: int) -> None:
        super().__init__(f"the log {name} has format {version}, of a newer version of this program: it is only read")
        self.name = name
        self.version = version
