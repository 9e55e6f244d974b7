"""Agent: one async method per ACP agent method, named mechanically, in the order of the specification."""

import contextlib
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from acp_wire import build, methods
from acp_wire.connection import Call, Connection
from acp_wire.errors import AUTH_REQUIRED, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, RpcError
from acp_wire.methods import INITIALIZE
from ars_acp import __version__, auth, blocks, delivery, opening, steering
from ars_acp.config import SessionConfig
from ars_acp.errors import SettingsError, invalid_message
from ars_acp.health import Health
from ars_acp.log import Log
from ars_acp.model_choice import ModelChoice
from ars_acp.rewind import Numbered
from ars_acp.session import Entry, Session
from ars_acp.sessions import Sessions, log_errors_told
from ars_acp.settings import Settings, forget_login
from ars_acp.trace import Trace, trace_of, tracing
from ars_acp.warming import Warming

if TYPE_CHECKING:
    from acp_wire.schema.authentication import AuthenticateRequest, LogoutRequest
    from acp_wire.schema.config_options import SetSessionConfigOptionRequest
    from acp_wire.schema.extensions import (
        AckRequest,
        ForkSessionRequest,
        HealthRequest,
        ReplayRequest,
        RetoolRequest,
        RewindRequest,
        SetSessionModelRequest,
        SteeringRequest,
    )
    from acp_wire.schema.initialization import ClientCapabilities, InitializeRequest
    from acp_wire.schema.prompt_turn import CancelNotification, PromptRequest
    from acp_wire.schema.session import (
        CloseSessionRequest,
        DeleteSessionRequest,
        McpServer,
        SetSessionModeRequest,
    )
    from acp_wire.schema.session_opening import (
        ListSessionsRequest,
        LoadSessionRequest,
        NewSessionRequest,
        ResumeSessionRequest,
    )
    from ars_acp.mcp_servers import McpServers
    from ars_acp.models.model import Model
    from ars_acp.turn import Turn
    from event_log.stores import Store

