"""Agent: one async method per ACP agent method, named mechanically, in the order of the specification."""

import contextlib
import gc
import os.path
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import anyio

from acp_wire import build, methods
from acp_wire.connection import Call, Connection
from acp_wire.errors import AUTH_REQUIRED, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, RpcError
from ars_acp import __version__, blocks, steering
from ars_acp.errors import LLM_ERROR, SettingsError, invalid_message, rpc_error
from ars_acp.log import Log
from ars_acp.session import Entry, Session
from ars_acp.sessions import Sessions, log_errors_told
from ars_acp.settings import Settings, forget_login
from ars_acp.trace import Trace, trace_of, tracing

if TYPE_CHECKING:
    from acp_wire.schema.extensions import ForkSessionRequest, SteeringRequest
    from acp_wire.schema.initialization import (
        AuthenticateRequest,
        ClientCapabilities,
        InitializeRequest,
        LogoutRequest,
    )
    from acp_wire.schema.prompt_turn import CancelNotification, PromptRequest
    from acp_wire.schema.session import (
        CloseSessionRequest,
        DeleteSessionRequest,
        ListSessionsRequest,
        LoadSessionRequest,
        McpServer,
        NewSessionRequest,
        ResumeSessionRequest,
    )
    from ars_acp.mcp_servers import McpServers
    from ars_acp.models.model import Model
    from ars_acp.turn import Turn
    from event_log.stores import Store

