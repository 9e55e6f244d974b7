"""Sessions of a crew's roles, on agents that somebody else has started and looks after."""

from typing import TYPE_CHECKING, Protocol

import anyio

from connector.crew.role import Role
from connector.errors import ConnectorError

if TYPE_CHECKING:
    from connector.session import Session


class Ensures(Protocol):
    """An agent that gives the same conversation back for the same name: a `Connector`, or one that is supervised."""

    async def ensure(self, name: str, cwd: str, /, *, system_prompt: str | None = None) -> "Session": ...


class Named(Protocol):
    """Agents by name: a `Supervisor`, or a dict."""

    def __contains__(self, name: object, /) -> bool: ...

    def __getitem__(self, name: str, /) -> Ensures: ...


class Agents:
    """The agents of a crew, by the names that its roles call them. Several roles may share one: each has a session.

    Under a `Supervisor` a role's agent that ends is back for its next turn, with all that it remembers.
    """

    def __init__(self, agents: Named) -> None:
        self._agents = agents
        self._sessions: dict[tuple[str, ...], Session] = {}
        self._one_at_a_time: dict[tuple[str, ...], anyio.Lock] = {}

    async def ensure(self, role: Role, name: str, cwd: str) -> "Session":
        """See `Sessions`; `ConnectorError` too for an agent that is not there."""
        if role.agent not in self._agents:
            raise ConnectorError(role.agent, f"{role.name} has no agent of that name")
        # What stands behind the last stroke is the role, whatever is in its name.
        conversation = f"{name}/{role.name.replace('%', '%25').replace('/', '%2F')}"
        key = role.agent, cwd, conversation
        async with self._one_at_a_time.setdefault(key, anyio.Lock()):
            session = self._sessions.get(key)
            if session is None or session.closed:
                session = await self._agents[role.agent].ensure(conversation, cwd, system_prompt=role.prompt)
                self._sessions[key] = session
            return session
