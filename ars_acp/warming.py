"""Loading what a turn needs before it is needed: after the first session's answer, or while nobody asks for one."""

import contextlib
import gc
from importlib import import_module
from typing import TYPE_CHECKING

import anyio

from acp_wire.errors import RpcError

if TYPE_CHECKING:
    from acp_wire.schema.initialization import ClientCapabilities
    from ars_acp.log import Log
    from ars_acp.model_choice import ModelChoice

# A program that wants a session asks for it at once, and one that only wanted to know who is there has gone again by
# now: who waits longer waits for a person, or keeps the process for later.
QUIET_SECONDS = 1.0


class Warming:
    """Of one agent. Its first loading is the only one; `loaded` says that it has ended."""

    def __init__(self, log: "Log") -> None:
        self._log = log
        self._loading = anyio.Lock()
        self.loaded = False
        self._patience = anyio.CancelScope()

    def asked(self) -> None:
        """A request came."""
        self._patience.deadline = anyio.current_time() + QUIET_SECONDS

    async def quiet(self) -> None:
        """Returns when no request has come for QUIET_SECONDS."""
        with self._patience:
            await anyio.sleep_forever()

    async def load(self, models: "ModelChoice", client: "ClientCapabilities | None") -> None:
        """Loads all that a first prompt would otherwise wait for, unless that was done; nothing is connected."""
        async with self._loading:
            if self.loaded:
                return
            await anyio.to_thread.run_sync(import_module, "structlog", abandon_on_cancel=True)
            self._log.load()
            await anyio.to_thread.run_sync(_load_what_a_turn_needs, models, client, abandon_on_cancel=True)
            await self._prepare(models)
            self.loaded = True
            if not gc.isenabled():
                gc.freeze()  # what is loaded by now stays until the end
                gc.enable()

    async def _prepare(self, models: "ModelChoice") -> None:
        from ars_acp.models.model import ModelError

        try:
            models.load()
            await models.base().warm()
        except (ModelError, RpcError) as exc:  # the first prompt will tell the client
            self._log.error("model.warming_failed", reason=str(exc))


def _load_what_a_turn_needs(models: "ModelChoice", client: "ClientCapabilities | None") -> None:
    from acp_wire import methods
    from ars_acp.acp_hands import abilities
    from ars_acp.tools import offered

    for module in ("ars_acp.commands", "ars_acp.title", "ars_acp.turn"):
        import_module(module)
    for tool in offered(abilities(client)):
        tool.spec()
    methods.SESSION_NEW.params({"cwd": "/", "mcpServers": []})
    methods.SESSION_PROMPT.params({"sessionId": "", "prompt": []})
    with contextlib.suppress(RpcError):  # the next who needs it is told
        models.known(models.default_name)