PROTOCOL_VERSION = 1
SESSION_CAPABILITIES = ("list", "resume", "close", "delete", "additionalDirectories")
# What belongs to a session's turns, and how a `session/cancel` answers it.
IF_CANCELLED = {"session/prompt": {"stopReason": "cancelled"}, "_session/steering": steering.PROMPT_REQUIRED}
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
        self._log = log
        self._make_model = make_model
        self._reload = reload
        self._later = later
        self._closing = closing
        self._made: Model | None = None
        self._sessions = Sessions(store)
        self._client: ClientCapabilities | None = None
        self._initialized = False
        self._busy_at_end = False

    @property
    def was_busy(self) -> bool:
        """Whether a turn was running when the client closed."""
        return self._busy_at_end

    def closed(self) -> None:
        """Runs when the client has closed, before what is still running is cancelled."""
        self._busy_at_end = any(session.prompts for session in self._sessions.active.values())
        for session in self._sessions.active.values():
            if session.mcp is not None:
                session.mcp.stop()
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
            self._initialized = True
        elif not self._initialized:
            raise invalid_message(INVALID_REQUEST, "Send `initialize` first")
        elif call.method in IF_CANCELLED:
            session_id = call.raw.get("sessionId") if isinstance(call.raw, dict) else None
            session = self._sessions.active.get(session_id) if isinstance(session_id, str) else None
            if session is not None:
                call.if_cancelled = IF_CANCELLED[call.method]
                session.prompts.append(call)
                call.ended(lambda: session.prompt_ended(call))

    async def initialize(self, params: "InitializeRequest", call: Call) -> dict[str, Any]:
        self._client = params.client_capabilities
        name = params.client_info.name if params.client_info else None
        self._log.info("client.initialized", client=name, version=params.protocol_version)
        return {
            "protocolVersion": PROTOCOL_VERSION,
            "agentCapabilities": {
                "loadSession": True,
                "promptCapabilities": self._takes().prompt_capabilities(),
                "mcpCapabilities": {"http": True, "sse": True},
                "sessionCapabilities": {
                    "list": {},
                    "resume": {},
                    "close": {},
                    "delete": {},
                    "additionalDirectories": {},
                    **({"fork": {}} if "fork" in self._settings.unstable else {}),
                },
                "auth": {"logout": {}},
                "_meta": {"ars/seq": True},
            },
            "agentInfo": {"name": "ars-acp", "title": "ARS", "version": __version__},
            "authMethods": self._auth_methods(),
            "_meta": steering.SUPPORTED,
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

    async def logout(self, params: "LogoutRequest", call: Call) -> dict[str, Any]:
        """Forgets the key that `ars-acp login` kept; one in the environment is the environment's to take back."""
        await anyio.to_thread.run_sync(forget_login)
        self._settings = self._reload()
        self._made = None
        return {}

    async def session_new(self, params: "NewSessionRequest", call: Call) -> dict[str, Any]:
        self._require_a_model()
        directories = _absolute(params.cwd, params.additional_directories)
        _check_servers(params.mcp_servers, call)
        session = self._sessions.create(params.cwd, directories, self._settings.mode)
        self._opened(session, params.mcp_servers, call)
        return {"sessionId": session.id}

    async def session_load(self, params: "LoadSessionRequest", call: Call) -> dict[str, Any]:
        from ars_acp.replay import replay

        session = self._open(params, call)
        with log_errors_told():
            entries = list(session.log.read())
        for update in replay(session.id, entries, compactions=self._streamer(session).compactions):
            self.connection.notify(methods.SESSION_UPDATE, update)
            session.sent = update["_meta"]["ars/seq"]
        return {}

    async def session_resume(self, params: "ResumeSessionRequest", call: Call) -> dict[str, Any]:
        self._open(params, call)
        return {}

    def _open(self, params: "LoadSessionRequest | ResumeSessionRequest", call: Call) -> Session:
        self._require_a_model()
        directories = _absolute(params.cwd, params.additional_directories)
        _check_servers(params.mcp_servers, call)
        session = self._sessions.open(params.session_id, params.cwd, directories, self._settings.mode)
        self._opened(session, params.mcp_servers, call)
        return session

    def _opened(self, session: Session, named: "Sequence[McpServer]", call: Call) -> None:
        """What follows the answer that makes a session active."""
        call.then(lambda: self._tell_commands(session))
        call.then(lambda: self._later(self.warm))
        if session.mcp is not None:
            session.mcp.stop()
        session.mcp = servers = self._mcp_servers(session, named) if named else None
        if servers is not None:
            call.then(lambda: servers.start(self._later))

    def _mcp_servers(self, session: Session, named: "Sequence[McpServer]") -> "McpServers":
        from ars_acp.mcp_servers import McpServers

        return McpServers(
            named,
            session=session.id,
            cwd=session.facts.cwd,
            settings=self._settings,
            log=self._log,
            tell=lambda *said: self._streamer(session).tell(*said),
        )

    async def session_fork(self, params: "ForkSessionRequest", call: Call) -> dict[str, Any]:
        if "fork" not in self._settings.unstable:
            raise RpcError(METHOD_NOT_FOUND, "Method not found", "session/fork")
        if params.system_prompt is not None:
            raise invalid_message(INVALID_PARAMS, "systemPrompt: this agent keeps its own; leave it out")
        self._require_a_model()
        directories = _absolute(params.cwd, params.additional_directories)
        _check_servers(params.mcp_servers, call)
        session = self._sessions.fork(params.session_id, params.cwd, directories, self._settings.mode)
        self._opened(session, params.mcp_servers, call)
        return {"sessionId": session.id}

    async def session_list(self, params: "ListSessionsRequest", call: Call) -> dict[str, Any]:
        if params.cwd is not None:
            _absolute(params.cwd, ())
        return self._sessions.page(params.cwd, params.cursor)

    async def session_close(self, params: "CloseSessionRequest", call: Call) -> dict[str, Any]:
        await self._sessions.close(self._sessions.find(params.session_id))
        return {}

    async def session_delete(self, params: "DeleteSessionRequest", call: Call) -> dict[str, Any]:
        await self._sessions.delete(params.session_id)
        return {}

    async def session_prompt(self, params: "PromptRequest", call: Call) -> dict[str, Any]:
        session = self._sessions.find(params.session_id)
        said = blocks.said("prompt", params.prompt, self._takes())
        return await self._take_turn(session, said, trace_of(params.meta), call)

    async def session_steering(self, params: "SteeringRequest", call: Call) -> dict[str, Any]:
        session = self._sessions.find(params.session_id)
        message = blocks.said("steer", params.prompt, self._takes())
        if session.inbox is not None and session.inbox.put(message):
            return steering.INJECTED
        if steering.needs_a_prompt(params.meta) or call.scope.cancel_called:
            return steering.PROMPT_REQUIRED
        # A prompt that nobody waits for: on the session's list, so that a cancel finds it.
        prompt = Call(None, "session/prompt", call.raw)
        session.prompts.append(prompt)
        work = partial(self._turn_of_its_own, session, message, trace_of(params.meta), prompt)
        call.then(lambda: self._later(partial(self.connection.guarded, call.method, work)))
        return steering.STARTED

    async def _turn_of_its_own(self, session: Session, said: Entry, trace: Trace, call: Call) -> None:
        try:
            with call.scope:
                await self._take_turn(session, {**said, "type": "prompt"}, trace, call)
        except RpcError as exc:
            with contextlib.suppress(RpcError), log_errors_told():
                self._streamer(session).tell("error", "The turn ended with an error", exc.message)
        finally:
            session.prompt_ended(call)

    async def _take_turn(self, session: Session, said: Entry, trace: Trace, call: Call) -> dict[str, Any]:
        """One turn of a session, when those before it have ended; returns the answer to its prompt."""
        from ars_acp.commands import run_prompt
        from ars_acp.turn import spent

        async with session.turn:
            turn = self._turn(session, trace, call)
            with tracing(trace), log_errors_told():
                try:
                    stop = await run_prompt(turn, said)
                finally:
                    session.log.rest()  # sessions may be many, and descriptors few
        usage = spent(turn) if "turn_usage" in self._settings.unstable else None
        return {"stopReason": stop} | ({"usage": usage} if usage else {})

    def _turn(self, session: Session, trace: Trace, call: Call) -> "Turn":
        from ars_acp.acp_hands import AcpHands, abilities
        from ars_acp.tools.tool import ToolLimits
        from ars_acp.turn import Turn

        session.inbox = steering.Inbox(call.scope)
        return Turn(
            session=session,
            model=self.model(),
            hands=AcpHands(self.connection, session.id, abilities(self._client), self._settings, trace),
            streamer=self._streamer(session),
            settings=self._settings,
            limits=ToolLimits(command_seconds=self._settings.command_seconds),
            log=self._log,
            takes=self._takes(),
            inbox=session.inbox,
        )

    def _takes(self) -> "blocks.Takes":
        """What the model takes besides text."""
        return blocks.model_takes(self._settings, self._made.name if self._made else self._settings.model)

    def session_cancel(self, params: "CancelNotification") -> None:
        session = self._sessions.active.get(params.session_id)
        if session is not None:
            session.cancel()

    def _tell_commands(self, session: Session) -> None:
        from ars_acp.acp_hands import abilities
        from ars_acp.commands import available

        # No entry of the log: it says what this agent can do for this client, and nothing of the session.
        update = build.session_update(session.id, available(abilities(self._client)))
        self.connection.notify(methods.SESSION_UPDATE, update)

    def _require_a_model(self) -> None:
        if not self._settings.can_reach_a_model():
            raise RpcError(AUTH_REQUIRED, NO_MODEL)

    def _streamer(self, session: Session) -> Any:
        from ars_acp.streamer import Streamer

        client_session = self._client.session if self._client else None
        notices = client_session is not None and client_session.notices is not None
        compactions = client_session is not None and client_session.compaction is not None
        return Streamer(self.connection, session, notices=notices, compactions=compactions)


def _check_servers(named: "Sequence[McpServer]", call: Call) -> None:
    if named:
        from ars_acp.mcp_servers import check  # late: most sessions name none

        check(named, call.raw)


def _absolute(cwd: str, directories: "Sequence[str]") -> tuple[str, ...]:
    """The further directories of a session. Raises `RpcError` unless they and `cwd` are absolute paths."""
    for name, path in [("cwd", cwd), *(("additionalDirectories", directory) for directory in directories)]:
        if not os.path.isabs(path) or "\0" in path:
            raise invalid_message(INVALID_PARAMS, f"{name}: an absolute path is needed", field=name)
    return tuple(directories)
