"""What the mock agent answers: one method per ACP agent method, in the shape of one vendor."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from acp_wire import build, methods
from acp_wire.connection import Call, Connection
from acp_wire.errors import AUTH_REQUIRED, INVALID_PARAMS, NOT_FOUND, RpcError
from connector.testing.play import Play, Remembered
from connector.testing.script import Script
from connector.vendors import Vendor

if TYPE_CHECKING:
    from acp_wire.schema.authentication import AuthenticateRequest
    from acp_wire.schema.initialization import ClientCapabilities, InitializeRequest
    from acp_wire.schema.prompt_turn import CancelNotification, PromptRequest
    from acp_wire.schema.session import (
        CloseSessionRequest,
        SetSessionModeRequest,
    )
    from acp_wire.schema.session_opening import (
        ListSessionsRequest,
        LoadSessionRequest,
        NewSessionRequest,
        ResumeSessionRequest,
    )

Json = dict[str, Any]
MODES = (("default", "Default"), ("plan", "Plan"))


@dataclass
class MockSession:
    """One session: where it stands in the script, and what it was told and has said."""

    id: str
    cwd: str
    mode: str = "default"
    at: int = 0
    calls: int = 0
    said: list[Remembered] = field(default_factory=list)
    running: Call | None = None

    def stored(self) -> Json:
        """What `MockAgent` takes it back from."""
        fields = {name: value for name, value in vars(self).items() if name != "running"}
        return {**fields, "said": [asdict(remembered) for remembered in self.said]}


class MockAgent:
    """Plays `script` in the shape of `vendor`.

    `signed_in` is whether it can be prompted without `authenticate`, which is served by the variables of `environment`.
    `on_heard` is called with what the model of a real agent would be told: every prompt of the session so far. `stored`
    gives the sessions of processes before this one, as `on_stored` was given them after each turn. `offers` are which
    of load and resume it says that it can do.
    """

    connection: Connection

    def __init__(
        self,
        vendor: Vendor,
        script: Script,
        *,
        signed_in: bool = True,
        environment: Mapping[str, str] = {},
        on_heard: Callable[[Sequence[str]], None] = lambda prompts: None,
        stored: Callable[[], Sequence[Json]] = tuple,
        on_stored: Callable[[Sequence[Json]], None] = lambda sessions: None,
        offers: Collection[str] = ("load", "resume"),
    ) -> None:
        self.vendor = vendor
        self.script = script
        self.on_heard = on_heard
        self.client: ClientCapabilities
        self._environment = environment
        self._signed_in = signed_in
        self._on_stored = on_stored
        self._stored = stored
        self._offers = offers
        self._sessions: dict[str, MockSession] = {}

    async def initialize(self, params: "InitializeRequest", call: Call) -> Json:
        """What this vendor says of itself, as far as the mock can do it."""
        self.client = params.client_capabilities
        for line in self.vendor.quirks.noise:
            self.connection.stream.write(f"{line}\n".encode())
        return build.initialize_result(
            build.implementation(self.vendor.name, "0.0.0-mock", self.vendor.title),
            build.agent_capabilities(
                load_session="load" in self._offers,
                prompt=("image", "embeddedContext"),
                session=("list", "close", *(["resume"] if "resume" in self._offers else [])),
            ),
            auth_methods=[build.auth_method(method, method) for method in self.vendor.sign_in.methods],
        )

    async def authenticate(self, params: "AuthenticateRequest", call: Call) -> Json:
        """Signs in where a variable of the method is set."""
        names = self.vendor.sign_in.methods.get(params.method_id, ())
        if not any(self._environment.get(name) for name in names):
            raise RpcError(INVALID_PARAMS, f"No such method, or none of {', '.join(names) or 'its variables'} is set")
        self._signed_in = True
        return {}

    async def session_new(self, params: "NewSessionRequest", call: Call) -> Json:
        """A session that remembers nothing yet."""
        self._need_sign_in("session/new")
        self._look_in_store()
        session = MockSession(f"mock-{len(self._sessions) + 1}", params.cwd)
        self._sessions[session.id] = session
        call.then(lambda: self._tell(self.vendor.quirks.notifications))
        return {"sessionId": session.id, "modes": self._modes(session)}

    async def session_load(self, params: "LoadSessionRequest", call: Call) -> Json:
        """Everything that was said, once more."""
        self._look_in_store()
        session = self._session(params.session_id)
        for remembered in session.said:
            self.update(session, build.user_message_chunk(remembered.prompt))
            if remembered.reply:
                self.update(session, build.agent_message_chunk(remembered.reply))
        return {"modes": self._modes(session)}

    async def session_resume(self, params: "ResumeSessionRequest", call: Call) -> Json:
        """The session goes on."""
        self._look_in_store()
        return {"modes": self._modes(self._session(params.session_id))}

    async def session_list(self, params: "ListSessionsRequest", call: Call) -> Json:
        """The sessions of this process and those before it."""
        self._look_in_store()
        found = [session for session in self._sessions.values() if params.cwd in (None, session.cwd)]
        return {"sessions": [build.session_info(session.id, session.cwd) for session in found]}

    async def session_close(self, params: "CloseSessionRequest", call: Call) -> Json:
        """Ends what runs in it; it can be loaded again."""
        session = self._session(params.session_id)
        if session.running is not None:
            session.running.scope.cancel()
        return {}

    async def session_set_mode(self, params: "SetSessionModeRequest", call: Call) -> Json:
        """Only remembered."""
        session = self._session(params.session_id)
        if params.mode_id not in dict(MODES):
            raise RpcError(INVALID_PARAMS, "No such mode")
        session.mode = params.mode_id
        call.then(lambda: self.update(session, build.current_mode_update(session.mode)))
        return {}

    async def session_prompt(self, params: "PromptRequest", call: Call) -> Json:
        """Plays the turn of the script that fits."""
        self._need_sign_in("session/prompt")
        session = self._session(params.session_id)
        prompt = "\n".join(block.text for block in params.prompt if block.type == "text")
        turn, session.at = self.script.turn(session.at, prompt)
        play = Play(self, session, prompt, call)
        call.if_cancelled = build.prompt_result("cancelled")
        session.running = call
        call.ended(lambda: self._ended(session, play))
        return build.prompt_result(await play.turn(turn))

    def session_cancel(self, params: "CancelNotification") -> None:
        """Ends the turn that runs, wherever it is."""
        session = self._sessions.get(params.session_id)
        if session is not None and session.running is not None:
            session.running.scope.cancel()

    def update(self, session: MockSession, update: Json) -> None:
        """Reports something."""
        self.connection.notify(methods.SESSION_UPDATE, build.session_update(session.id, update))

    def _ended(self, session: MockSession, play: Play) -> None:
        call, session.running = play.call, None
        if call.scope.cancel_called and self.vendor.quirks.forgets:
            session.said.remove(play.remembered)
        self._on_stored([session.stored() for session in self._sessions.values()])
        call.then(lambda: self._after(session, play))

    def _after(self, session: MockSession, play: Play) -> None:
        """What this vendor sends when a turn is over."""
        for text in play.late:
            self.update(session, build.agent_message_chunk(text))
        if "session_info_update" in self.vendor.quirks.late:
            self.update(session, build.session_info_update(title=session.said[0].prompt if session.said else None))
        self._tell(self.vendor.quirks.notifications)

    def _tell(self, names: Sequence[str]) -> None:
        for name in names:
            self.connection.notify(methods.Notification(name, "", ""), {})

    def _look_in_store(self) -> None:
        for fields in self._stored():
            if fields["id"] not in self._sessions:
                said = [Remembered(**remembered) for remembered in fields["said"]]
                self._sessions[fields["id"]] = MockSession(**{**fields, "said": said})

    def _session(self, session_id: str) -> MockSession:
        if session_id not in self._sessions:
            raise RpcError(NOT_FOUND, "No such session", {"sessionId": session_id})
        return self._sessions[session_id]

    def _need_sign_in(self, method: str) -> None:
        if not self._signed_in and self.vendor.sign_in.shows == method:
            raise RpcError(AUTH_REQUIRED, "Authentication required")

    def _modes(self, session: MockSession) -> Json:
        return build.session_modes(session.mode, [build.session_mode(*mode) for mode in MODES])
