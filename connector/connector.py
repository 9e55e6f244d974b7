"""Talking to an agent that was launched: session/new → prompts → cancel → shutdown."""

import contextlib
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import anyio

from acp_wire import methods
from connector import recovery, stored
from connector.backoff import Backoff
from connector.calls import naming
from connector.client import Client, OnUpdate, Update
from connector.errors import AgentError, Asked, ConnectorError, NotOffered, SessionNotFound, SignInNeeded
from connector.generation import Generation, begun
from connector.link import Link
from connector.process import Command
from connector.record import Record
from connector.session import Prompt, Session
from connector.terminals import OnOutput
from connector.turn import Exchange
from connector.workspace import Workspace
from event_log.stores import Store

if TYPE_CHECKING:
    from acp_wire.schema.agent_capabilities import InitializeResponse
    from acp_wire.schema.extensions import HealthResponse
    from acp_wire.schema.session_state import LoadSessionResponse, SessionInfo

MOST_PAGES = 1000
# More than an agent takes for it, which is 5 s.
HEALTH_SECONDS = 8.0


def _nobody(update: Update) -> None:
    """Whoever wants to see what belongs to no turn says so."""


class Connector:
    """One agent process and its sessions. Made by `launch`.

    `execute`, `follow_up`, `stream`, `cancel` and `get_session_history` are for who wants one conversation: its
    session begins with the first prompt, and an agent that has ended is started again for the next one.
    """

    def __init__(
        self,
        link: Link,
        *,
        cwd: str,
        system_prompt: str,
        sign_in: Sequence[str],
        store: Store,
    ) -> None:
        self.sessions: dict[str, Session] = {}
        self.store = store
        self._link = link
        self._restarts = Backoff()
        self._cwd = cwd
        self._system = system_prompt
        self._sign_in = sign_in
        self._only: Session | None = None
        self._one_at_a_time = anyio.Lock()
        self._reconnecting = anyio.Lock()
        self._places: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    @property
    def command(self) -> Command:
        """What was started."""
        return self._link.program.command

    @property
    def client(self) -> Client:
        """What the agent sees of us."""
        return self._link.client

    @property
    def agent(self) -> "InitializeResponse":
        """What the agent has said of itself: its name, what it can do, how it is signed in to."""
        return self._link.agent

    @property
    def pid(self) -> int:
        """The agent's process id, which is its group's too."""
        return self._link.process.child.pid

    def is_alive(self) -> bool:
        """Whether the agent's process still runs."""
        return self._link.generation is not None and self._link.process.child.exit is None

    def offers(self, capability: str) -> bool:
        """Whether the agent has said that it can do that: `session_capabilities.list`, `load_session`, `ars/tools`."""
        return self._link.offers_ours(capability) if "/" in capability else self._link.offered(capability)

    def stderr_tail(self) -> str:
        """The end of what the agent has written on stderr, secrets taken out."""
        return self._link.stderr_tail()

    # ── one conversation ────────────────────────────────────────────────────────────────────────────────────────────

    async def execute(self, prompt: Prompt) -> str:
        """The reply to a prompt, which waits for those before it. Raises `ConnectorError`."""
        return (await (await self._conversation()).prompt(prompt)).text

    async def follow_up(self, prompt: Prompt) -> str:
        """`execute` in the conversation that there is. The agent remembers it: nothing of it is sent again."""
        if self._only is None:
            raise ConnectorError(self._link.name, "nothing can follow yet: begin with execute()")
        return await self.execute(prompt)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Update, None]:
        """The updates of a turn as they come. The turn is cancelled when the iterator is closed before its end."""
        session = await self._conversation()
        async with contextlib.aclosing(session.stream(prompt)) as updates:
            async for update in updates:
                yield update

    def cancel(self) -> None:
        """Cancels the conversation's running prompt and those behind it: each ends with `cancelled`."""
        if self._only is not None:
            self._only.cancel()

    def get_session_history(self) -> list[Exchange]:
        """The conversation so far, oldest first."""
        return [] if self._only is None else self._only.log()

    async def _conversation(self) -> Session:
        async with self._one_at_a_time:
            if not self.is_alive():
                await self.reconnect()
            if self._only is None or self._only.closed:
                self._only = await self.new_session(self._cwd)
            return self._only

    # ── sessions ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def new_session(
        self,
        cwd: str,
        *,
        directories: Sequence[str] = (),
        mcp_servers: Sequence[dict[str, Any]] = (),
        system_prompt: str | None = None,
        meta: dict[str, Any] | None = None,
        tools: Collection[str] = (),
        on_output: OnOutput | None = None,
        outside: OnUpdate = _nobody,
        record: Record | None = None,
    ) -> Session:
        """A new session whose files and terminals lie below the absolute `cwd` and `directories`.

        `mcp_servers` are as `acp_wire.build.mcp_stdio` makes them. `system_prompt` (without it, the one that `launch`
        was given) goes with the first prompt, once. `tools` are those that the agent is to leave whole to the client's
        `call` ("read_file", "git.diff"), in whichever process the session goes on. `on_output(terminal_id, text)` is
        told what terminals write, `outside(update)` what belongs to no turn, from the first update on, also one that
        came before the session's id. `record` is what the conversation is kept in, without it a fresh one in the
        connector's store. Raises `ConnectorError`, also where the agent knows nothing of `tools` (`NotOffered`), and
        `OSError` where a directory cannot be opened.
        """
        params = self._params(cwd, directories, mcp_servers, tools, meta or {})
        generation = self._link.there
        async with contextlib.AsyncExitStack() as undo:
            workspace, kept = await self._kept_open(undo, [cwd, *directories], on_output, record)
            created = await self._ask_session(
                methods.SESSION_NEW, params, late=lambda created: self._given_up(created.session_id)
            )
            recovery.check_unused(created.session_id, self.sessions, self._link)
            await self._opened_by(generation, methods.SESSION_NEW)
            undo.pop_all()
        system = self._system if system_prompt is None else system_prompt
        session = self._session(created.session_id, kept, params, system, outside)
        if kept.last:
            session.recall()
            session.recreated(session.id, system)
        else:
            session.noted("new")
        session.hands = self.client.add(session.id, workspace, session.take, session.question, tools)
        session.opened(created)
        self.sessions[session.id] = session
        return session

    async def load_session(self, session_id: str, cwd: str, **more: Any) -> Session:
        """A session that the agent has kept, replayed: what was said becomes `turns`, and is shown to `outside` too.

        Takes `directories`, `mcp_servers`, `tools`, `on_output` and `outside` as `new_session` does. Raises
        `NotOffered`, `SessionNotFound`; never a fresh session under an old name.
        """
        self._link.need("load_session", "loadSession", f"the session {session_id!r} cannot be loaded")
        return await self._open(methods.SESSION_LOAD, session_id, cwd, replay=True, **more)

    async def resume_session(self, session_id: str, cwd: str, **more: Any) -> Session:
        """A session that the agent has kept, without a replay. As `load_session` in everything else."""
        what = f"the session {session_id!r} cannot be resumed"
        self._link.need("session_capabilities.resume", "sessionCapabilities.resume", what)
        return await self._open(methods.SESSION_RESUME, session_id, cwd, replay=False, **more)

    async def ensure(self, name: str, cwd: str, **more: Any) -> Session:
        """The conversation called `name` in `cwd`, the same as last time: see `stored.ensure`."""
        return await stored.ensure(self, name, cwd, **more)

    async def open_record(self, cwd: str, name: str) -> Record:
        """The record of a named conversation with this agent. Raises as `Record.open`."""
        link = self._link
        return await Record.open(self.store, link.name, cwd, name, secrets=self.client.secrets, on_event=link.on_event)

    def tell(self, event: str, **fields: Any) -> None:
        """Tells whoever listens to events."""
        self._link.event(event, agent=self._link.name, **fields)

    async def list_sessions(self, cwd: str | None = None) -> "list[SessionInfo]":
        """All sessions that the agent has kept, or those of one directory. Raises `NotOffered`."""
        self._link.need("session_capabilities.list", "sessionCapabilities.list", "its sessions cannot be listed")
        found: list[SessionInfo] = []
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            params = {name: value for name, value in (("cwd", cwd), ("cursor", cursor)) if value is not None}
            page = await self._link.ask(methods.SESSION_LIST, params, timeout=self._link.limits.request)
            found += page.sessions
            if page.next_cursor is None or page.next_cursor == cursor:
                break
            cursor = page.next_cursor
        return found

    async def health(self) -> "HealthResponse | None":
        """Whether the agent's model can be reached, by its own words; None where it cannot say.

        Raises `ConnectorError`.
        """
        if not self._link.offers_ours("ars/health"):
            return None
        return await self._link.ask(methods.ARS_HEALTH, {}, timeout=HEALTH_SECONDS)

    async def delete_session(self, session_id: str) -> None:
        """Forgets a session that the agent has kept; one that is gone already is as good. Raises `NotOffered`."""
        what = f"the session {session_id!r} cannot be deleted"
        self._link.need("session_capabilities.delete", "sessionCapabilities.delete", what)
        async with self._place(session_id):
            if (session := self.sessions.get(session_id)) is not None:
                await session.close()
            with contextlib.suppress(SessionNotFound):
                asked = {"sessionId": session_id}
                await self._link.ask(methods.SESSION_DELETE, asked, timeout=self._link.limits.request)

    # ── signing in ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def authenticate(self, method_id: str) -> None:
        """Signs in by one of the agent's own methods. Raises `NotOffered`, also for one that needs a terminal."""
        offered = {method.id: getattr(method, "type", "agent") for method in self.agent.auth_methods}
        if offered.get(method_id) != "agent":
            known = ", ".join(name for name, kind in offered.items() if kind == "agent") or "none"
            what = f"there is no sign-in {method_id!r} that it does itself; there are {known}"
            raise NotOffered(self._link.name, "authMethods", what)
        await self._link.ask(methods.AUTHENTICATE, {"methodId": method_id}, timeout=self._link.limits.authenticate)

    async def logout(self) -> None:
        """Forgets who is signed in. Raises `NotOffered`."""
        self._link.need("auth.logout", "auth.logout", "nobody can be logged out")
        await self._link.ask(methods.LOGOUT, {}, timeout=self._link.limits.request)

    # ── the beginning and the end ───────────────────────────────────────────────────────────────────────────────────

    async def reconnect(self) -> None:
        """Starts an agent that has ended again, and takes its open sessions up again, by resume, else by load.

        The prompt that it was at has failed and is not sent a second time: nobody knows how far it had come. An agent
        that ends again and again is started so often and so soon as `backoff.Restarts` has it. A supervised agent is
        waited for: its supervisor does all this.
        Raises `ConnectorError`, and of that `NotOffered` where a session cannot be taken up: it is lost, and no fresh
        one stands in for it.
        """
        if self._link.keeper is not None:
            await self._link.keeper.up(None if self.is_alive() else self._link.generation)
            return
        before = self._link.there
        async with self._reconnecting:
            if self._link.there is not before:  # somebody else was faster
                return
            delay = self._restarts.after_end(anyio.current_time())
            if delay is None:
                rules = self._restarts.restarts
                often = f"it was started again {rules.most} times within {rules.within:g} s: not once more"
                raise ConnectorError(self._link.name, often)
            await anyio.sleep(delay)
            await before.stop()
            await self.take_over(await begun(self._link.begin(), self._link.tasks))
            self._restarts.ready(anyio.current_time())

    async def take_over(self, generation: Generation) -> None:
        """Goes on with that process, which has shaken hands, and takes the open sessions up in it."""
        self._link.attach(generation)
        resumes = self._link.offered("session_capabilities.resume")
        if not resumes and not self._link.offered("load_session"):
            await self._lose_sessions()
        row = methods.SESSION_RESUME if resumes else methods.SESSION_LOAD
        for session in self._open_sessions():
            if not session.closed:
                with session.knowing_it_all():
                    await self._ask_session(row, {"sessionId": session.id, **session.params})
            await recovery.let_go_if_closed(session, self._link)

    async def recover(self, generation: Generation) -> None:
        """`take_over` that loses no session: one that the agent cannot take up is made anew, with what was said in it
        in front of its next prompt. Raises `ConnectorError` where the process can do nothing for a session.
        """
        self._link.attach(generation)
        lost: dict[Session, str] = {}
        for session in sorted(self._open_sessions(), key=lambda session: session.running is None):
            if not session.closed and (why := await recovery.take_up(session, self._link, self._ask_session)):
                lost[session] = why
            await recovery.let_go_if_closed(session, self._link)
        await recovery.make_anew(lost, self.sessions, self._link, self._ask_session)

    async def _lose_sessions(self) -> None:
        lost, self._only = self._open_sessions(), None
        for session in lost:
            await session.close(tell=False)
        if lost:
            names = ", ".join(repr(session.id) for session in lost)
            raise NotOffered(self._link.name, "loadSession", f"lost with its process: the session {names}")

    async def shutdown(self) -> None:
        """Cancels what runs, stops the agent within 3 s and ends every terminal. `launch` calls it on the way out."""
        with anyio.CancelScope(shield=True):
            for session in self.sessions.values():
                session.cancel()
            async with anyio.create_task_group() as tasks:
                if self._link.generation is not None:
                    tasks.start_soon(self._link.generation.stop)
                for session in self.sessions.values():
                    tasks.start_soon(self.client.remove, session.id, session.hands)

    def close_records(self) -> None:
        """Gives the conversations up, when nothing is recorded any more."""
        for session in self.sessions.values():
            session.record.close()

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _params(
        self,
        cwd: str,
        directories: Sequence[str],
        mcp_servers: Sequence[dict[str, Any]],
        tools: Collection[str],
        meta: Mapping[str, Any] = MappingProxyType({}),
    ) -> dict[str, Any]:
        """What opens a session. Directories are told to agents that take them, and are ours to open in any case."""
        if tools:
            self._link.need_ours("ars/tools", f"it cannot leave {', '.join(sorted(tools))} to its client")
            if not self.client.carries_out:
                raise ValueError("`tools` are for a client that was made with `call`")
        for server in mcp_servers:
            if (kind := server.get("type", "stdio")) != "stdio":
                what = f"the MCP server {server.get('name')!r} cannot be used"
                self._link.need(f"mcp_capabilities.{kind}", f"mcpCapabilities.{kind}", what)
        params: dict[str, Any] = {"cwd": cwd, "mcpServers": list(mcp_servers)}
        if directories and self._link.offered("session_capabilities.additional_directories"):
            params["additionalDirectories"] = list(directories)
        return naming(params | ({"_meta": dict(meta)} if meta else {}), tools)

    async def _open(
        self,
        row: "methods.Request[Any, LoadSessionResponse]",
        session_id: str,
        cwd: str,
        *,
        replay: bool,
        directories: Sequence[str] = (),
        mcp_servers: Sequence[dict[str, Any]] = (),
        tools: Collection[str] = (),
        on_output: OnOutput | None = None,
        outside: OnUpdate = _nobody,
        record: Record | None = None,
        system_prompt: str | None = None,
    ) -> Session:
        params = self._params(cwd, directories, mcp_servers, tools)
        system = "" if record is None else self._system if system_prompt is None else system_prompt
        async with self._place(session_id), contextlib.AsyncExitStack() as undo:
            await self._until_closed(session_id)
            generation = self._link.there
            workspace, kept = await self._kept_open(undo, [cwd, *directories], on_output, record)
            session = self._session(session_id, kept, params, system, outside)
            if kept.last:
                session.recall()
            if replay:
                session.replay(known=kept.last > 0)
            self.client.overlook(session_id)
            session.hands = self.client.add(session_id, workspace, session.take, session.question, tools)
            undo.push_async_callback(self.client.remove, session_id, session.hands)
            await self._take_up(row, session, missing=record is not None and not replay)
            await self._opened_by(generation, row)
            undo.pop_all()
            session.noted("loaded" if replay else "resumed")
            self.sessions[session_id] = session
            return session

    async def _kept_open(
        self,
        undo: contextlib.AsyncExitStack,
        roots: Sequence[str],
        on_output: OnOutput | None,
        record: Record | None,
    ) -> tuple[Workspace, Record]:
        """What a session holds from its opening on, given back where that fails, but for a `record` of the caller's."""
        workspace = Workspace(roots, on_output=on_output)
        undo.push_async_callback(workspace.close)
        if record is None:
            record = await self._fresh_record()
            undo.callback(record.close)
        return workspace, record

    async def _take_up(
        self, row: "methods.Request[Any, LoadSessionResponse]", session: Session, *, missing: bool
    ) -> None:
        """Has the agent go on with a session, and, of a conversation that may `miss` something, tell what that is."""
        missing = missing and self._link.offers_ours("ars/replay")
        with session.holding() if missing else contextlib.nullcontext():
            asked = {"sessionId": session.id, **session.params}
            late: Callable[[Any], None] = lambda answer: self._given_up(session.id)  # noqa: E731
            session.opened(await self._ask_session(row, asked, on_answer=session.all_replayed, late=late))
            if missing:
                await recovery.catch_up(session, self._link)
            session.restored()

    def _place(self, session_id: str) -> anyio.Lock:
        """To be held by whoever opens the session of that id, or deletes it."""
        return self._places.setdefault(session_id, anyio.Lock())

    async def _until_closed(self, session_id: str) -> None:
        """Waits for the end of the closing of that session. Raises `ConnectorError` where nobody closes it."""
        known = self.sessions.get(session_id)
        if known is not None and not known.closed:
            raise ConnectorError(self._link.name, f"the session {session_id!r} is open already")
        if known is not None:
            await known.gone.wait()

    async def _opened_by(self, generation: Generation, row: methods.Request[Any, Any]) -> None:
        """Raises `AgentExited` where another process has come meanwhile, which knows nothing of what that one opened.

        Nothing may be waited for between this and the session's being among ours.
        """
        if self._link.generation is not generation:
            raise await generation.exited(Asked(row.name))

    def _open_sessions(self) -> list[Session]:
        return [session for session in self.sessions.values() if not session.closed]

    def _session(
        self, session_id: str, record: Record, params: dict[str, Any], system: str, outside: OnUpdate
    ) -> Session:
        return Session(
            session_id, self._link, record=record, params=params, system=system, outside=outside, on_gone=self._forget
        )

    def _forget(self, session: Session) -> None:
        if self.sessions.get(session.id) is session:
            del self.sessions[session.id]

    async def _fresh_record(self) -> Record:
        return await Record.fresh(
            self.store, self._link.name, secrets=self.client.secrets, on_event=self._link.on_event
        )

    def _given_up(self, session_id: str) -> None:
        """The agent has opened a session when nobody waited for it any more."""
        self._link.tasks.start_soon(self._let_go, session_id)

    async def _let_go(self, session_id: str) -> None:
        async with self._place(session_id):
            if session_id not in self.sessions:
                await recovery.let_go(session_id, self._link)

    async def _ask_session(
        self,
        row: methods.Request[Any, Any],
        params: dict[str, Any],
        on_answer: Callable[[], None] | None = None,
        late: Callable[[Any], None] | None = None,
    ) -> Any:
        """Where a sign-in is missing, by those that need nobody, one after the other."""

        async def ask() -> Any:
            return await self._link.ask(row, params, timeout=self._link.limits.session, on_answer=on_answer, late=late)

        try:
            return await ask()
        except SignInNeeded as why:
            missing = why
        for method in self._sign_in:
            with contextlib.suppress(AgentError, NotOffered):
                await self.authenticate(method)
                return await ask()
        raise missing