PROTOCOL_VERSION = 1
# Extensions of our own, by which clients know that we have them.
OURS = dict.fromkeys(("ars/seq", "ars/replay", "ars/ack", "ars/rewind", "ars/tools", "ars/retool", "ars/health"), True)
# What belongs to a session's turns, and how a `session/cancel` answers it.
IF_CANCELLED = {"session/prompt": {"stopReason": "cancelled"}, "_session/steering": steering.PROMPT_REQUIRED}


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
        self._models = ModelChoice(settings, make_model)
        self._reload = reload
        self._later = later
        self._closing = closing
        self._sessions = Sessions(store)
        self._health = Health()
        self._client: ClientCapabilities | None = None
        self._initialized = False
        self._warming = Warming(log)
        self._opened_one = False
        self._usage_untold: list[Session] = []
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

    async def warm(self) -> None:
        """Loads, after the first session was answered, what its first prompt would wait for; asks which models are."""
        await self._warming.load(self._models, self._client)
        untold, self._usage_untold = self._usage_untold, []
        for session in untold:
            if self._sessions.active.get(session.id) is session:
                with contextlib.suppress(RpcError):
                    self._tell_usage(session)
        await self._models.list()
        for session in list(self._sessions.active.values()):
            self._tell_options(session)

    async def _warm_when_quiet(self) -> None:
        await self._warming.quiet()
        if self._settings.can_reach_a_model():
            await self._warming.load(self._models, self._client)

    def received(self, call: Call) -> None:
        """Runs in wire order, before the request's task: what a later line may refer to is known from here on."""
        self._warming.asked()
        if call.method == "initialize":
            INITIALIZE.params(call.raw)  # refused here, it has initialized nothing
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
        if self._client is None:
            call.then(lambda: self._later(self._warm_when_quiet))
        self._client = params.client_capabilities
        name = params.client_info.name if params.client_info else None
        self._log.info("client.initialized", client=name, version=params.protocol_version)
        takes = blocks.model_takes(self._settings, self._models.default_name)
        return {
            "protocolVersion": PROTOCOL_VERSION,
            "agentCapabilities": {
                "loadSession": True,
                "promptCapabilities": takes.prompt_capabilities(),
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
                "_meta": OURS,
            },
            "agentInfo": {"name": "ars-acp", "title": "ARS", "version": __version__},
            "authMethods": auth.methods(terminal=self._client.auth.terminal),
            "_meta": steering.SUPPORTED,
        }

    async def authenticate(self, params: "AuthenticateRequest", call: Call) -> dict[str, Any]:
        if params.method_id != "api-key":
            raise invalid_message(INVALID_PARAMS, "methodId: only `api-key` can be asked for this way")
        if not self._settings.can_reach_a_model():
            # The person may have run `ars-acp login` since we started.
            try:
                self._reload_settings()
            except SettingsError as exc:
                raise RpcError(AUTH_REQUIRED, str(exc)) from None
            if not self._settings.can_reach_a_model():
                raise RpcError(AUTH_REQUIRED, auth.NO_MODEL)
        return {}

    async def logout(self, params: "LogoutRequest", call: Call) -> dict[str, Any]:
        """Forgets the key that `ars-acp login` kept; one in the environment is the environment's to take back."""
        await anyio.to_thread.run_sync(forget_login)
        self._reload_settings()
        return {}

    def _reload_settings(self) -> None:
        self._settings = self._reload()
        self._models = ModelChoice(self._settings, self._make_model)

    async def session_new(self, params: "NewSessionRequest", call: Call) -> dict[str, Any]:
        directories = self._checked(params, call)
        session = await self._sessions.create(params.cwd, directories, self._settings.mode)
        return {"sessionId": session.id, **self._opened(session, params, call)}

    async def session_load(self, params: "LoadSessionRequest", call: Call) -> dict[str, Any]:
        from ars_acp.replay import replay

        session, entries, state = await self._open(params, call)
        if entries is None:
            with log_errors_told():
                entries = list(session.log.read())
        if not self._config(session).shows_thoughts:
            entries = [(number, entry) for number, entry in entries if entry["type"] != "thought"]
        for update in replay(session.id, entries, compactions=self._streamer(session).compactions):
            self.connection.notify(methods.SESSION_UPDATE, update)
            session.sent = update["_meta"]["ars/seq"]
        return state

    async def session_resume(self, params: "ResumeSessionRequest", call: Call) -> dict[str, Any]:
        return (await self._open(params, call))[2]

    async def _open(
        self, params: "LoadSessionRequest | ResumeSessionRequest", call: Call
    ) -> tuple[Session, list[Numbered] | None, dict[str, Any]]:
        directories = self._checked(params, call)
        session, entries = await self._sessions.open(params.session_id, params.cwd, directories, self._settings.mode)
        state = self._opened(session, params, call)
        call.then(lambda: self._tell_usage(session))
        call.then(lambda: self._tell_recovered(session, replayed=call.method == "session/load"))
        return session, entries, state

    def _checked(self, params: "opening.Opening", call: Call) -> tuple[str, ...]:
        """See `opening.checked`."""
        if not self._settings.can_reach_a_model():
            raise RpcError(AUTH_REQUIRED, auth.NO_MODEL)
        return opening.checked(params, call)

    def _opened(self, session: Session, params: "opening.Opening", call: Call) -> dict[str, Any]:
        """What the answer that makes a session active says of it; sees to what follows that answer."""
        state = self._config(session).state()
        session.told_options = None
        call.then(lambda: self._tell_commands(session))
        call.then(lambda: self._tell_options(session, state["configOptions"]))
        call.then(lambda: session.log.tell(self._streamer(session)))
        if not self._opened_one:
            self._opened_one = True
            call.then(lambda: self._later(self.warm))
        if session.mcp is not None:
            session.mcp.stop()
        session.by_client = opening.tools_by_client(params.meta)
        session.mcp = servers = self._mcp_servers(session, params.mcp_servers) if params.mcp_servers else None
        if servers is not None:
            call.then(lambda: servers.start(self._later))
        return state

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

    def _config(self, session: Session) -> SessionConfig:
        options = self._client.session.config_options if self._client and self._client.session else None
        return SessionConfig(session, self._models, boolean=options is not None and options.boolean is not None)

    def _tell_options(self, session: Session, told: list[dict[str, Any]] | None = None) -> None:
        """Sends the options where they are not what the client was `told` of them; nothing before it was told any."""
        known, session.told_options = told or session.told_options, told or session.told_options
        options = self._config(session).options()
        if known is not None and known != options:
            session.told_options = options
            self._streamer(session).update(build.config_option_update(options))

    def _tell_usage(self, session: Session) -> None:
        if session.facts.used is None:
            return
        if not self._warming.loaded:  # what it takes is heavy, and the answer is not on its way yet
            self._usage_untold.append(session)
        else:
            from ars_acp import usage

            self._streamer(session).update(usage.update(session.facts, self._config(session).known()))

    def _tell_recovered(self, session: Session, *, replayed: bool) -> None:
        recovered, session.recovered = session.recovered, None
        if recovered is not None:
            recovered.tell(self._streamer(session), replayed=replayed)

    async def session_fork(self, params: "ForkSessionRequest", call: Call) -> dict[str, Any]:
        if "fork" not in self._settings.unstable:
            raise RpcError(METHOD_NOT_FOUND, "Method not found", "session/fork")
        if params.system_prompt is not None:
            raise invalid_message(INVALID_PARAMS, "systemPrompt: this agent keeps its own; leave it out")
        directories = self._checked(params, call)
        session = await self._sessions.fork(params.session_id, params.cwd, directories, self._settings.mode)
        return {"sessionId": session.id, **self._opened(session, params, call)}

    async def session_list(self, params: "ListSessionsRequest", call: Call) -> dict[str, Any]:
        if params.cwd is not None:
            opening.absolute(params.cwd, ())
        return await self._sessions.page(params.cwd, params.cursor)

    async def session_close(self, params: "CloseSessionRequest", call: Call) -> dict[str, Any]:
        await self._sessions.close(self._sessions.find(params.session_id))
        return {}

    async def session_delete(self, params: "DeleteSessionRequest", call: Call) -> dict[str, Any]:
        await self._sessions.delete(params.session_id)
        return {}

    async def session_set_mode(self, params: "SetSessionModeRequest", call: Call) -> dict[str, Any]:
        await self._choose(params.session_id, "mode", params.mode_id, "modeId", call)
        return {}

    async def session_set_model(self, params: "SetSessionModelRequest", call: Call) -> dict[str, Any]:
        await self._choose(params.session_id, "model", params.model_id, "modelId", call)
        return {}

    async def session_set_config_option(self, params: "SetSessionConfigOptionRequest", call: Call) -> dict[str, Any]:
        return {"configOptions": await self._choose(params.session_id, params.config_id, params.value, "value", call)}

    async def _choose(
        self, session_id: str, option_id: str, value: str | bool, field: str, call: Call
    ) -> list[dict[str, Any]]:
        session = self._sessions.find(session_id)
        config = self._config(session)
        with log_errors_told():
            updates = await config.choose(option_id, value, field)

        def tell() -> None:
            for update in updates:
                self._streamer(session).update(update)

        call.then(tell)
        return config.options()

    async def session_prompt(self, params: "PromptRequest", call: Call) -> dict[str, Any]:
        session = self._sessions.find(params.session_id)
        said = blocks.said("prompt", params.prompt, self._config(session).takes())
        return await self._take_turn(session, said, trace_of(params.meta), call)

    async def session_steering(self, params: "SteeringRequest", call: Call) -> dict[str, Any]:
        session = self._sessions.find(params.session_id)
        message = blocks.said("steer", params.prompt, self._config(session).takes())
        if session.inbox is not None and session.inbox.put(message):
            with log_errors_told():
                session.record({**message, "type": "heard"})  # so that it is not lost if we die before it joins
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
        from ars_acp.title import give_title
        from ars_acp.turn import spent

        async with session.turn:
            turn = self._turn(session, trace, call)
            with tracing(trace), log_errors_told():
                await self._sessions.save(session)
                try:
                    stop = await run_prompt(turn, said)
                    give_title(session, turn.streamer)
                finally:
                    session.log.tell(turn.streamer)
                    session.log.rest()  # sessions may be many, and descriptors few
        usage = spent(turn) if "turn_usage" in self._settings.unstable else None
        return {"stopReason": stop} | ({"usage": usage} if usage else {})

    def _turn(self, session: Session, trace: Trace, call: Call) -> "Turn":
        from ars_acp.acp_hands import AcpHands, abilities
        from ars_acp.tools.tool import ToolLimits
        from ars_acp.turn import Turn

        session.inbox = steering.Inbox(call.scope)
        config = self._config(session)
        return Turn(
            session=session,
            model=config.model(),
            hands=AcpHands(
                self.connection, session.id, abilities(self._client), self._settings, trace, session.by_client
            ),
            streamer=self._streamer(session),
            settings=self._settings,
            limits=ToolLimits(command_seconds=self._settings.command_seconds),
            log=self._log,
            config=config,
            takes=config.takes(),
            inbox=session.inbox,
        )

    async def ars_health(self, params: "HealthRequest", call: Call) -> dict[str, Any]:
        return await self._health.of(self._models)

    async def ars_session_replay(self, params: "ReplayRequest", call: Call) -> dict[str, Any]:
        session = self._sessions.find(params.session_id)
        with log_errors_told():
            return delivery.replay(session, params, thoughts=self._config(session).shows_thoughts)

    async def ars_session_ack(self, params: "AckRequest", call: Call) -> dict[str, Any]:
        with log_errors_told():
            delivery.ack(self._sessions.find(params.session_id), params)
        return {}

    async def ars_session_rewind(self, params: "RewindRequest", call: Call) -> dict[str, Any]:
        session = self._sessions.find(params.session_id)
        if session.prompts:
            raise invalid_message(INVALID_PARAMS, "sessionId: a turn of this session is running; cancel it first")
        trace = trace_of(params.meta)
        async with session.turn:
            with tracing(trace), log_errors_told():
                return await delivery.rewind(self._turn(session, trace, call), params)

    async def ars_session_retool(self, params: "RetoolRequest", call: Call) -> dict[str, Any]:
        """A turn that runs goes on with the tools that it has begun with."""
        session = self._sessions.find(params.session_id)
        session.by_client = opening.tools_by_client({"ars/tools": params.tools})
        return {}

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

    def _streamer(self, session: Session) -> Any:
        from ars_acp.streamer import Streamer

        client_session = self._client.session if self._client else None
        notices = client_session is not None and client_session.notices is not None
        compactions = client_session is not None and client_session.compaction is not None
        shows = self._config(session)
        return Streamer(
            self.connection,
            session,
            notices=notices,
            compactions=compactions,
            shows_thoughts=lambda: shows.shows_thoughts,
        )
