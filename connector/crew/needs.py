"""What a crew needs from around it: sessions for its roles, and a log to write."""

from typing import TYPE_CHECKING, Any, Protocol

from connector.crew.conversation import Conversation, Reply
from connector.crew.role import Role

if TYPE_CHECKING:
    from connector.session import Session


class Sessions(Protocol):
    """Who gives the roles their agents."""

    async def ensure(self, role: Role, name: str, cwd: str) -> "Session":
        """The session in which a role speaks in the crew of that name: the same conversation each time, also after a
        restart. Raises `ConnectorError`, and `OSError` where the directory cannot be opened."""


class Writer(Protocol):
    """The crew's log, with the fold over it."""

    @property
    def conversation(self) -> Conversation:
        """Everything that was written."""

    def write(self, entry: dict[str, Any]) -> Reply | None:
        """Writes an entry, and returns the reply that it stands for. Raises LogError, and nothing has happened then."""
