"""What can go wrong with a log, and who is to blame.

LogError
├── LogNameInvalid     the caller: a name is 1 to 64 of A-Z a-z 0-9 _ and -
├── LogNotFound        the caller: there is no log of that name, or it has been deleted
├── LogExists          the caller: the name is taken
├── LogClosed          the caller: the log was closed
├── StoreInvalid       the settings: no store answers to that URL
├── LogStorageFailed   the machine: disk full, permission denied. Of a failed append nothing is in the log
└── LogDamaged         what is stored: it is not what was written
"""


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
    def __init__(self, name: str) -> None:
        super().__init__(f"the log {name} is closed")
        self.name = name


class StoreInvalid(LogError):
    """A store's URL has an unknown scheme, or says something that its store cannot use."""


class LogStorageFailed(LogError):
    """The operating system refused. `errno` is its number, None where there is none (a write that stopped short)."""

    def __init__(self, action: str, reason: str, errno: int | None = None) -> None:
        super().__init__(f"{action}: {reason}")
        self.errno = errno


class LogDamaged(LogError):
    """A stored entry is unreadable or out of order: entry `number`, whose line starts at byte `offset`."""

    def __init__(self, name: str, reason: str, *, number: int, offset: int) -> None:
        super().__init__(f"the log {name} is damaged: {reason} (entry {number}, at byte {offset})")
        self.name = name
        self.number = number
        self.offset = offset
