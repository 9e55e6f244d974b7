"""Agent: one async method per ACP agent method, named mechanically, in the order of the specification."""

import contextlib
import gc
import os.path
from collections.abc import Callable, Coroutine, Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import anyio

from acp_wire.connection import Call, Connection
from acp_wire.errors import AUTH_REQUIRED, INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, NOT_FOUND, RpcError
from acp_wire.methods import INITIALIZE
from ars_acp import __version__
from ars_acp.errors import LLM_ERROR, SettingsError, invalid_message, rpc_error
from ars_acp.log import Log
from ars_acp.session import Session, new_session_id, opening_entry
from ars_acp.settings import Settings
from event_log.errors import LogError

if TYPE_CHECKING:
    from acp_wire.schema.initialization import AuthenticateRequest, ClientCapabilities, InitializeRequest
    from acp_wire.schema.prompt_turn import CancelNotification, PromptRequest
    from acp_wire.schema.session import NewSessionRequest
    from ars_acp.models.model import Model
    from event_log.stores import Store

PROTOCOL_VERSION = 1
CANCELLED = {"stopReason": "cancelled"}
NO_MODEL = (
    "No model to work with: set OPENAI_API_KEY (and OPENAI_BASE_URL, OPENAI_MODEL for another endpoint than OpenAI's), "
    "or run `ars-acp login`"
)


