"""What a method gets and what the table of methods says of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ars_gateway.gateway import Gateway
    from ars_gateway.sockets.connection import Connection

Json = dict[str, Any]
OPERATOR = frozenset({"operator"})
NODE = frozenset({"node"})


@dataclass(frozen=True)
class Caller:
    """Who is on a connection, and what it may do there: settled by the handshake, the same until the end."""

    conn_id: str
    role: str
    scopes: frozenset[str]  # closed: whoever may write may read
    granted: tuple[str, ...]  # as asked for and allowed
    client: Json
    device_id: str | None
    principal: str
    local: bool
    caps: frozenset[str]
    by_device_token: bool = False

    def has(self, scope: str | None) -> bool:
        """Whether this caller may what `scope` guards; None guards nothing."""
        return scope is None or scope in self.scopes

    @property
    def name(self) -> str:
        """Whose allowance is used up: the device's where there is one."""
        return self.device_id or self.principal

    @property
    def who(self) -> str:
        """Who it is among a principal's clients: a device is the same one on each of its connections."""
        return self.device_id or self.conn_id


@dataclass(slots=True)
class Call:
    """One request on its way. A handler's return value is its answer; `answer` gives one before that."""

    gateway: "Gateway"
    connection: "Connection"
    caller: Caller
    id: str

    def answer(self, payload: Any) -> None:
        """Sends an early answer under this request's id; what the handler returns later is a second one."""
        self.connection.answer(self.id, payload)


# Answered inline where it is a plain function, in a task of its own where it is a coroutine function.
Handler = Callable[[Call, Any], Any] | Callable[[Call, Any], Awaitable[Any]]


@dataclass(frozen=True)
class Method:
    """A row of the table: which scope a caller needs (None: none), and who serves it.

    `params` names the schema of its parameters, the method's own where it is `""`, none where None. `rate` is how many
    calls in how many seconds one device, or else one principal, may make; methods of one `allowance` share it.
    """

    name: str
    scope: str | None
    handler: Handler
    params: str | None = ""
    advertised: bool = True
    roles: frozenset[str] = OPERATOR
    rate: tuple[int, float] | None = None
    allowance: str = ""
