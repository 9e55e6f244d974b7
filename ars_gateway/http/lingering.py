"""A client that still writes its request does not read the answer, and loses it where the socket is closed on what it
has written. So an answer that is given before the request is whole has its end when the rest has come, unread."""

from typing import Any

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ars_gateway.limits import Limits


def lingering(app: ASGIApp, limits: Limits) -> ASGIApp:
    """The same application; of a request that it has answered early the rest is let pass by, within bounds.

    `request.state` has from `server.Door`: `unread()`, whether more of the request is to come, and `hang_up()`. It is
    given `straight`, the way past all that looks at answers, for the middle of one that goes on.
    """

    async def patient(scope: Scope, receive: Receive, send: Send) -> None:
        state: dict[str, Any] = scope["state"]
        state["straight"] = send

        async def sending(message: Message) -> None:
            last = message["type"] == "http.response.body" and not message.get("more_body", False)
            if not last or not state["unread"]():
                await send(message)
                return
            await send({**message, "more_body": True})
            await _let_pass(receive, limits)
            if state["unread"]():
                state["hang_up"]()
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        await app(scope, receive, sending)

    return patient


async def _let_pass(receive: Receive, limits: Limits) -> None:
    """Returns when the rest of the request is over, is too much or too slow, or nothing more comes."""
    left, begun = limits.linger_bytes, anyio.current_time()
    while left > 0 and anyio.current_time() - begun < limits.linger_seconds:
        with anyio.move_on_after(limits.linger_silent_seconds) as silent:
            message = await receive()
        if silent.cancelled_caught or not message.get("more_body", False):
            return
        left -= len(message.get("body", b""))