class Agent:
    """The agent's end of one connection. `later` starts a task that the program owns, `closing` hears of the end."""

    connection: Connection

    def __init__(
        self,
        settings: Settings,
        store: "Store",
        log: Log,
        *,
        make_model: "Callable[[Settings], Model]",
        reload: Callable[[], Settings],
        later: Callable[[Callable[[], Coroutine[Any, Any, None]]], Any],
        closing: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._log = log
        self._make_model = make_model
        self._reload = reload
        self._later = later
        self._closing = closing
        self._made: Model | None = None
        self._sessions: dict[str, Session] = {}
        self._client: ClientCapabilities | None = None
        self._initialized = False
        self._warming = False
        self._busy_at_end = False

    @property
    def was_busy(self) -> bool:
        """Whether a turn was running when the client closed."""
        return self._busy_at_end

    def closed(self) -> None:
        """Runs when the client has closed, before what is still running is cancelled."""
        self._busy_at_end = any(session.prompts for session in self._sessions.values())
        self._closing()

    def model(self) -> "Model":
        """The model of the settings, built when it is first needed. Raises `RpcError` where they cannot be used."""
        if self._made is None:
            try:
                self._made = self._make_model(self._settings)
            except SettingsError as exc:
                raise rpc_error(LLM_ERROR, str(exc), retryable=False) from None
        return self._made

    async def warm(self) -> None:
        """Loads, after the first session was answered, all that its first prompt would otherwise wait for."""
        self._log.load()
        await anyio.to_thread.run_sync(self._load_what_a_turn_needs, abandon_on_cancel=True)
        from ars_acp.models.model import ModelError

        try:
            await self.model().warm()
        except (ModelError, RpcError) as exc:  # the first prompt will tell the client
            self._log.error("model.warming_failed", reason=str(exc))
        if not gc.isenabled():
            gc.freeze()  # what is loaded by now stays until the end
            gc.enable()

    def _load_what_a_turn_needs(self) -> None:
        from acp_wire import methods
        from ars_acp.acp_hands import abilities
        from ars_acp.tools import offered

        import_module("ars_acp.turn")
        for tool in offered(abilities(self._client)):
            tool.spec()
        methods.SESSION_PROMPT.params({"sessionId": "", "prompt": []})

    def received(self, call: Call) -> None:
        """Runs in wire order, before the request's task: what a later line may refer to is known from here on."""
        if call.method == "initialize":
            INITIALIZE.params(call.raw)  # refused here, it has initialized nothing
            self._initialized = True
        elif not self._initialized:
            raise invalid_message(INVALID_REQUEST, "Send `initialize` first")
        elif call.method == "session/prompt":
            session_id = call.raw.get("sessionId") if isinstance(call.raw, dict) else None
            session = self._sessions.get(session_id) if isinstance(session_id, str) else None
            if session is not None:
                call.if_cancelled = CANCELLED
                session.prompts.append(call)
                call.ended(lambda: session.prompts.remove(call))

    async def initialize(self, params: "InitializeRequest", call: Call) -> dict[str, Any]:
        self._client = params.client_capabilities
        name = params.client_info.name if params.client_info else None
        self._log.info("client.initialized", client=name, version=params.protocol_version)
        return {
            "protocolVersion": PROTOCOL_VERSION,
            "agentCapabilities": {
                "loadSession": False,
                "promptCapabilities": {"image": False, "audio": False, "embeddedContext": True},
                "mcpCapabilities": {"http": False, "sse": False},
                "sessionCapabilities": {"additionalDirectories": {}},
                "_meta": {"ars/seq": True},
            },
            "agentInfo": {"name": "ars-acp", "title": "ARS", "version": __version__},
            "authMethods": self._auth_methods(),
        }

    def _auth_methods(self) -> list[dict[str, Any]]:
        described = (
            "Set OPENAI_API_KEY in the environment of the agent, with OPENAI_BASE_URL and OPENAI_MODEL for any other "
            "OpenAI-compatible endpoint; an endpoint on this host needs no key"
        )
        offered: list[dict[str, Any]] = [{"id": "api-key", "name": "API key", "description": described}]
        if self._client is not None and self._client.auth.terminal:
            told = "Asks for endpoint, key and model in a terminal and keeps them in a file that only you can read"
            offered.append(
                {"type": "terminal", "id": "login", "name": "ars-acp login", "description": told, "args": ["login"]}
            )
        return offered

    async def authenticate(self, params: "AuthenticateRequest", call: Call) -> dict[str, Any]:
        if params.method_id != "api-key":
            raise invalid_message(INVALID_PARAMS, "methodId: only `api-key` can be asked for this way")
        if not self._settings.can_reach_a_model():
            # The person may have run `ars-acp login` since we started.
            try:
                self._settings = self._reload()
            except SettingsError as exc:
                raise RpcError(AUTH_REQUIRED, str(exc)) from None
            if not self._settings.can_reach_a_model():
                raise RpcError(AUTH_REQUIRED, NO_MODEL)
            self._made = None
        return {}

    async def session_new(self, params: "NewSessionRequest", call: Call) -> dict[str, Any]:
        if not self._settings.can_reach_a_model():
            raise RpcError(AUTH_REQUIRED, NO_MODEL)
        for name, path in [("cwd", params.cwd), *(("additionalDirectories", d) for d in params.additional_directories)]:
            if not os.path.isabs(path) or "\0" in path:
                raise invalid_message(INVALID_PARAMS, f"{name}: an absolute path is needed", field=name)
        session_id = new_session_id()
        directories = tuple(params.additional_directories)
        with _log_errors_told():
            log = self._store.create(session_id)
            session = Session(session_id, params.cwd, directories, log, self._settings.mode)
            session.record(opening_entry(params.cwd, directories, session.mode))
            log.rest()  # sessions may be many, and descriptors few
        self._sessions[session_id] = session
        call.then(lambda: self._after_new(session, params.mcp_servers))
        return {"sessionId": session_id}

    def _after_new(self, session: Session, mcp_servers: Sequence[object]) -> None:
        if not self._warming:
            self._warming = True
            self._later(self.warm)
        if mcp_servers:
            self._streamer(session).tell("warning", "MCP servers are not used by this version")
            session.log.rest()

    async def session_prompt(self, params: "PromptRequest", call: Call) -> dict[str, Any]:
        session = self._sessions.get(params.session_id)
        if session is None:
            raise RpcError(NOT_FOUND, "No such session; create one with session/new", {"sessionId": params.session_id})
        from ars_acp.acp_hands import AcpHands, abilities
        from ars_acp.prompt import prompt_text
        from ars_acp.tools.tool import ToolLimits
        from ars_acp.turn import Turn, run_turn

        text = prompt_text(params.prompt)
        content = call.raw["prompt"]
        async with session.turn:
            can = abilities(self._client)
            turn = Turn(
                session=session,
                model=self.model(),
                hands=AcpHands(self.connection, session.id, can, self._settings),
                streamer=self._streamer(session),
                settings=self._settings,
                limits=ToolLimits(command_seconds=self._settings.command_seconds),
                log=self._log,
            )
            with _log_errors_told():
                try:
                    stop = await run_turn(turn, {"type": "prompt", "content": content, "text": text})
                finally:
                    session.log.rest()
        return {"stopReason": stop}

    def session_cancel(self, params: "CancelNotification") -> None:
        session = self._sessions.get(params.session_id)
        for call in session.prompts if session else ():
            call.scope.cancel()

    def _streamer(self, session: Session) -> Any:
        from ars_acp.streamer import Streamer

        client_session = self._client.session if self._client else None
        notices = client_session is not None and client_session.notices is not None
        return Streamer(self.connection, session, notices=notices)


@contextlib.contextmanager
def _log_errors_told() -> Iterator[None]:
    """A session whose log cannot be written cannot go on; the client is told why."""
    try:
        yield
    except LogError as exc:
        raise RpcError(INTERNAL_ERROR, f"The session's log cannot be written: {exc}") from None
