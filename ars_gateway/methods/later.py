"""Methods that are known and not served: they say so, to those who might call them."""

from collections.abc import Callable
from typing import Any

from ars_gateway.call import Call, Json
from ars_gateway.errors import invalid, unavailable


def unserved(name: str) -> Callable[[Call, Json], Any]:
    """A handler that says that `name` is not served here."""

    def handler(call: Call, params: Json) -> Any:
        raise unavailable(f"{name} is not served by this gateway")

    return handler


def connect(call: Call, params: Json) -> Any:
    """A second handshake."""
    raise invalid("connect is only valid as the first request")
